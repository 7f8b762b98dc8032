"""The preflight: does each unit find its image on this host, and does it run that one?"""

import json
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Tuple

from containerpkg_host import blobs, loading, rpmdb, systemd
from containerpkg_host.engine import Container, Engine, LocalImage
from containerpkg_host.engines import Engines
from containerpkg_host.host import Host
from containerpkg_host.layout import Layout, load_layouts
from containerpkg_host.plain import PlainUnit, load_plain
from containerpkg_host.quadlet import Quadlet, load_quadlets
from containerpkg_host.running import digest_of
from containerpkg_host.space import SpaceFinding, find_space, needs
from containerpkg_host.state import Change, Loaded, State

_LOCAL = (
    "oci:",
    "oci-archive:",
    "docker-archive:",
    "dir:",
    "containers-storage:",
    "docker-daemon:",
)


class UnitFinding(NamedTuple):
    """What was found out of one unit."""

    unit: str
    """Its file."""

    dropins: Tuple[str, ...]
    package: str
    """Whose file it is; empty for one of the administrator's own."""

    image: str
    """The reference, as the unit and its drop-ins have it."""

    digest: str
    """Of the manifest that the reference has on this host; empty if it has none."""

    source: str
    """``engine``, ``package``, both with a plus, or empty."""

    image_package: str
    """The package that the content comes from."""

    running: str
    """The manifest digest of the running container; empty if none runs."""

    registry: str
    """Why a registry would be asked; empty if none would."""

    problems: Tuple[str, ...]


