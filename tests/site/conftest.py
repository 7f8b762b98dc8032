"""Fixtures of the offline host."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.site.host import Host, new_host
from tests.site.tree import TRIXIE, cache_folder, ready


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
