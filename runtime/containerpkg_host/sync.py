"""After a transaction: makes what runs, and what the engine keeps, what the packages say.

Each step looks at how things are and does what is missing, so that a run that was killed is
finished by the next, and a run that finds everything done does nothing.
"""

from typing import Dict, List

from containerpkg_host import blobs, holdback, journal, loading, rpmdb, systemd
from containerpkg_host.engine import Container, Engine, Podman
from containerpkg_host.errors import HostProblem
from containerpkg_host.host import Host, remove
from containerpkg_host.layout import Layout, load_layouts
from containerpkg_host.state import Change, Known, State, file_fingerprint, version_of

_WANTED = "sync-wanted"


def sync(host: Host, engine: Engine) -> int:
    """Run until nobody has asked for another run; the number of things that went wrong."""
    wrong = 0
    while True:
        rpmdb.wait_for_transaction(host)
        with host.locked("sync"):
            remove(host.runtime / _WANTED)
            wrong += _Pass(host, engine).run()
        if not (host.runtime / _WANTED).exists():
            return wrong


class _Pass:
    def __init__(self, host: Host, engine: Engine) -> None:
        self._host, self._engine, self._state = host, engine, State(host)
        self._settings = host.settings()
        self._layouts, self._problems = load_layouts(host)
        self._wrong = 0

    def run(self) -> int:
        for problem in self._problems:
            self._fail(str(problem))
        self._lift_rollbacks()
        stop_gone(self._host, self._engine, self._layouts)
        self._find_failed()
        ready = [layout for layout in self._layouts.values() if self._preload(layout)]
        if self._settings.restart_services:
            for layout in ready:
                for service in layout.services:
                    self._update(layout, service)
        # Not before, or a run that is cut off would not know that there was an update.
        self._note_versions()
        if not self._problems:  # else nobody knows what is installed
            remove_unowned(self._host, self._engine, self._layouts)
            self._remove_layers()
        blobs.forget_absent(self._host)
        return self._wrong

    def _fail(self, message: str, *, unit: str = "", message_id: str = "") -> None:
        self._wrong += 1
        journal.error(message, unit=unit, message_id=message_id)

    # What held services back, and what was installed before.

    def _lift_rollbacks(self) -> None:
        lifted = False
        for service, change in self._state.rollbacks().items():
            layout = self._layouts.get(change.image)
            if layout is None or layout.digest != change.new or service not in layout.services:
                lifted = holdback.lift(self._host, service) or lifted
                self._state.end_rollback(service)
        if lifted:
            systemd.daemon_reload(self._host)

    def _note_versions(self) -> None:
        known = self._state.known()
        for name, layout in self._layouts.items():
            current, before = version_of(layout), known.get(name)
            previous = before.previous if before else None
            if before and before.current.digest != current.digest:
                previous = before.current
            found = file_fingerprint(self._host.images / name / "image.json")
            noted = Known(current, previous, found)
            if noted != before:
                self._state.set_known(name, noted)
        if self._problems:
            return
        for name in set(known) - set(self._layouts):
            self._state.forget_known(name)

    def _find_failed(self) -> None:
        """Take services that fail with an image just installed as begun upgrades.

        So it is after a power cut between a transaction and its run: the next boot has started
        them.
        """
        known = self._state.known()
        for name, layout in self._layouts.items():
            if name not in known or known[name].current.digest == layout.digest:
                continue
            for service in layout.services:
                failing = systemd.show(self._host, service).active in ("failed", "activating")
                told = service in self._state.upgrades() or service in self._state.rollbacks()
                if failing and not told and not self._engine.container(service):
                    change = Change(
                        service=service,
                        image=name,
                        repository=layout.repository,
                        old=known[name].current.digest,
                        new=layout.digest,
                    )
                    self._state.begin_upgrade(change)

    # The image that runs.

    def _preload(self, layout: Layout) -> bool:
        """Whether the engine has the image, or nobody needs it before a start."""
        if not layout.services or loading.is_present(self._engine, layout):
            return True
        pending = self._state.upgrades()
        loaded = any(one.image == layout.name for one in self._state.loaded().values())
        running = any(systemd.show(self._host, s).running for s in layout.services)
        if not (running or loaded or any(s in pending for s in layout.services)):
            return True
        unit = systemd.image_service(layout.name)
        try:
            loading.verify(self._host, self._engine, layout)
        except HostProblem as problem:
            self._fail(str(problem), unit=systemd.unit_name(unit))
            return False
        done = systemd.start(self._host, unit)
        if done.status:
            self._fail(
                f"the image {layout.name} of package {layout.package} could not be loaded, what "
                f"runs goes on with the image before: {systemd.why(done)}; 'journalctl -u {unit}' "
                f"says more",
                unit=systemd.unit_name(unit),
            )
            return False
        if not loading.is_present(self._engine, layout):
            self._fail(
                f"the unit {unit} does not load what package {layout.package} has installed; was a "
                f"transaction cut off? 'dnf upgrade' or 'dnf reinstall {layout.package}' ends it",
                unit=systemd.unit_name(unit),
            )
            return False
        journal.info(f"image {layout.name} {layout.digest[:19]} is loaded")
        return True

    def _update(self, layout: Layout, service: str) -> None:
        """Have ``service`` run the installed image if it runs another one."""
        if service in self._state.rollbacks():
            self._hold(service)
            return
        unit, pending = (
            systemd.show(self._host, service),
            self._state.upgrades().get(service),
        )
        container = self._engine.container(service)
        if container and container.running and runs(container, layout) and unit.active == "active":
            self._state.end_upgrade(service)
            return
        if layout.digest.partition(":")[2] not in systemd.command_of(self._host, service):
            self._state.end_upgrade(service)  # the administrator chose another image
            return
        if unit.running and container and not runs(container, layout):
            change = pending or Change(
                service=service,
                image=layout.name,
                repository=layout.repository,
                old=container.digest,
                new=layout.digest,
            )
            self._state.begin_upgrade(change._replace(new=layout.digest))
            kept = f"{change.repository}:{change.old.replace(':', '-')}"
            if change.old == container.digest:
                self._engine.tag(container.image_id, kept)
            done = systemd.restart(self._host, service)
        elif pending:
            change = pending._replace(new=layout.digest)
            done = systemd.start(self._host, service)
        else:
            return
        if done.status == 0:
            self._state.end_upgrade(service)
            journal.info(f"{service} runs {layout.version}, {layout.digest[:19]}")
        elif not systemd.job_failed(done):
            if systemd.stopping(self._host):
                return  # the next boot goes on
            self._state.end_upgrade(service)  # somebody stopped it, for one
            self._fail(
                f"{service} was not started with {layout.digest[:19]}: {systemd.why(done)}",
                unit=systemd.unit_name(service),
            )
        elif self._is_installed(layout):
            self._roll_back(change._replace(new=layout.digest), systemd.why(done))

    def _is_installed(self, layout: Layout) -> bool:
        """Whether no transaction has come between; if one has, its own run will follow."""
        rpmdb.wait_for_transaction(self._host)
        return load_layouts(self._host)[0].get(layout.name) == layout

    def _roll_back(self, change: Change, why: str) -> None:
        service = change.service
        unit = systemd.unit_name(service)
        held = self._engine.inspect(f"{change.repository}@{change.old}") if change.old else None
        if not self._settings.roll_back or held is None or change.old == change.new:
            self._fail(f"{service} does not start with the image {change.new}: {why}", unit=unit)
            self._state.end_upgrade(service)
            return
        self._state.add_rollback(change)
        self._fail(
            f"{service} does not start with the image {change.new[:19]} that its package brought "
            f"({why}); it is given {change.old[:19]} back",
            unit=unit,
            message_id=journal.ROLLED_BACK,
        )
        self._hold(service)

    def _hold(self, service: str) -> None:
        """Have a service that was rolled back run the image it had."""
        change = self._state.rollbacks()[service]
        version = self._engine.version() if isinstance(self._engine, Podman) else (0, 0)
        try:
            written = holdback.write(self._host, change, version)
        except HostProblem as problem:
            self._fail(str(problem), unit=systemd.unit_name(service))
            return
        pending = service in self._state.upgrades()
        if written or pending:  # a run may have been cut off between the two
            systemd.daemon_reload(self._host)
        if not pending:
            return
        systemd.reset_failed(self._host, service)
        done = systemd.restart(self._host, service)
        self._state.end_upgrade(service)
        if done.status:
            self._fail(
                f"{service} does not start with the image before either: {systemd.why(done)}",
                unit=systemd.unit_name(service),
            )
        else:
            journal.warning(
                f"{service} runs {change.old[:19]} again, not the installed {change.new[:19]}; "
                f"'containerpkg-host retry {service}' tries that one again"
            )

    def _remove_layers(self) -> None:
        # A transaction that was cut off has put files there that rpm does not know of yet.
        kept = {package for one in self._layouts.values() for package in version_of(one).layers}
        if self._settings.keep_previous_layers:
            for known in self._state.known().values():
                kept.update(known.previous.layers if known.previous else ())
        for package in rpmdb.unneeded_layers(self._host):
            if package in kept:
                continue
            done = rpmdb.erase(self._host, package)
            if done.status == 0:
                journal.info(f"package {package} is removed: no installed package requires it")


