"""Brings an installed image into its engine: whole or not at all, and once."""

import os
from typing import Optional

from containerpkg_host import blobs, journal
from containerpkg_host.engine import Engine, LocalImage
from containerpkg_host.errors import DamagedImage, EngineFailed
from containerpkg_host.holdback import VARIABLE
from containerpkg_host.host import Host
from containerpkg_host.layout import Layout
from containerpkg_host.space import describe_lack, find_space, needs
from containerpkg_host.state import Loaded, State


def find(host: Host, engine: Engine, layout: Layout) -> Optional[LocalImage]:
    """The image in the engine, if this content is there under what the units run it by."""
    found = engine.inspect(layout.runs)
    if found is None:
        return None
    # Docker with containerd's store calls an image by its manifest's digest, and one that came as
    # an archive by that of a manifest it made itself.
    loaded = State(host).loaded().get(layout.digest)
    ids = {layout.id, layout.digest, loaded.engine_id if loaded else ""}
    return found if found.id in ids else None


def is_present(host: Host, engine: Engine, layout: Layout) -> bool:
    """Whether the engine has this content under what the units run it by."""
    return find(host, engine, layout) is not None


def verify(host: Host, engine: Engine, layout: Layout) -> None:
    """Look at the files of ``layout`` before an engine does.

    An image that the engine has is not looked at: nothing of it will be read. What is about to be
    loaded is remembered as ours. Raises :class:`DamagedImage`.
    """
    if is_present(host, engine, layout):
        return
    damage = blobs.find_damage(host, layout)
    if damage:
        raise DamagedImage(blobs.describe(layout, damage))
    State(host).add_loaded(_record(engine, layout))


def _record(engine: Engine, layout: Layout, engine_id: str = "") -> Loaded:
    names = (layout.kept, layout.reference, *layout.neighbours)
    return Loaded(layout.name, layout.digest, layout.id, names, engine.name, engine_id)


def load(host: Host, engine: Engine, layout: Layout) -> LocalImage:
    """Copy ``layout`` into the engine unless it is there; two at once load it once.

    Raises :class:`DamagedImage` and :class:`EngineFailed`.
    """
    with host.locked(f"load-{layout.name}"):
        found = find(host, engine, layout)
        if found:
            return found
        if not engine.answers():
            how = f"'systemctl start {engine.unit}'" if engine.unit else "is it installed?"
            raise EngineFailed(
                f"{engine.name} does not answer, so the image {layout.name} of package "
                f"{layout.package} cannot be loaded: {how}"
            )
        verify(host, engine, layout)
        done = engine.load(layout)
        # An engine that was killed would not answer either, and until it does nothing is said.
        found = engine.inspect(layout.runs) if done.status == 0 else None
        if found is None:
            why = done.why if done.status else f"it does not know {layout.runs} afterwards"
            if "no space left" in why:
                lack = describe_lack(find_space(host, needs(engine, [layout])))
                why += f": {lack}; make room and start it again" if lack else ""
            raise EngineFailed(
                f"{engine.name} could not load the image {layout.name} of package "
                f"{layout.package}: {why}"
            )
        State(host).add_loaded(_record(engine, layout, found.id))
        journal.info(f"image {layout.name} {layout.digest[:19]} is loaded into {engine.name}")
        return found


def make_ready(host: Host, engine: Engine, layout: Layout, service: str) -> None:
    """Everything that a plain unit needs before its engine is told to run ``service``.

    Raises :class:`DamagedImage` and :class:`EngineFailed`.
    """
    # A unit that is held at another image does without the installed one, be it damaged.
    wanted = os.environ.get(VARIABLE) or layout.runs
    found = load(host, engine, layout) if wanted == layout.runs else engine.inspect(wanted)
    if found and layout.reference not in found.names:
        # For people: the tag names what was started last.
        engine.tag(found.id, layout.reference)
    done = engine.make_way(service)
    if done.status:
        raise EngineFailed(f"{service} cannot be started: {done.why}")
