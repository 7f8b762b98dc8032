"""Images from real git repositories and archives: at a branch, a tag, a commit, a checkout."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from containerpkg.sources.git import Cache

SOURCE = Path(__file__).resolve().parents[2]
LABEL = f"sourcetests={os.getpid()}"
REGISTRY = f"quay.io/sourcetests/p{os.getpid()}"
PREFIX = "org.opencontainers.image."
TIMES = dict.fromkeys(("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"), "2024-05-06T07:08:09+00:00")
WHO = [
    *("-c", "user.name=Tests", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"),
    *("-c", "protocol.file.allow=always", "-c", "init.defaultBranch=main"),
]

DOCKERFILE = f"FROM {REGISTRY}/base:1.0\nCOPY . /app\nLABEL {LABEL}\n"
FIRST = """\
--- a/greeting
+++ b/greeting
@@ -1,3 +1,3 @@
 one
-two
+TWO
 three
"""
SECOND = """\
--- a/greeting
+++ b/greeting
@@ -1,3 +1,4 @@
 one
 TWO
 three
+four
--- /dev/null
+++ b/extra
@@ -0,0 +1 @@
+extra
"""


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *WHO, *arguments],
        cwd=folder,
        env={**os.environ, **TIMES, "GIT_CONFIG_GLOBAL": "/dev/null"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def commit(folder: Path, files: Mapping[str, str]) -> str:
    """Commit ``files`` in a repository that is made if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / ".git").exists():
        git(folder, "init", "--quiet")
    write(folder, files)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message=A change")
    return git(folder, "rev-parse", "HEAD")


class Site:
    """Two repositories, one the other's submodule, and a project that builds from them."""

    def __init__(self, root: Path) -> None:
        self.root, self.app, self.library = root / "project", root / "app", root / "library"
        commit(self.library, {"library": "the library\n"})
        files = {
            "Dockerfile": DOCKERFILE,
            "greeting": "one\ntwo\nthree\n",
            ".dockerignore": "*.md\n",
            "README.md": "",
            ".gitignore": "log\n",
        }
        commit(self.app, files)
        git(self.app, "submodule", "--quiet", "add", "../library", "vendor/library")
        self.first = commit(self.app, {})
        git(self.app, "tag", "--annotate", "--message=One", "v1")
        self.second = commit(self.app, {"later": "later\n"})
        write(
            self.root,
            {
                "containerpkg.yaml": f"registry: {REGISTRY}\nvendor: Tests\n",
                "images/base/Dockerfile": f"FROM scratch\nLABEL {LABEL}\nCOPY busybox /busybox\n",
                "images/base/image.yaml": "summary: The base\nlicense: GPL-2.0-only\n",
                "images/app/patches/1.patch": FIRST,
                "images/app/patches/2.patch": SECOND,
                "images/app/container-assets/settings": "settings\n",
            },
        )
        shutil.copy("/bin/busybox", self.root / "images/base/busybox")
        git(self.root, "init", "--quiet")  # as projects are; theirs is another repository
        self.source("branch: main")

    def source(self, ref: str, more: str = "", *, dockerfile: str = "Dockerfile") -> None:
        write(
            self.root,
            {
                "images/app/image.yaml": "summary: The app\nlicense: MIT\nsource:\n"
                f"  git: file://{self.app}\n  {ref}\n  submodules: true\n"
                f"  patches: [patches/1.patch, patches/2.patch]\n{more}"
                + (f"  dockerfile: {dockerfile}\n" if dockerfile else "")
            },
        )

    def call(
        self, *arguments: str, status: int = 0, env: Mapping[str, str] = {}
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "containerpkg", "-C", str(self.root), *arguments],
            env={**os.environ, "PYTHONPATH": str(SOURCE), **env},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    def build(self, *arguments: str) -> dict[str, str]:
        """The image 'app' after a build: the text of its files below /app."""
        self.call("build", *arguments)
        return self.files()

    def files(self) -> dict[str, str]:
        script = "cd /app && /busybox find . -type f | while read f; do echo \"$f $(/busybox cat $f | /busybox tr '\\n' ' ')\"; done"  # noqa: E501
        listed = docker("run", "--rm", "--network=none", f"{REGISTRY}/app:1.0", "/busybox", "sh", "-c", script)  # fmt: skip  # noqa: E501
        pairs = (line.partition(" ") for line in listed.splitlines())
        return {name.removeprefix("./"): text.strip() for name, _, text in pairs}

    def labels(self) -> dict[str, str]:
        found = json.loads(docker("image", "inspect", "--format={{json .Config.Labels}}", f"{REGISTRY}/app:1.0"))  # fmt: skip  # noqa: E501
        return {n.removeprefix(PREFIX): v for n, v in found.items() if n.startswith(PREFIX)}

    def record(self) -> Any:
        folder = self.root / ".containerpkg/builds/app"
        found = [json.loads(path.read_text()) for path in folder.iterdir()]
        return max(found, key=lambda record: record["built"])["source"]

    def reason(self, *arguments: str) -> str:
        plan = json.loads(self.call("build", "--dry-run", "--json", *arguments).stdout)
        return str({step["image"]: step["reason"] for step in plan["steps"]}["app"])


