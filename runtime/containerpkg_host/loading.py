"""Brings an installed image into the engine: whole or not at all, and once."""

from containerpkg_host import blobs
from containerpkg_host.engine import Engine
from containerpkg_host.errors import DamagedImage, EngineFailed
from containerpkg_host.host import Host
from containerpkg_host.layout import Layout
from containerpkg_host.state import Loaded, State


def is_present(engine: Engine, layout: Layout) -> bool:
    """Whether the engine has this content under the image's name."""
    found = engine.inspect(layout.pinned)
    return found is not None and found.id == layout.id


def verify(host: Host, engine: Engine, layout: Layout) -> None:
    """Look at the blobs of ``layout`` before an engine does.

    An image that the engine has is not looked at: nothing of it will be read. What is about to be
    loaded is remembered as ours. Raises :class:`DamagedImage`.
    """
    if is_present(engine, layout):
        return
    damage = blobs.find_damage(host, layout)
    if damage:
        raise DamagedImage(blobs.describe(layout, damage))
    names = (layout.kept, layout.reference, *layout.neighbours)
    State(host).add_loaded(Loaded(layout.name, layout.digest, layout.id, names))


def load(host: Host, engine: Engine, layout: Layout) -> None:
    """Copy ``layout`` into the engine unless it is there; two at once load it once.

    Raises :class:`DamagedImage` and :class:`EngineFailed`.
    """
    with host.locked(f"load-{layout.name}"):
        if is_present(engine, layout):
            return
        verify(host, engine, layout)
        done = engine.load(layout)
        if done.status:
            raise EngineFailed(
                f"{engine.name} could not load the image {layout.name} of package "
                f"{layout.package}: {done.why}"
            )
