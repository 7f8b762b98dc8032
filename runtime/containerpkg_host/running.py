"""Which of our images a container is of."""

from typing import Dict

from containerpkg_host.engine import Container
from containerpkg_host.layout import Layout
from containerpkg_host.state import Loaded


def digest_of(container: Container, loaded: Dict[str, Loaded]) -> str:
    """The manifest digest of the image that a container is of, as its package says it.

    An engine knows no such digest, or another one, of what did not come to it with a manifest.
    Then it is known from the load; else it is what the engine says, at last the image's ID.
    """
    if container.digest in loaded:
        return container.digest  # of two manifests of one configuration it is this one
    for digest, one in loaded.items():
        if container.image_id in (one.engine_id, one.id, digest):
            return digest
    return container.digest or container.image_id


def runs(container: Container, layout: Layout, loaded: Dict[str, Loaded]) -> bool:
    """Whether a container is of this very image."""
    if container.digest and not layout.archive:
        return container.digest == layout.digest
    one = loaded.get(layout.digest)
    ids = {layout.id, layout.digest, one.engine_id if one else ""}
    return container.image_id in ids
