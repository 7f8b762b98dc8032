"""Fixtures of the offline host and of the repository it installs from."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.site.host import Host, new_host
from tests.site.transactions import use_repository
from tests.site.tree import TRIXIE, cache_folder, ready
from tests.site.versions import Versions, make_versions
from tests.trust import made_keys

_ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def tree() -> Path:
    """The cached file system that every host starts from."""
    return ready(TRIXIE, cache_folder())


@pytest.fixture
def host(tree: Path) -> Iterator[Host]:
    """A fresh host, up and running, without a repository."""
    with new_host(tree, cache_folder()) as host:
        host.boot()
        yield host


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The yum repository that ``containerpkg make`` publishes of this project's own images.

    ``$CONTAINERPKG_TEST_REPOSITORY`` names one that is there already, ``$CONTAINERPKG_TEST_ENGINE``
    the engine that builds.
    """
    chosen = os.environ.get("CONTAINERPKG_TEST_REPOSITORY")
    if chosen:
        return Path(chosen).resolve()
    output = tmp_path_factory.mktemp("out")
    argv = [sys.executable, "-m", "containerpkg", "make", "--output", str(output)]
    if engine := os.environ.get("CONTAINERPKG_TEST_ENGINE"):
        argv.append(f"--engine={engine}")
    done = subprocess.run(
        argv,
        cwd=_ROOT,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return output / "repo"


@pytest.fixture
def site(tree: Path, repository: Path) -> Iterator[Host]:
    """A fresh host, up and running, whose dnf knows the repository and nothing else."""
    with new_host(tree, cache_folder(), binds={repository: "/srv/repo"}) as host:
        host.boot()
        use_repository(host)
        yield host


@pytest.fixture(scope="session")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Versions:
    """Three versions of this project's own images, in a signed channel for each flavour of units.

    ``$CONTAINERPKG_TEST_VERSIONS`` names a folder that has them already.
    """
    chosen = os.environ.get("CONTAINERPKG_TEST_VERSIONS")
    if chosen:
        return Versions(Path(chosen).resolve())
    with made_keys(tmp_path_factory.mktemp("k") / "g") as keys:
        return make_versions(tmp_path_factory.mktemp("versions"), keys)
