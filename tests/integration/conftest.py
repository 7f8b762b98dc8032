"""What several integration tests stand on."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from containerpkg import process


@pytest.fixture(scope="module")
def containers() -> Iterator[Path]:
    """Podman and buildah with a storage of their own, also where cgroups are of both versions.

    What they made is gone afterwards; a build that they left unfinished is an error.
    """
    with tempfile.TemporaryDirectory(prefix="ct") as folder, pytest.MonkeyPatch.context() as patch:
        root = Path(folder)
        (root / "containers.conf").write_text(
            '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\n'
            '[engine]\nruntime = "runc"\n'
        )
        (root / "storage.conf").write_text(
            f'[storage]\ndriver = "overlay"\ngraphroot = "{root}/g"\nrunroot = "{root}/r"\n'
        )
        patch.setenv("CONTAINERS_CONF", str(root / "containers.conf"))
        patch.setenv("CONTAINERS_STORAGE_CONF", str(root / "storage.conf"))
        yield root
        left = process.run(["buildah", "containers", "--quiet"]).stdout
        process.run(["buildah", "rm", "--all"])
        process.run(["buildah", "rmi", "--all", "--force"])
        if (root / "g/overlay").is_mount():
            process.run(["umount", str(root / "g/overlay")])
        assert left == ""