def runs(container: Container, layout: Layout) -> bool:
    """Whether a container is of this very image."""
    if container.digest:
        return container.digest == layout.digest
    return container.image_id == layout.id


def stop_gone(host: Host, engine: Engine, layouts: Dict[str, Layout]) -> None:
    """Stop the services whose packages are gone, and remove their containers."""
    state = State(host)
    offered = {service for layout in layouts.values() for service in layout.services}
    for name, known in state.known().items():
        if (host.images / name / "image.json").exists() and name not in layouts:
            continue  # there, but it cannot be read
        for service in known.current.services:
            if service in offered or any(
                (folder / f"{service}.container").exists() for folder in host.quadlets
            ):
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


def remove_unowned(host: Host, engine: Engine, layouts: Dict[str, Layout]) -> None:
    """Remove from the engine what we loaded and no installed package has any more."""
    state = State(host)
    needed = {layout.digest for layout in layouts.values()}
    needed |= {c.old for c in (*state.rollbacks().values(), *state.upgrades().values())}
    ids = {layout.id for layout in layouts.values()}
    if set(state.loaded()) <= needed:
        return
    for layout in layouts.values():
        running = [container for container in map(engine.container, layout.services) if container]
        needed |= {container.digest for container in running}
    for digest, one in state.loaded().items():
        if digest in needed:
            continue
        if one.id in ids:
            state.forget_loaded(digest)
            continue
        found = engine.inspect(one.id)
        names = [name for name in one.names if found and name in found.names]
        if found and not found.names:
            names = [one.id]
        failed = [done for done in map(engine.remove_image, names) if done.status]
        if failed:
            journal.warning(
                f"image {one.image} {digest[:19]} stays in {engine.name}: {failed[0].why}"
            )
            continue
        state.forget_loaded(digest)
        if found:
            journal.info(f"image {one.image} {digest[:19]} is removed from {engine.name}")


