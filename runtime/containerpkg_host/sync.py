"""After a transaction: makes what runs, and what the engine keeps, what the packages say.

Each step looks at how things are and does what is missing, so that a run that was killed is
finished by the next, and a run that finds everything done does nothing.
"""

from containerpkg_host import blobs, holdback, journal, loading, presets, rpmdb, systemd
from containerpkg_host.engines import Engines
from containerpkg_host.errors import HostProblem
from containerpkg_host.host import Host, remove
from containerpkg_host.layout import Layout, kept_name, load_layouts
from containerpkg_host.removal import remove_unowned, stop_gone
from containerpkg_host.running import digest_of, runs
from containerpkg_host.state import Change, Known, State, file_fingerprint, version_of

_WANTED = "sync-wanted"


def sync(host: Host, engines: Engines) -> int:
    """Run until nobody has asked for another run; the number of things that went wrong."""
    wrong = 0
    while True:
        rpmdb.wait_for_transaction(host)
        with host.locked("sync"):
            remove(host.runtime / _WANTED)
            wrong += _Pass(host, engines).run()
        if not (host.runtime / _WANTED).exists():
            return wrong


class _Pass:
    def __init__(self, host: Host, engines: Engines) -> None:
        self._host, self._engines, self._state = host, engines, State(host)
        self._settings = host.settings()
        self._layouts, self._problems = load_layouts(host)
        self._wrong = 0

    def run(self) -> int:
        for problem in self._problems:
            self._fail(str(problem))
        self._lift_rollbacks()
        stop_gone(self._host, self._engines, self._layouts)
        presets.apply(self._host, self._layouts)
        self._find_failed()
        ready = [layout for layout in self._layouts.values() if self._preload(layout)]
        if self._settings.restart_services:
            for layout in ready:
                for service in layout.services:
                    self._update(layout, service)
        # Not before, or a run that is cut off would not know that there was an update.
        self._note_versions()
        if not self._problems:  # else nobody knows what is installed
            remove_unowned(self._host, self._engines, self._layouts)
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
        them. What has failed before, if only with the status that it had when it was stopped, was
        not to run.
        """
        known = self._state.known()
        for name, layout in self._layouts.items():
            if name not in known or known[name].current.digest == layout.digest:
                continue
            installed = (self._host.images / name / "image.json").stat().st_ctime
            for service in layout.services:
                state = systemd.show(self._host, service).active
                failing = state == "activating" or (
                    state == "failed" and systemd.last_start(self._host, service) > installed
                )
                told = service in self._state.upgrades() or service in self._state.rollbacks()
                if failing and not told and not self._engines.of(layout).container(service):
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
        engine = self._engines.of(layout)
        if not layout.services or loading.is_present(self._host, engine, layout):
            return True
        upgrades = self._state.upgrades()
        pending = any(service in upgrades for service in layout.services)
        running = any(systemd.show(self._host, s).running for s in layout.services)
        loaded = any(one.image == layout.name for one in self._state.loaded().values())
        if not running and not pending and not (loaded and engine.answers()):
            return True
        try:
            if layout.units == "quadlet":
                loading.verify(self._host, engine, layout)
                return self._start_image(layout)
            loading.load(self._host, engine, layout)
        except HostProblem as problem:
            self._fail(f"{problem}; what runs goes on with the image before")
            return False
        return True

    def _start_image(self, layout: Layout) -> bool:
        """Have the image's own unit load it."""
        unit = systemd.image_service(layout.name)
        done = systemd.start(self._host, unit)
        if done.status:
            self._fail(
                f"the image {layout.name} of package {layout.package} could not be loaded, what "
                f"runs goes on with the image before: {systemd.why(done)}; 'journalctl -u {unit}' "
                f"says more",
                unit=systemd.unit_name(unit),
            )
            return False
        if not loading.is_present(self._host, self._engines.podman, layout):
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
        engine, loaded = self._engines.of(layout), self._state.loaded()
        unit = systemd.show(self._host, service)
        pending = self._state.upgrades().get(service)
        container = engine.container(service)
        current = container is not None and runs(container, layout, loaded)
        if container and container.running and current and unit.active == "active":
            self._state.end_upgrade(service)
            return
        if layout.runs.rpartition("sha256")[2][1:] not in systemd.command_of(self._host, service):
            self._state.end_upgrade(service)  # the administrator chose another image
            return
        if unit.running and container and not current:
            old = digest_of(container, loaded)
            change = pending or Change(
                service=service,
                image=layout.name,
                repository=layout.repository,
                old=old,
                new=layout.digest,
            )
            self._state.begin_upgrade(change._replace(new=layout.digest))
            if change.old == old:
                engine.tag(container.image_id, kept_name(change.repository, change.old))
            # What a load has written the new container would have to wait for.
            self._host.run(["sync", "--file-system", engine.storage()[0]])
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
            self._roll_back(layout, change._replace(new=layout.digest), systemd.why(done))

    def _is_installed(self, layout: Layout) -> bool:
        """Whether no transaction has come between; if one has, its own run will follow."""
        rpmdb.wait_for_transaction(self._host)
        return load_layouts(self._host)[0].get(layout.name) == layout

    def _roll_back(self, layout: Layout, change: Change, why: str) -> None:
        service = change.service
        unit = systemd.unit_name(service)
        before = self._before(layout, change)
        if not self._settings.roll_back or not before or change.old == change.new:
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

    def _before(self, layout: Layout, change: Change) -> str:
        """What the image before is called, if the engine still has it; else empty."""
        engine = self._engines.of(layout)
        names = engine.references(change.repository, change.old) if change.old else ()
        return next((name for name in names if engine.inspect(name)), "")

    def _hold(self, service: str) -> None:
        """Have a service that was rolled back run the image it had."""
        change = self._state.rollbacks()[service]
        layout = self._layouts[change.image]
        before = self._before(layout, change)
        try:
            if not before:
                raise HostProblem(f"the image before of {service} is gone: {change.old[:19]}")
            if layout.units == "quadlet":
                podman = self._engines.podman.version()
                written = holdback.write_quadlet(self._host, change, before, podman)
            else:
                written = holdback.write_plain(self._host, change, before)
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