class Report(NamedTuple):
    """Everything that was found."""

    units: Tuple[UnitFinding, ...]
    space: Tuple[SpaceFinding, ...]
    rollbacks: Tuple[Change, ...]
    problems: Tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing has to be looked at."""
        return not (
            self.problems
            or self.rollbacks
            or any(unit.problems or unit.registry for unit in self.units)
            or any(not space.enough for space in self.space)
        )


def check(host: Host, engines: Engines) -> Report:
    """Look at every unit that runs a container, whoever wrote it.

    Nothing is changed and no network used.
    """
    layouts, problems = load_layouts(host)
    said = [str(problem) for problem in problems]
    images = load_quadlets(host, "image")
    by_name = {f"{unit.name}.image": unit for unit in images}
    findings = [_image_unit(host, engines.podman, layouts, unit) for unit in images]
    findings += [
        _container_unit(host, engines.podman, layouts, by_name, unit)
        for unit in load_quadlets(host, "container")
    ]
    findings += [_plain_unit(host, engines, layouts, unit) for unit in load_plain(host)]
    for engine in sorted({engines.of(layout) for layout in layouts.values()}, key=_name):
        if not engine.answers():
            how = f"'systemctl start {engine.unit}'" if engine.unit else "is it installed?"
            said.append(f"{engine.name} does not answer: {how}")
    missing = []
    for layout in layouts.values():
        if not loading.is_present(host, engines.of(layout), layout):
            missing.append(layout)
            damage = blobs.find_damage(host, layout)
            if damage:
                said.append(blobs.describe(layout, damage))
    rollbacks = tuple(change for _, change in sorted(State(host).rollbacks().items()))
    return Report(tuple(findings), _space(host, engines, missing), rollbacks, tuple(said))


def _name(engine: Engine) -> str:
    return engine.name


def _image_unit(
    host: Host, engine: Engine, layouts: Dict[str, Layout], unit: Quadlet
) -> UnitFinding:
    reference = unit.last("Image")
    layout = _layout_of(layouts, reference)
    problems, registry = [], ""
    local = None
    if layout:
        local = engine.inspect(layout.runs)
    elif reference.startswith(_LOCAL):
        transport, _, rest = reference.partition(":")
        path = rest.partition(":")[0]
        is_file = transport != "containers-storage" and path.startswith("/")
        if is_file and not (host.root / path.lstrip("/")).exists():
            problems.append(f"{path} is not there: its start fails")
    else:
        local = engine.inspect(reference)
        policy = unit.last("Policy") or "always"
        if policy != "never" and not (policy == "missing" and local):
            registry = f"podman pulls {reference} at each start (Policy={policy})"
    if not reference:
        problems.append("it has no Image=")
    return UnitFinding(
        unit=_shown(host, unit.path),
        dropins=tuple(_shown(host, path) for path in unit.dropins),
        package=rpmdb.owner(host, unit.path),
        image=reference,
        digest=layout.digest if layout else local.digest if local else "",
        source="+".join((["engine"] if local else []) + (["package"] if layout else [])),
        image_package=_package(host, layout),
        running="",
        registry=registry,
        problems=tuple(problems),
    )


def _container_unit(
    host: Host,
    engine: Engine,
    layouts: Dict[str, Layout],
    images: Dict[str, Quadlet],
    unit: Quadlet,
) -> UnitFinding:
    reference, problems, registry = unit.last("Image"), [], ""
    source = images.get(reference)
    wanted = reference
    layout: Optional[Layout] = None
    if source:
        wanted = source.last("ImageTag") or source.last("Image")
        layout = _layout_of(layouts, source.last("Image"))
    layout = layout or _layout_of(layouts, wanted)
    local = engine.inspect(wanted) if wanted and not wanted.startswith(_LOCAL) else None
    layout = layout or _tagged_for(layouts, wanted, local)
    pull = unit.last("Pull") or "missing"
    if not reference:
        problems.append("it has neither Image= nor a unit to take it from")
    elif reference.endswith(".image") and not source:
        problems.append(f"there is no unit {reference}")
    elif reference.endswith(".build"):
        registry = f"{reference} builds the image on this host, and may ask for its base"
    elif pull in ("always", "newer"):
        registry = f"podman asks for {wanted} at each start (Pull={pull})"
    elif not local and not layout:
        if pull == "never" or source:
            problems.append(f"the image {wanted} is not on this host: its start fails")
        else:
            registry = f"podman pulls {wanted}, which is not on this host"
    service = unit.last("ServiceName") or unit.name
    if "@" not in service and systemd.show(host, service).load == "not-found":
        problems.append(
            f"systemd has no {systemd.unit_name(service)}: either 'systemctl daemon-reload' is "
            f"missing, or the unit or a drop-in has a mistake, which "
            f"'/usr/libexec/podman/quadlet -dryrun' tells in its last lines"
        )
    if unit.last("AutoUpdate") == "registry":
        registry = registry or "podman auto-update asks for a newer image (AutoUpdate=registry)"
    loaded = State(host).loaded()
    digest = _digest_here(layout, local, loaded)
    pinned = wanted.partition("@")[2]
    container = engine.container(unit.name)
    running = digest_of(container, loaded) if container and container.running else ""
    if running and (pinned or digest) and running != (pinned or digest):
        problems.append(_differs(running, pinned or digest, unit.name))
    return UnitFinding(
        unit=_shown(host, unit.path),
        dropins=tuple(_shown(host, path) for path in unit.dropins),
        package=rpmdb.owner(host, unit.path),
        image=reference,
        digest=pinned or digest,
        source="+".join((["engine"] if local else []) + (["package"] if layout else [])),
        image_package=_package(host, layout),
        running=running,
        registry=registry,
        problems=tuple(problems),
    )


def _plain_unit(
    host: Host, engines: Engines, layouts: Dict[str, Layout], unit: PlainUnit
) -> UnitFinding:
    engine, problems, registry = engines.named(unit.engine), [], ""
    layout = _layout_of(layouts, unit.image)
    local = engine.inspect(unit.image) if unit.image else None
    if not unit.image:
        problems.append("its command names no image")
    elif unit.pull in ("always", "newer"):
        registry = f"{engine.name} asks for {unit.image} at each start (--pull={unit.pull})"
    elif not local and not layout:
        if unit.pull == "never":
            problems.append(f"the image {unit.image} is not on this host: its start fails")
        else:
            registry = f"{engine.name} pulls {unit.image}, which is not on this host"
    loaded = State(host).loaded()
    container = engine.container(unit.name)
    running = digest_of(container, loaded) if container and container.running else ""
    digest = _digest_here(layout, local, loaded)
    if running and digest and running != digest:
        problems.append(_differs(running, digest, unit.name))
    return UnitFinding(
        unit=_shown(host, unit.path),
        dropins=tuple(_shown(host, path) for path in unit.dropins),
        package=rpmdb.owner(host, unit.path),
        image=unit.image,
        digest=digest,
        source="+".join((["engine"] if local else []) + (["package"] if layout else [])),
        image_package=_package(host, layout),
        running=running,
        registry=registry,
        problems=tuple(problems),
    )


def _digest_here(
    layout: Optional[Layout], local: Optional[LocalImage], loaded: Dict[str, Loaded]
) -> str:
    """The digest of what a unit runs, by the same rule as that of a container."""
    if layout:
        return layout.digest
    if local is None:
        return ""
    return digest_of(Container("", local.digest, local.id, running=False), loaded)


def _differs(running: str, wanted: str, service: str) -> str:
    return (
        f"the running container is {running[:19]} and not {wanted[:19]}: "
        f"'systemctl restart {service}' replaces it"
    )


def _tagged_for(
    layouts: Dict[str, Layout], reference: str, local: Optional[LocalImage]
) -> Optional[Layout]:
    """The installed image that has a neighbour's tag; another may have taken it since."""
    for layout in layouts.values():
        if local and reference in layout.neighbours and local.id == layout.id:
            return layout
    return None


