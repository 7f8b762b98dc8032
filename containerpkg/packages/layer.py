"""The package of one layer: a pure function of the layer's blob."""

from __future__ import annotations

from containerpkg.packages import spec
from containerpkg.packages.plan import SHARED_TIME, PackageFile, PackagePlan
from containerpkg.packages.version import Nevra
from containerpkg.store.content import Blob, ContentStore, hex_of
from containerpkg.templates import render

SHARE = "/usr/share/containerpkg"
BLOBS = f"{SHARE}/blobs/sha256"
"""Where a host keeps blobs."""

BLOB_DIRECTORIES = (SHARE, f"{SHARE}/blobs", BLOBS)
"""What every package with blobs owns."""

CARRIED_BELOW = 1 << 20
"""Layers of fewer bytes ride in the image packages that have them."""


def layer_nevra(blob: Blob) -> Nevra:
    """What the package of a layer is called."""
    return Nevra(
        name=f"oci-layer-{hex_of(blob.digest)[:16]}", version="1", release="1", arch="noarch"
    )


def layer_provide(blob: Blob) -> str:
    """What the package of a layer provides and image packages require."""
    return f"oci-blob({blob.digest})"


def blob_file(store: ContentStore, blob: Blob) -> PackageFile:
    """A blob of ``store`` as a file of a package."""
    return PackageFile(
        target=f"{BLOBS}/{hex_of(blob.digest)}",
        content=store.blob_path(blob.digest),
        shared=True,
    )


def plan_layer(store: ContentStore, blob: Blob) -> PackagePlan:
    """The package of one layer. No project changes it: it is the same wherever it is built."""
    nevra = layer_nevra(blob)
    files = (blob_file(store, blob),)
    return PackagePlan(
        nevra=nevra,
        time=SHARED_TIME,
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
