"""The site administrator's manual, followed word by word on a host.

Every command of its console blocks is run, in the order in which the manual has a person do them,
with the README's project as the vendor's. What it shows as output has to be printed.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.site.host import Host, new_host
from tests.site.tree import cache_folder
from tests.site.versions import images_removed
from tests.trust import ROOT, Keys, containerpkg, made_keys

MANUAL = (ROOT / "docs/site-administrator.md").read_text()
README = (ROOT / "README.md").read_text()

REGISTRY = "quay.io/manualtests"
_LABEL = f"manualtests={os.getpid()}"

ORDER = (
    "Signatures",
    "Install and start",
    "A bundle",
    "Look at it",
    "Check",
    "Update and go back",
    "Remove",
)
"""The sections with console blocks; the first install is to come after the key."""


@dataclass(frozen=True)
class Step:
    """A command, and the lines that the manual shows below it."""

    command: str
    shown: tuple[str, ...]


def parse_steps(manual: str) -> dict[str, tuple[Step, ...]]:
    """Section → the commands in its console blocks; a line with a hash begins one."""
    sections: dict[str, tuple[Step, ...]] = {}
    for section in manual.split("\n## ")[1:]:
        steps: list[Step] = []
        for block in re.findall(r"```console\n(.*?)```", section, re.DOTALL):
            for line in block.splitlines():
                if line.startswith("# "):
                    steps.append(Step(line[2:], ()))
                else:
                    steps[-1] = Step(steps[-1].command, (*steps[-1].shown, line))
        if steps:
            sections[section.partition("\n")[0]] = tuple(steps)
    return sections


def find_missing(shown: Sequence[str], printed: str) -> str:
    """The first shown line that is not printed after those before it; empty if all are.

    Digits of digests, layers and stamps may differ, and an ellipsis stands for anything.
    """
    lines = iter(printed.splitlines())
    for line in shown:
        pattern = re.escape(line.replace("quay.io/example", REGISTRY))
        pattern = pattern.replace("…", ".+")
        pattern = re.sub(r"\b\d{14}\b", r"\\d{14}", pattern)
        pattern = re.sub(r"oci\\-layer\\-[0-9a-f]{16}", "oci-layer-[0-9a-f]{16}", pattern)
        if not any(re.fullmatch(pattern, found.rstrip()) for found in lines):
            return line
    return ""


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keys]:
    with made_keys(tmp_path_factory.mktemp("k") / "g") as keys:
        yield keys


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, keys: Keys) -> Path:
    """The README's first project, signed, with a bundle of each of two versions."""
    root = tmp_path_factory.mktemp("vendor")
    for block in re.findall(r"```(?:yaml|sh|dockerfile)\n(.*?)```", README, re.DOTALL):
        if named := re.search(r"^# ([\w./-]+)", block, re.MULTILINE):
            _write(root / named[1], block.replace("quay.io/example", REGISTRY))
    said = re.search(r"With `(.*)` in `(.*)`", README)
    assert said
    _write(root / said[2], f"{said[1]}\n")
    (root / "images/base/prepare").chmod(0o755)
    settings = {
        "key": keys.ours,
        "home": str(keys.home),
        "passphrase_file": str(keys.home / "passphrase"),
    }
    with (root / "containerpkg.yaml").open("a") as file:
        file.write(f"signing: {json.dumps(settings)}\n")
    with images_removed(_LABEL):
        for name in ("base", "hello"):
            _append(root / f"images/{name}/Dockerfile", f"LABEL {_LABEL}\n")
        _run(root, "make")
        _run(root, "bundle", "-o", "first.tar")
        _append(root / "images/hello/Dockerfile", "ENV VERSION=2\n")
        _run(root, "make")
        _run(root, "bundle", "-o", "second.tar")
    return root


@pytest.mark.timeout(600)
def test_the_manual_word_by_word(tree: Path, project: Path) -> None:
    steps = parse_steps(MANUAL)
    assert set(steps) == set(ORDER)
    with new_host(tree, cache_folder()) as host:
        host.boot()
        _bring(host, project / "first.tar", "/site.tar")
        # What a vendor hands out who has a mirror.
        _unpack(host, "/srv/mirror")
        host.run("cp", "/srv/mirror/containerpkg/RPM-GPG-KEY-containerpkg", "/")
        host.run("sh", "-c", "cp /srv/mirror/containerpkg/packages/hello-container-* /")
        repo = host.path("/srv/mirror/containerpkg/containerpkg.repo").read_text()
        repo = repo.replace("/srv/containerpkg", "/srv/mirror/containerpkg")
        host.path("/etc/yum.repos.d/containerpkg.repo").write_text(repo)
        for section in ORDER:
            if section == "Update and go back":
                _make_a_mistake(host)
                host.run("mv", "/srv/containerpkg", "/srv/containerpkg.old")
                _bring(host, project / "second.tar", "/site.tar")
                _unpack(host, "/srv")
            _follow(host, steps[section])
        assert host.run("podman", "images", "--quiet").stdout == ""


def test_lines_that_are_not_printed_are_found() -> None:
    printed = "a\nsha256:12 from b-1.20990101000000.el9\noci-layer-0123456789abcdef-1-1.noarch   \n"
    shown = ["sha256:… from b-1.20261124074224.el9", "oci-layer-806070aaa61b35d6-1-1.noarch"]
    assert find_missing(shown, printed) == ""
    assert find_missing([*shown, "a"], printed) == "a"
    assert find_missing(["b-1.20261124074224.el9"], printed) == "b-1.20261124074224.el9"


def _make_a_mistake(host: Host) -> None:
    """Quadlet refuses the unit for a drop-in, and the preflight tells."""
    dropin = host.path("/etc/containers/systemd/hello.container.d/port.conf")
    dropin.parent.mkdir(parents=True)
    dropin.write_text("[Container]\nPublisPort=9090:8080\n")
    host.run("systemctl", "daemon-reload")
    done = host.run("containerpkg-host", "check", check=False)
    assert done.returncode == 1
    assert "systemd has no hello.service: " in done.stdout
    told = host.run("/usr/libexec/podman/quadlet", "-dryrun", check=False).stderr
    assert "unsupported key 'PublisPort'" in told.splitlines()[-1]
    dropin.unlink()
    host.run("systemctl", "daemon-reload")
    host.run("containerpkg-host", "check")


def _follow(host: Host, steps: Sequence[Step]) -> None:
    """Do what a section says, in one folder after the other, and accept what dnf proposes."""
    folder = "/"
    for step in steps:
        # A file of a package has another stamp each time.
        command = re.sub(r"\b\d{14}\b", "*", step.command)
        script = f"cd {folder} && {command} && pwd > /run/folder"
        done = host.run("sh", "-c", script, check=False, stdin="y\n" * 9)
        printed = done.stdout + done.stderr
        assert done.returncode == 0, f"{step.command}\n{printed}"
        missing = find_missing(step.shown, done.stdout)
        assert not missing, f"{step.command}: not printed: {missing}\n{printed}"
        folder = host.path("/run/folder").read_text().strip()


def _bring(host: Host, bundle: Path, place: str) -> None:
    host.path(place).unlink(missing_ok=True)
    host.copy_in(bundle, place)


def _unpack(host: Host, folder: str) -> None:
    host.run("mkdir", "--parents", folder)
    argv = ["tar", "--extract", "--no-same-owner", "--directory", folder, "--file", "/site.tar"]
    host.run(*argv)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def _run(root: Path, *arguments: str) -> None:
    done = containerpkg("-C", root, *arguments, cwd=root)
    assert done.returncode == 0, done.stdout + done.stderr
