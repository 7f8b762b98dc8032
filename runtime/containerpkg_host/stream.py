"""An installed image as a stream that ``docker load`` reads.

It is the layout of ``docker save`` since Docker 25: an OCI image layout with a manifest.json, see
image-layout.md of the OCI image specification. Blobs go in as they are on the disk.
"""

import io
import json
import tarfile
from pathlib import Path
from typing import IO, Any

from containerpkg_host.layout import Layout

_BLOBS = "blobs/sha256"


def write(file: "IO[bytes]", blobs: Path, layout: Layout, left_out: int = 0) -> None:
    """Write ``layout`` without its first ``left_out`` layers, which the reader has."""
    present = layout.layers[left_out:]
    manifest = [
        {
            "Config": f"{_BLOBS}/{_hex(layout.id)}",
            "RepoTags": [layout.kept, layout.reference],
            "Layers": [f"{_BLOBS}/{_hex(layer.digest)}" for layer in layout.layers],
        }
    ]
    files = [layout.id, *(layer.digest for layer in present)]
    with tarfile.open(fileobj=file, mode="w|", format=tarfile.GNU_FORMAT, bufsize=1 << 20) as tar:
        _add_json(tar, "manifest.json", manifest)
        if not left_out:  # else it would be no whole layout
            _add_json(tar, "oci-layout", {"imageLayoutVersion": "1.0.0"})
            _add_json(tar, "index.json", _index(blobs, layout))
            files.insert(0, layout.digest)
        for digest in dict.fromkeys(files):
            with (blobs / _hex(digest)).open("rb") as blob:
                info = tarfile.TarInfo(f"{_BLOBS}/{_hex(digest)}")
                info.size, info.mode = (blobs / _hex(digest)).stat().st_size, 0o444
                tar.addfile(info, blob)


def _index(blobs: Path, layout: Layout) -> Any:
    size = (blobs / _hex(layout.digest)).stat().st_size
    return {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [
            {
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": layout.digest,
                "size": size,
                # The whole name, as containerd wants it.
                "annotations": {"io.containerd.image.name": name},
            }
            for name in (layout.kept, layout.reference)
        ],
    }


def _add_json(tar: tarfile.TarFile, name: str, value: Any) -> None:
    content = json.dumps(value).encode()
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), 0o444
    tar.addfile(info, io.BytesIO(content))


def _hex(digest: str) -> str:
    return digest.partition(":")[2]
