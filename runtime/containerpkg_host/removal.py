"""What goes with a package: its services stop, their containers and images are removed."""

from typing import Dict, List, Set

from containerpkg_host import holdback, journal, presets, rpmdb, systemd
from containerpkg_host.engines import Engines
from containerpkg_host.host import Host, remove
from containerpkg_host.layout import Layout, load_layouts
from containerpkg_host.running import digest_of
from containerpkg_host.state import Change, Presets, State, file_fingerprint, version_of


def before_removal(host: Host, engines: Engines, paths: List[str]) -> None:
    """Stop the services whose package is about to lose its files, of which ``paths`` are some.

    rpm says the same words when a version is replaced. Then the new one's files are there already,
    and its image.json is not the file that the last run saw; if there was none, it has two owners.
    """
    state = State(host)
    known, layouts = state.known(), load_layouts(host)[0]
    for path in paths:
        folder, _, name = path.strip().rpartition("/")
        image = folder.rpartition("/")[2]
        if name != "image.json":
            continue
        if image in known:
            version = known[image].current
            if file_fingerprint(host.images / image / name) != known[image].file:
                continue
        elif image in layouts and rpmdb.owners(host, host.images / image / name) == 1:
            version = version_of(layouts[image])
        else:
            continue
        units = presets.units_of(host, version.services)
        timers = [unit for unit in units if unit.endswith(".timer")]
        if timers:
            systemd.stop_units(host, *timers)
        running = [s for s in version.services if systemd.show(host, s).running]
        enabled = [unit for unit in units if systemd.is_enabled(host, unit)]
        if image in known:
            ends = Presets(tuple(units), tuple(enabled))
            _note_ends(state, image, version.digest, running, ends)
        if running:
            systemd.stop(host, *running)
        if image not in known:  # then nobody comes back to it after the transaction
            state.forget_presets(image)
            for service in running:
                systemd.reset_failed(host, service)
        if enabled:
            systemd.disable(host, *enabled)
        if image in layouts:
            others = (layout for name, layout in layouts.items() if name != image)
            _tell_of_data(engines, layouts[image], {v for one in others for v in one.volumes})


def _note_ends(state: State, image: str, digest: str, running: List[str], ends: Presets) -> None:
    """Remember what is stopped and disabled, if the image should stay after all.

    So it is with one of two versions that a transaction which was cut off has left: the run after
    this transaction starts it again.
    """
    try:
        for service in running:
            state.begin_upgrade(Change(service, image, "", old=digest, new=digest))
        if ends.enabled:
            state.note_presets(image, ends)
    except OSError as error:  # a package is removed, for one, because the disk is full
        journal.warning(f"{error.filename}: {error.strerror}")


def _tell_of_data(engines: Engines, layout: Layout, shared: Set[str]) -> None:
    engine = engines.of(layout)
    there = engine.volumes() if layout.volumes else ()
    volumes = [name for name in layout.volumes if name in there and name not in shared]
    if volumes:
        names = " ".join(volumes)
        journal.info(
            f"the data of {layout.package} stays in {engine.name}, in the volume"
            f"{'s' if len(volumes) > 1 else ''} {', '.join(volumes)}; "
            f"'{engine.name} volume rm {names}' removes it for good"
        )


def stop_gone(host: Host, engines: Engines, layouts: Dict[str, Layout]) -> None:
    """Stop the services whose packages are gone, and remove their containers."""
    state = State(host)
    offered = {service for layout in layouts.values() for service in layout.services}
    for name, known in state.known().items():
        if (host.images / name / "image.json").exists() and name not in layouts:
            continue  # there, but it cannot be read
        engine = engines.named("docker" if known.current.units == "docker" else "podman")
        for service in known.current.services:
            if service in offered or _has_unit(host, service):
                continue
            if systemd.show(host, service).running:
                systemd.stop(host, service)
                journal.info(f"{service} is stopped: its package is removed")
            if engine.container(service):
                engine.remove_container(service)
            systemd.reset_failed(host, service)
            state.end_upgrade(service)
            if holdback.lift(host, service):
                systemd.daemon_reload(host)
            state.end_rollback(service)


def _has_unit(host: Host, service: str) -> bool:
    """Whether there is a unit but that which holds a service back before podman 5."""
    quadlets = [folder / f"{service}.container" for folder in host.quadlets]
    units = [folder / f"{service}.service" for folder in host.units]
    return any(path.exists() and not holdback.is_hold(path) for path in (*quadlets, *units))


def remove_unowned(host: Host, engines: Engines, layouts: Dict[str, Layout]) -> None:
    """Remove from the engines what we loaded and no installed package has any more."""
    state = State(host)
    loaded = state.loaded()
    needed = {layout.digest for layout in layouts.values()}
    needed |= {c.old for c in (*state.rollbacks().values(), *state.upgrades().values())}
    ids = {layout.id for layout in layouts.values()}
    used = {
        name
        for layout in layouts.values()
        for name in (layout.kept, layout.reference, *layout.neighbours)
    }
    if set(loaded) <= needed:
        return
    for layout in layouts.values():
        running = map(engines.of(layout).container, layout.services)
        needed |= {digest_of(container, loaded) for container in running if container}
    for digest, one in loaded.items():
        if digest in needed:
            continue
        engine = engines.named(one.engine)
        if not engine.answers():
            continue  # at its next transaction, or at the next boot
        found = engine.inspect(one.names[0]) or engine.inspect(one.engine_id or one.id)
        if found is None and not engine.answers():
            continue  # it went away meanwhile, and what it has is not known
        names = [name for name in one.names if found and name in found.names]
        if found and one.id in ids:  # an installed image has the same content by another manifest
            names = [name for name in names if name not in used]
            if len(names) == len(found.names):
                continue  # that one has no name in the engine yet
        elif found and not found.names:
            names = [found.id]
        failed = [done for done in map(engine.remove_image, names) if done.status]
        if failed:
            journal.warning(
                f"image {one.image} {digest[:19]} stays in {engine.name}: {failed[0].why}"
            )
            continue
        state.forget_loaded(digest)
        if found:
            journal.info(f"image {one.image} {digest[:19]} is removed from {engine.name}")


def leave(host: Host, engines: Engines) -> None:
    """Undo on this host what we did, for the removal of our own package."""
    layouts, problems = load_layouts(host)
    if host.booted and not problems:
        systemd.stop(host, "containerpkg-sync")
        stop_gone(host, engines, layouts)
        remove_unowned(host, engines, layouts)
    if layouts or problems:
        return
    for one in State(host).loaded().values():
        names = " ".join(one.names)
        journal.warning(
            f"image {one.image} {one.digest[:19]} may stay in {one.engine}: "
            f"'{one.engine} image rm {names}' removes it"
        )
    if host.booted:
        rpmdb.erase_later(host, rpmdb.unneeded_layers(host))
    for folder in sorted(host.state.rglob("*"), reverse=True):
        folder.rmdir() if folder.is_dir() else remove(folder)
