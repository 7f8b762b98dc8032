"""The package of one layer: a pure function of the layer's blob."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from containerpkg.errors import PackageError
from containerpkg.packages import spec
from containerpkg.packages.plan import PackageFile, PackagePlan
from containerpkg.packages.version import Nevra
from containerpkg.templates import render

SHARE = "/usr/share/containerpkg"
BLOBS = f"{SHARE}/blobs/sha256"
"""Where a host keeps blobs."""

BLOB_DIRECTORIES = (SHARE, f"{SHARE}/blobs", BLOBS)
"""What every package with blobs owns."""

CARRIED_BELOW = 1 << 20
"""Layers of fewer bytes ride in the image packages that have them."""

# 2000-01-01T00:00:00Z: the same wherever and whenever a layer is packaged.
_TIME = 946_684_800


@dataclass(frozen=True, kw_only=True)
class Blob:
    """A blob of the content store: ``sha256:`` digest, size in bytes, and its file."""

    digest: str
    size: int
    path: Path

    def __post_init__(self) -> None:
        if not re.fullmatch(r"sha256:[0-9a-f]{64}", self.digest):
            raise PackageError(f"{self.digest!r} is not a SHA-256 digest")

    @property
    def hex(self) -> str:
        """The digest without its algorithm."""
        return self.digest.removeprefix("sha256:")


def layer_nevra(blob: Blob) -> Nevra:
    """What the package of a layer is called."""
    return Nevra(name=f"oci-layer-{blob.hex[:16]}", version="1", release="1", arch="noarch")


def layer_provide(blob: Blob) -> str:
    """What the package of a layer provides and image packages require."""
    return f"oci-blob({blob.digest})"


def blob_file(blob: Blob) -> PackageFile:
    """A blob as a file of a package."""
    return PackageFile(target=f"{BLOBS}/{blob.hex}", content=blob.path)


def plan_layer(blob: Blob) -> PackagePlan:
    """The package of one layer. No project changes it: it is the same wherever it is built."""
    nevra = layer_nevra(blob)
    files = (blob_file(blob),)
    return PackagePlan(
        nevra=nevra,
        time=_TIME,
        directories=BLOB_DIRECTORIES,
        files=files,
        spec=render(
            "layer.spec.j2",
            {
                "nevra": nevra,
                "provides": spec.dependency(layer_provide(blob)),
                "directories": [spec.path(path) for path in BLOB_DIRECTORIES],
                "files": spec.files(files),
            },
            kind="spec-templates",
            serialize=spec.line,
        ),
    )
