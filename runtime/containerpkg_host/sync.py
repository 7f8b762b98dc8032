"""After a transaction: makes what runs, and what the engine keeps, what the packages say.

Each step looks at how things are and does what is missing, so that a run that was killed is
finished by the next, and a run that finds everything done does nothing.
"""

from typing import List, Optional, Set

from containerpkg_host import blobs, holdback, journal, loading, presets, rpmdb, systemd
from containerpkg_host.engines import Engines
from containerpkg_host.errors import HostProblem
from containerpkg_host.host import Host, remove
from containerpkg_host.layout import Layout, find_layouts, kept_name, load_layouts
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
        # Before they are read: what a transaction puts there meanwhile is not what this run saw.
        self._files = {path.parent.name: file_fingerprint(path) for path in find_layouts(host)}
        self._layouts, self._problems = load_layouts(host)
        self._taken_along: Set[str] = set()
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
            self._update_all(ready)
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
        held = self._state.rollbacks()
        for layout in self._layouts.values():
            for service in set(layout.services) - set(held):
                # Nobody knows for which image any more.
                lifted = holdback.lift(self._host, service) or lifted
        if lifted:
            systemd.daemon_reload(self._host)

    def _note_versions(self) -> None:
        known = self._state.known()
        for name, layout in self._layouts.items():
            current, before = version_of(layout), known.get(name)
            previous = before.previous if before else None
            if before and before.current.digest != current.digest:
                previous = before.current
            noted = Known(current, previous, self._files.get(name, ""))
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
        for layout in self._layouts.values():
            before = self._digest_before(layout)
            for service in layout.services if before else ():
                unit = systemd.show(self._host, service)
                failing = unit.active in ("failed", "activating") and self._knows(layout, unit)
                told = service in self._state.upgrades() or service in self._state.rollbacks()
                if unit.oneshot and (unit.active == "activating" or not unit.remains):
                    continue  # it is at work, or its timer starts it
                if failing and not told and not self._engines.of(layout).container(service):
                    self._begin(layout, service, before)

    def _digest_before(self, layout: Layout) -> str:
        """Of the version that the last run saw, if it was another one; else empty."""
        known = self._state.known().get(layout.name)
        return known.current.digest if known and known.current.digest != layout.digest else ""

    def _knows(self, layout: Layout, unit: systemd.Unit) -> bool:
        """Whether a unit was started since the image is installed.

        Else it is not by this image that it failed, or somebody stopped it: what does not end at
        SIGTERM has failed for systemd.
        """
        path = self._host.images / layout.name / "image.json"
        try:
            return unit.started > path.stat().st_ctime
        except FileNotFoundError:
            return False

    def _begin(self, layout: Layout, service: str, old: str) -> None:
        change = Change(
            service=service,
            image=layout.name,
            repository=layout.repository,
            old=old,
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

    def _update_all(self, layouts: List[Layout]) -> None:
        """Have every service run the installed image if it runs another one."""
        every = [(layout, service) for layout in layouts for service in layout.services]
        # systemd restarts what requires a service along with it: by then it has to be noted.
        once = {service for layout, service in every if self._note_running(layout, service)}
        every.sort(key=lambda one: one[1] not in once)  # a migration is before what needs it
        noted = self._state.upgrades()
        for layout, service in every:
            if not self._go_back_along(layout, noted.get(service)):
                self._update(layout, service)
        for layout, service in every:  # what had its turn before one of its image failed
            self._go_back_along(layout, noted.get(service))
        for unit in sorted(self._taken_along):
            # If it is starting, this waits for the end of that.
            done = systemd.start_unit(self._host, unit)
            if done.status:
                self._fail(f"{unit} does not start again: {systemd.why(done)}", unit=unit)

    def _go_back_along(self, layout: Layout, change: Optional[Change]) -> bool:
        """Roll a service back if another of its image was: all of them run one version.

        Whether it was. What runs until it is done is not run again with the image before.
        """
        held = self._state.rollbacks()
        if change is None or change.service in held or change.old in ("", layout.digest):
            return False
        failed = [s for s in layout.services if s in held and held[s].new == layout.digest]
        if not failed or systemd.show(self._host, change.service).oneshot:
            return False
        change = change._replace(new=layout.digest)
        if not self._before(layout, change):
            return False
        self._state.begin_upgrade(change)  # it may have ended, with the image that is not wanted
        self._state.add_rollback(change)
        unit = systemd.unit_name(change.service)
        why = f"{change.service} goes back to {change.old[:19]} along with {failed[0]}"
        journal.error(why, unit=unit, message_id=journal.ROLLED_BACK)
        self._taken_along.update([unit, *systemd.running_dependents(self._host, change.service)])
        self._hold(change.service)
        return True

    def _note_running(self, layout: Layout, service: str) -> bool:
        """Note what a service runs if it is another image; whether it is a oneshot to run anew."""
        if service in self._state.rollbacks():
            return False
        unit = systemd.show(self._host, service)
        pending = self._state.upgrades().get(service)
        if unit.oneshot:
            old = self._digest_before(layout)
            done = unit.active == "active" and old and not self._knows(layout, unit)
            if done and not pending and self._is_chosen(layout, service):
                self._begin(layout, service, old)
            return bool(done or pending)
        engine, loaded = self._engines.of(layout), self._state.loaded()
        container = engine.container(service)
        if not unit.running or not container or runs(container, layout, loaded):
            return False
        if self._is_chosen(layout, service):
            old = digest_of(container, loaded)
            if pending is None:
                self._begin(layout, service, old)
            elif pending.new != layout.digest:
                self._state.begin_upgrade(pending._replace(new=layout.digest))
            repository = pending.repository if pending else layout.repository
            if pending is None or pending.old == old:
                engine.tag(container.image_id, kept_name(repository, old))
        return False

    def _is_chosen(self, layout: Layout, service: str) -> bool:
        """Whether the unit runs the installed image, and not one of the administrator's."""
        digest = layout.runs.rpartition("sha256")[2][1:]
        return digest in systemd.command_of(self._host, service)

    def _update(self, layout: Layout, service: str) -> None:
        if service in self._state.rollbacks():
            self._hold(service)
            return
        pending = self._state.upgrades().get(service)
        if pending is None:
            return
        engine, loaded = self._engines.of(layout), self._state.loaded()
        unit = systemd.show(self._host, service)
        container = engine.container(service)
        current = container is not None and runs(container, layout, loaded)
        if unit.active == "active" and (
            self._knows(layout, unit)
            if unit.oneshot
            else container and container.running and current
        ):
            self._state.end_upgrade(service)
            return
        if not self._is_chosen(layout, service):
            self._state.end_upgrade(service)
            return
        change = pending._replace(new=layout.digest)
        along: List[str] = []
        if unit.active == "active" if unit.oneshot else unit.running and container and not current:
            along = systemd.running_dependents(self._host, service)
            done = systemd.restart(self._host, service)
        else:
            done = systemd.start(self._host, service)
        if done.status:
            self._taken_along.update(along)
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
                written = holdback.write_quadlet(
                    self._host, change, before, layout.reference, podman
                )
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
        packages = [name for name in rpmdb.unneeded_layers(self._host) if name not in kept]
        if packages and rpmdb.erase(self._host, packages).status == 0:
            for package in packages:
                journal.info(f"package {package} is removed: no installed package requires it")