def _layout_of(layouts: Dict[str, Layout], reference: str) -> Optional[Layout]:
    """The installed image that a reference of a unit is sure to mean."""
    for name, layout in layouts.items():
        home = f"/usr/share/containerpkg/images/{name}"
        if reference == f"oci:{home}" or reference.startswith(f"oci:{home}:"):
            return layout
        if layout.archive and reference == f"docker-archive:{home}/{layout.archive}":
            return layout
        if reference in (layout.runs, layout.pinned, layout.kept) or reference.endswith(
            f"@{layout.digest}"
        ):
            return layout
    return None


def _package(host: Host, layout: Optional[Layout]) -> str:
    if layout is None:
        return ""
    return rpmdb.owner(host, host.images / layout.name / "image.json") or layout.package


def _space(host: Host, engines: Engines, missing: List[Layout]) -> Tuple[SpaceFinding, ...]:
    folders: Dict[str, int] = {}
    for engine in (engines.podman, engines.docker):
        layouts = [layout for layout in missing if engines.of(layout) is engine]
        for folder, size in needs(engine, layouts).items():
            folders[folder] = folders.get(folder, 0) + size
    return find_space(host, folders)


def _shown(host: Host, path: Path) -> str:
    return f"/{path.relative_to(host.root)}"


def render_json(report: Report) -> str:
    """The report for a monitoring program; its keys stay as they are."""
    data = {
        "ok": report.ok,
        "units": [dict(unit._asdict()) for unit in report.units],
        "space": [dict(s._asdict(), enough=s.enough) for s in report.space],
        "rollbacks": [dict(change._asdict()) for change in report.rollbacks],
        "problems": list(report.problems),
    }
    return json.dumps(data, indent=2)


def render_text(report: Report) -> str:
    """The report for a person: a line for each unit, and what is wrong below it."""
    lines = []
    for unit in report.units:
        bad = unit.problems or unit.registry
        where = unit.image_package or unit.source or "nowhere on this host"
        state = ", running" if unit.running else ""
        lines.append(f"{'BAD' if bad else 'ok '} {unit.unit}: {unit.image} from {where}{state}")
        lines += [f"      {problem}" for problem in unit.problems]
        if unit.registry:
            lines.append(f"      would reach for a registry: {unit.registry}")
    for change in report.rollbacks:
        lines.append(
            f"BAD {change.service}.service: runs {change.old[:19]}, its package has "
            f"{change.new[:19]}, which did not start"
        )
        lines.append(f"      'containerpkg-host retry {change.service}' tries it again")
    for space in report.space:
        lines.append(
            f"{'ok ' if space.enough else 'BAD'} {space.folder}: {space.needed >> 20} MiB needed "
            f"at most for images to load, {space.free >> 20} MiB free"
        )
    lines += [f"BAD {problem}" for problem in report.problems]
    lines.append("everything is in place" if report.ok else "something has to be looked at")
    return "\n".join(lines)