def docker(*arguments: str) -> str:
    return subprocess.run(
        ["docker", *arguments], capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.fixture(scope="module", autouse=True)
def _engine() -> Iterator[None]:
    yield
    ours = docker("images", "--all", "--quiet", "--no-trunc", f"--filter=label={LABEL}").split()
    if ours:
        docker("rmi", "--force", *dict.fromkeys(ours))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


FILES = {
    ".dockerignore": "*.md",
    ".gitignore": "log",
    ".gitmodules": '[submodule "vendor/library"] \tpath = vendor/library \turl = ../library',
    "Dockerfile": DOCKERFILE.replace("\n", " ").strip(),
    "container-assets/settings": "settings",
    "extra": "extra",
    "greeting": "one TWO three four",
    "vendor/library/library": "the library",
}


def built_with(site: Site, revision: str) -> dict[str, str]:
    labels = {
        "created": "2024-05-06T07:08:09Z",
        "revision": revision,
        "source": f"file://{site.app}",
        "version": "1.0",
    }
    line = " ".join(f'{PREFIX}{name}="{value}"' for name, value in sorted(labels.items()))
    assert site.labels() == labels
    return {**FILES, "Dockerfile": f"{FILES['Dockerfile']} LABEL {line}"}


def test_a_branch_a_tag_a_commit_and_a_checkout(site: Site) -> None:
    # What leads git elsewhere must not lead this one.
    astray = dict.fromkeys(("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"), "/nonexistent")
    site.call("build", env={**astray, "GIT_OBJECT_DIRECTORY": "/nonexistent"})
    found = site.files()
    assert found == {**built_with(site, site.second), "later": "later"}
    record = {"origin": f"file://{site.app}", "ref": "branch main", "revision": site.second, "local": False}  # fmt: skip  # noqa: E501
    assert site.record() == record
    assert site.reason().startswith("unchanged since")

    third = commit(site.app, {"later": "much later\n"})
    assert site.reason() == f"source: main is now {third[:12]}"
    assert site.build()["later"] == "much later"

    site.source("tag: v1")
    assert site.reason() == f"source: v1 is now {site.first[:12]}"
    assert site.build() == built_with(site, site.first)

    site.source(f"commit: {site.second}")
    assert site.reason().startswith("unchanged since")  # as that of the branch
    found = site.build("--force")
    assert found == {**built_with(site, site.second), "later": "later"}

    checkout = site.root.parent / "checkout"
    git(site.root.parent, "clone", "--quiet", "--recurse-submodules", str(site.app), "checkout")
    head = git(checkout, "rev-parse", "HEAD")
    write(checkout, {"greeting": "changed\n", "new": "new\n", "log/x": "x"})
    write(checkout / "vendor/library", {"library": "my library\n"})
    found = site.build("--source", f"app={checkout}")
    assert {name: found.get(name) for name in ("greeting", "new", "later", "log/x", "extra")} == {
        "greeting": "changed",
        "new": "new",
        "later": "much later",
        "log/x": None,
        "extra": None,
    }
    assert found["vendor/library/library"] == "my library"
    assert not any(name.startswith((".git/", "vendor/library/.git")) for name in found)
    assert site.labels() == {
        "revision": f"{head}-dirty",
        "source": f"file://{site.app}",
        "version": "1.0",
    }
    assert site.record() == {
        "origin": f"file://{site.app}",
        "ref": str(checkout),
        "revision": f"{head}-dirty",
        "local": True,
    }
    write(checkout, {"new": "newer\n"})
    assert site.reason("--source", f"app={checkout}") == "new changed"
    assert site.reason().startswith("unchanged since")  # what is declared was built before


def test_the_lock_without_the_network(site: Site) -> None:
    site.call("lock")
    assert json.loads((site.root / "containerpkg.lock").read_text()) == {
        "version": 1,
        "sources": {
            "app": {
                "origin": f"file://{site.app}",
                "ref": "branch main",
                "revision": site.second,
            }
        },
        "bases": {},
    }
    commit(site.app, {"later": "not locked\n"})
    assert site.build("--locked")["later"] == "later"
    assert site.call("list", "--json").stdout.count('"base"') == 2

    site.app.rename(site.root.parent / "away")
    site.library.rename(site.root.parent / "away too")
    shutil.rmtree(site.root / ".containerpkg/sources/trees")
    assert site.build("--locked", "--force")["later"] == "later"
    made = json.loads(site.call("make", "--locked", "--json").stdout)
    assert {image["image"]: image["source"] for image in made["images"]} == {
        "base": None,
        "app": {
            "origin": f"file://{site.app}",
            "ref": "branch main",
            "revision": site.second,
            "local": False,
        },
    }
    done = site.call("build", "--dry-run")
    assert f"branch main is taken as in containerpkg.lock: {site.second[:12]}" in done.stderr

    (site.root / "containerpkg.lock").unlink()
    done = site.call("build", status=12)
    assert f"the git repository file://{site.app} cannot be read" in done.stderr
    done = site.call("build", "--locked", status=13)
    assert "there is no containerpkg.lock" in done.stderr
    site.call("package", "app", "--dry-run")  # needs no source but the one that it has


def test_drift_from_the_lock(site: Site) -> None:
    site.call("lock")
    site.source("branch: other")
    done = site.call("build", "--locked", status=13)
    assert (
        f"image 'app': image.yaml wants branch other of file://{site.app}, and containerpkg.lock "
        f"has branch main of file://{site.app} ({site.second[:12]})"
    ) in done.stderr


def test_a_patch_that_does_not_apply(site: Site) -> None:
    wrong = SECOND.replace("@@ -1,3 +1,4 @@\n one\n TWO", "@@ -1,3 +1,4 @@\n one\n 2")
    write(site.root, {"images/app/patches/2.patch": wrong})
    done = site.call("build", status=12)
    assert (
        "image 'app': the patch 2.patch does not apply: hunk 1 of greeting (@@ -1,3 +1,4 @@)"
    ) in done.stderr
    assert list((site.root / ".containerpkg/sources/trees/app").iterdir()) == []


def test_the_dockerfile_of_the_image_and_a_folder_of_the_source(site: Site) -> None:
    site.source("branch: main", "  folder: vendor\n", dockerfile="")
    write(
        site.root,
        {"images/app/Dockerfile": f"FROM {REGISTRY}/base:1.0\nLABEL {LABEL}\nCOPY source /app\n"},
    )
    assert site.build() == {"library/library": "the library"}


def test_an_archive(site: Site, tmp_path: Path) -> None:
    write(tmp_path / "shop-1.0", {"greeting": "one\ntwo\nthree\n", "Dockerfile": DOCKERFILE})
    path = tmp_path / "shop.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(tmp_path / "shop-1.0", "shop-1.0")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()

    def declare(sha256: str) -> None:
        text = (
            "summary: The app\nlicense: MIT\nsource:\n"
            f"  archive: file://{path}\n  sha256: {sha256}\n  dockerfile: Dockerfile\n"
            "  patches: [patches/1.patch]\n"
        )
        write(site.root, {"images/app/image.yaml": text})

    declare("f" * 64)
    done = site.call("build", status=12)
    assert f"the archive file://{path} has the SHA-256 {digest}, and image.yaml" in done.stderr
    declare(digest)
    found = site.build()
    assert (found["greeting"], sorted(found)) == (
        "one TWO three",
        ["Dockerfile", "container-assets/settings", "greeting", "patches/2.patch"],
    )
    assert site.labels()["revision"] == f"sha256:{digest}"
    path.unlink()
    assert site.reason().startswith("unchanged since")


def test_a_killed_fetch_and_two_at_once(site: Site) -> None:
    url = f"file://{site.app}"
    cache = Cache(site.root / ".containerpkg/sources/git")
    site.call("lock")
    held = cache.repository(url)
    for name in ("shallow.lock", "objects/pack/tmp_pack_x", "refs/containerpkg/x.lock"):
        (held / name).write_text("")
    (held.parent / f".{held.name}.left").mkdir()
    third = commit(site.app, {"later": "third\n"})
    argv = [sys.executable, "-m", "containerpkg", "-C", str(site.root), "lock"]
    runs = [subprocess.Popen(argv, env={**os.environ, "PYTHONPATH": str(SOURCE)}) for _ in range(2)]
    assert [run.wait() for run in runs] == [0, 0]
    assert cache.has(url, third)
    left = [path.name for path in held.parent.rglob("*") if ".lock" in path.name or "tmp" in path.name]  # fmt: skip  # noqa: E501
    assert all(name.endswith(".lock") and len(name) == 32 + 5 for name in left), left
    assert not (held.parent / f".{held.name}.left").exists()


@pytest.mark.parametrize(
    ("files", "link", "more", "status", "expected"),
    [
        ({}, ("Dockerfile", "/etc/passwd"), "", 3, "Dockerfile leads out of the source"),
        ({}, ("sub", "/etc"), "  folder: sub\n", 12, "the folder sub leads out of the source"),
        ({".gitmodules": '[submodule "x"]\npath = vendor/library\nurl = ext::sh -c x\n'},
         None, "", 12, "has the URL 'ext::sh -c x', which is not allowed"),
    ],
)  # fmt: skip
def test_what_a_stranger_may_have_committed(
    site: Site,
    files: dict[str, str],
    link: tuple[str, str] | None,
    more: str,
    status: int,
    expected: str,
) -> None:
    if link:
        (site.app / link[0]).unlink(missing_ok=True)
        (site.app / link[0]).symlink_to(link[1])
    commit(site.app, {"other": "", **files})
    site.source("branch: main", more)
    done = site.call("build", status=status)
    assert expected in done.stderr
    assert "root:" not in done.stderr


def test_a_remote_that_does_not_answer(site: Site) -> None:
    text = "summary: x\nlicense: MIT\nsource: {git: 'https://127.0.0.1:1/a.git', tag: v1, dockerfile: D}\n"  # noqa: E501
    write(site.root, {"images/app/image.yaml": text})
    done = site.call("build", "app", status=12)
    assert "image 'app': the git repository https://127.0.0.1:1/a.git cannot be read: fatal:" in (
        done.stderr
    )
    done = site.call("list", status=3)
    assert "the source, which has the Dockerfile, has not been fetched yet" in done.stderr
    site.call("build", "base", status=12)  # what app is built from is not known either
