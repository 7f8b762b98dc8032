"""Three versions of this project's own images, signed, in a channel for each flavour of units.

The first is what ``images/`` has, but that squid stops within a second; the second has another
image and another configuration file; the third does not get healthy, each service in its own way.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.site.services import SERVICES
from tests.trust import ROOT, Keys, containerpkg

TARGETS = ("el9", "el9-podman", "el9-docker")
"""One for each flavour of units."""

REGISTRY = "quay.io/lifetests"
MARK = "/usr/share/version"
"""In the images from the second version on: says which it is."""

CHANNEL = "/srv/channel"
"""Where the host has the channel, and :func:`publish` its version."""

_LABEL = f"lifetests={os.getpid()}"


@dataclass(frozen=True)
class Versions:
    """``folder/TARGET/NUMBER`` is the repository as it was published with that version."""

    folder: Path

    def channel(self, target: str) -> Path:
        """The folder of a target's repositories."""
        return self.folder / target


def make_versions(root: Path, keys: Keys) -> Versions:
    """Build each version once and package it for every target; ``root`` is an empty folder."""
    # The layers of the images are those that this build has, so that they are in docker's cache.
    _run("build", root=ROOT)
    project = root / "project"
    for service in SERVICES:
        image = project / "images" / service.name
        shutil.copytree(ROOT / "images" / service.name, image)
        _append(image / "Dockerfile", f"LABEL {_LABEL}\n")
    settings = {
        "registry": REGISTRY,
        "vendor": "Tests",
        "repository": {"baseurl": f"file://{CHANNEL}/now"},
        "signing": {
            "key": keys.ours,
            "home": str(keys.home),
            "passphrase_file": str(keys.home / "passphrase"),
        },
    }
    (project / "containerpkg.yaml").write_text(json.dumps(settings))
    # These tests stop it often, and no client is there to be waited for.
    _replace(project / "images/squid/container-assets/squid.conf", "5 seconds", "1 second")
    versions = Versions(root / "channels")
    with images_removed(_LABEL):
        _publish(project, versions, 1)
        for service in SERVICES:
            _change(project / "images" / service.name, Path(service.config).name)
        _publish(project, versions, 2)
        _break(project / "images")
        _publish(project, versions, 3)
    return versions


def _change(image: Path, config: str) -> None:
    """Another layer, large enough for a package of its own, and another default."""
    mark = image / "container-assets/version"
    mark.mkdir()
    (mark / "name").write_text("second\n")
    (mark / "ballast").write_bytes(random.Random(image.name).randbytes(3 << 19))
    _append(image / "Dockerfile", f"COPY container-assets/version {MARK}\n")
    _append(image / "container-assets" / config, "# Since the second version.\n")


def _break(images: Path) -> None:
    """Never healthy, ends at once, cannot be executed."""
    for service in SERVICES:
        (images / service.name / "container-assets/version/name").write_text("third\n")
    (images / "redis/container-assets/healthcheck").write_text("#!/bin/sh\nexit 1\n")
    _append(images / "redis/image.yaml", "    start_timeout: 10s\n")
    (images / "squid/container-assets/entrypoint").write_text("#!/bin/sh\nexit 3\n")
    _append(images / "postgresql/Dockerfile", 'ENTRYPOINT ["misspelt"]\n')


def _replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def _append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def _publish(project: Path, versions: Versions, number: int) -> None:
    """Make the next version, and keep the repositories as they are now."""
    for target in TARGETS:
        verb = "make" if target == TARGETS[0] else "package"
        _run(verb, f"--target={target}", f"--output={project}/out/{target}", root=project)
        published = project / "out" / target / "repo"
        # Nothing in a repository is ever written to: a file is replaced, or new.
        shutil.copytree(published, versions.channel(target) / f"{number}", copy_function=os.link)


def _run(*arguments: str, root: Path) -> None:
    done = containerpkg("-C", root, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr


@contextmanager
def images_removed(label: str) -> Iterator[None]:
    """Take away at the end the images with ``label``; docker's build cache stays."""
    ours = ["docker", "images", "--all", "--quiet", "--no-trunc", f"--filter=label={label}"]
    try:
        yield
    finally:
        left: set[str] = set()
        while found := set(_run_docker(ours).split()):
            # Some go only after those that are built on them.
            assert found != left, f"docker keeps {found}"
            subprocess.run(["docker", "rmi", "--force", *found], capture_output=True, check=False)
            left = found


def _run_docker(argv: Sequence[str]) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout
