"""The OCI manifest of a stored image: the one document whose digest names the image everywhere.

https://github.com/opencontainers/image-spec/blob/main/manifest.md
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from containerpkg.definitions.project import Layers
from containerpkg.store.content import Blob, Layer

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"


def render_manifest(config: Blob, layers: Sequence[Layer], form: Layers) -> bytes:
    """The manifest's bytes: the same for the same configuration and blobs, always."""
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": _descriptor(CONFIG, config),
        "layers": [_descriptor(f"{_LAYER}+{form.compression}", layer.blob) for layer in layers],
    }
    return json.dumps(document, separators=(",", ":")).encode()


def _descriptor(media_type: str, blob: Blob) -> dict[str, object]:
    return {"mediaType": media_type, "digest": blob.digest, "size": blob.size}
