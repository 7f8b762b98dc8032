"""The metadata of a repository: what it names, what is rewritten, what a kill leaves."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import createrepo_c
import pytest

from containerpkg.errors import RepositoryError
from containerpkg.packages.plan import PackageFile, PackagePlan
from containerpkg.packages.rpmbuild import build
from containerpkg.packages.version import Nevra
from containerpkg.repository import metadata
from containerpkg.repository.metadata import Published, publish_metadata

SPEC = """\
Name: {name}
Version: 1
Release: 1
Summary: A package
License: MIT
BuildArch: noarch
%description
A package.
%files
/usr/share/{name}
"""


@pytest.fixture(scope="session")
def rpms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("rpms")
    return {
        name: build(
            PackagePlan(
                nevra=Nevra(name=name, version="1", release="1", arch="noarch"),
                time=1_000_000_000,
                files=(PackageFile(target=f"/usr/share/{name}", content=name),),
                spec=SPEC.format(name=name),
            ),
            folder / "work",
            folder,
        )
        for name in ("one", "two", "three")
    }


@pytest.fixture
def repo(tmp_path: Path, rpms: dict[str, Path]) -> Path:
    """A repository of the packages one and two."""
    folder = tmp_path / "repo"
    (folder / "packages").mkdir(parents=True)
    for name in ("one", "two"):
        shutil.copy(rpms[name], folder / "packages")
    assert publish_metadata(folder) == Published(packages=2, changed=True)
    return folder


def listed(folder: Path) -> dict[str, tuple[str, int]]:
    """What a client sees: the place of each package, its NEVRA and size."""
    reader = createrepo_c.RepositoryReader.from_path(str(folder))
    return {p.location_href: (p.nevra(), p.size_package) for p in reader.iter_packages()}


def there(folder: Path) -> dict[str, tuple[str, int]]:
    return {
        f"packages/{path.name}": (
            f"{path.name.partition('-')[0]}-0:1-1.noarch",
            path.stat().st_size,
        )
        for path in (folder / "packages").glob("*.rpm")
    }


def state(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in (folder, *folder.rglob("*"))
    }


def named(folder: Path) -> set[str]:
    records = createrepo_c.Repomd(str(folder / "repodata/repomd.xml")).records
    return {Path(record.location_href).name for record in records}


def files(folder: Path) -> set[str]:
    return {path.name for path in (folder / "repodata").iterdir()}


def test_new(repo):
    assert listed(repo) == there(repo)
    assert len(listed(repo)) == 2
    assert files(repo) == {"repomd.xml", *named(repo)}
    assert sorted(path.name for path in repo.iterdir()) == ["packages", "repodata"]
    primary = next((repo / "repodata").glob("*-primary.xml.gz"))
    assert createrepo_c.Repomd(str(repo / "repodata/repomd.xml"))["primary"].checksum in str(
        primary
    )


def test_modes_do_not_depend_on_the_umask(repo):
    shutil.rmtree(repo / "repodata")
    before = os.umask(0o077)
    try:
        publish_metadata(repo)
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in (repo / "repodata").iterdir()} == {0o644}


def test_unchanged(repo):
    before = state(repo)
    assert publish_metadata(repo) == Published(packages=2, changed=False)
    assert state(repo) == before


def test_no_packages(tmp_path):
    (tmp_path / "packages").mkdir()
    assert publish_metadata(tmp_path) == Published(packages=0, changed=True)
    assert listed(tmp_path) == {}
    before = state(tmp_path)
    assert publish_metadata(tmp_path) == Published(packages=0, changed=False)
    assert state(tmp_path) == before


Change = Callable[[Path, Path], object]

CHANGES: dict[str, Change] = {
    "added": lambda repo, rpm: shutil.copy(rpm, repo / "packages"),
    "removed": lambda repo, rpm: (repo / "packages/one-1-1.noarch.rpm").unlink(),
    "touched": lambda repo, rpm: os.utime(repo / "packages/one-1-1.noarch.rpm", (1, 1)),
    "repomd empty": lambda repo, rpm: (repo / "repodata/repomd.xml").write_text(""),
    "repomd cut": lambda repo, rpm: os.truncate(repo / "repodata/repomd.xml", 300),
    "repomd gone": lambda repo, rpm: (repo / "repodata/repomd.xml").unlink(),
    "all gone": lambda repo, rpm: shutil.rmtree(repo / "repodata"),
    "primary cut": lambda repo, rpm: os.truncate(
        next((repo / "repodata").glob("*-primary.xml.gz")), 100
    ),
    "filelists gone": lambda repo, rpm: next(
        (repo / "repodata").glob("*-filelists.xml.gz")
    ).unlink(),
    "other damaged": lambda repo, rpm: next((repo / "repodata").glob("*-other.xml.gz")).write_bytes(
        b"x"
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_right_again_after_a_change(change, repo, rpms):
    change(repo, rpms["three"])
    expected = there(repo)
    assert publish_metadata(repo) == Published(packages=len(expected), changed=True)
    assert listed(repo) == expected
    assert publish_metadata(repo) == Published(packages=len(expected), changed=False)


def test_known_packages_are_not_read_again(repo, rpms, monkeypatch):
    read: list[str] = []
    real = createrepo_c.package_from_rpm

    def package_from_rpm(path, **options):
        read.append(Path(path).name)
        return real(path, **options)

    monkeypatch.setattr(metadata.createrepo_c, "package_from_rpm", package_from_rpm)
    shutil.copy(rpms["three"], repo / "packages")
    publish_metadata(repo)
    assert read == ["three-1-1.noarch.rpm"]
    reader = createrepo_c.RepositoryReader.from_path(str(repo))
    assert {p.name: [f[-1] for f in p.files] for p in reader.iter_packages()} == {
        name: [name] for name in ("one", "two", "three")
    }


def test_a_damaged_package_is_named_and_the_metadata_stays(repo):
    before = state(repo / "repodata")
    broken = repo / "packages/three-1-1.noarch.rpm"
    broken.write_bytes(b"\xed\xab\xee\xdb and nothing that follows")
    with pytest.raises(RepositoryError) as caught:
        publish_metadata(repo)
    assert caught.value.message.startswith(f"{broken} is not a package that can be read: ")
    assert caught.value.hint == f"remove it ('rm {broken}') and run 'containerpkg make' again"
    assert state(repo / "repodata") == before
    assert sorted(path.name for path in repo.iterdir()) == ["packages", "repodata"]


def test_one_generation_of_old_files_stays(repo, rpms):
    generations = [named(repo)]
    for name in ("three", "four", "five"):
        shutil.copy(rpms["three"], repo / f"packages/{name}.rpm")
        publish_metadata(repo)
        generations.append(named(repo))
        assert files(repo) == {"repomd.xml", *generations[-1], *generations[-2]}
    assert not generations[-1] & generations[-2]


def publish_and_die(folder: Path, moved: int) -> None:
    """Publish in a process that is killed after so many files were moved."""
    child = os.fork()
    if child:
        assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
        return
    real, done = Path.rename, []

    def rename(path: Path, target: Path) -> Path:
        if len(done) == moved:
            os.kill(os.getpid(), signal.SIGKILL)
        done.append(target)
        return real(path, target)

    Path.rename = rename
    try:
        publish_metadata(folder)
    finally:
        os._exit(1)


@pytest.mark.parametrize("moved", range(4))
def test_killed_between_the_moves(moved, repo, rpms):
    old, seen = named(repo), listed(repo)
    shutil.copy(rpms["three"], repo / "packages")
    publish_and_die(repo, moved)
    assert listed(repo) == seen, "the old metadata is whole"
    assert old <= files(repo)
    assert len(list(repo.glob(".metadata-*"))) == 1
    assert publish_metadata(repo) == Published(packages=3, changed=True)
    assert listed(repo) == there(repo)
    assert files(repo) == {"repomd.xml", *named(repo), *old}
    assert sorted(path.name for path in repo.iterdir()) == ["packages", "repodata"]