def before_removal(host: Host, paths: List[str]) -> None:
    """Stop the services whose package is about to lose its files, of which ``paths`` are some.

    rpm says the same words when a version is replaced. Then the new one's files are there already,
    and its image.json is not the file that the last run saw.
    """
    state = State(host)
    known = state.known()
    for path in paths:
        folder, _, name = path.strip().rpartition("/")
        image = folder.rpartition("/")[2]
        if name != "image.json" or image not in known:
            continue
        one = known[image]
        if file_fingerprint(host.images / image / name) != one.file:
            continue
        running = [s for s in one.current.services if systemd.show(host, s).running]
        for service in running:
            # If the image stays after all, as with one of two versions that a transaction which
            # was cut off has left, the run after this transaction starts it again.
            digest = one.current.digest
            state.begin_upgrade(Change(service, image, "", old=digest, new=digest))
        if running:
            systemd.stop(host, *running)


def leave(host: Host, engine: Engine) -> None:
    """Undo on this host what we did, for the removal of our own package."""
    layouts, problems = load_layouts(host)
    if host.booted and not problems:
        systemd.stop(host, "containerpkg-sync")
        stop_gone(host, engine, layouts)
        remove_unowned(host, engine, layouts)
    if layouts or problems:
        return
    if host.booted:
        rpmdb.erase_later(host, rpmdb.unneeded_layers(host))
    for folder in sorted(host.state.rglob("*"), reverse=True):
        folder.rmdir() if folder.is_dir() else remove(folder)
