"""Has podman's generator and systemd read the units, where those programs are installed."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from containerpkg import process
from containerpkg.errors import Problem, ToolError
from containerpkg.process import CommandFailed, Run
from containerpkg.units.quadlet import QUADLET, SYSTEM, Podman, UnitFile

GENERATORS = (Path("/usr/libexec/podman/quadlet"), Path("/usr/lib/podman/quadlet"))
"""Where distributions put podman's generator, which is in no one's PATH."""

_MESSAGE = re.compile(r"quadlet-generator\[\d+\]: (.*)")
_UNIT = re.compile(r"---(.+)---")
_ABSENT = re.compile(r": Command \S+ is not executable: No such file or directory$")
_VERSION = re.compile(r"(\d+)\.(\d+)\.")


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What was found wrong, and what this machine could not look at."""

    problems: tuple[Problem, ...] = ()
    unchecked: str = ""
    """Why there may be more, as a sentence; empty if all was looked at."""


def check_units(
    files: Iterable[UnitFile],
    *,
    podman: Podman,
    generators: Sequence[Path] = GENERATORS,
    run: Run = process.run,
) -> Checked:
    """Read ``files`` as a host would: Quadlet makes units of them, systemd-analyze verifies those.

    Quadlet's files are for ``podman`` and newer ones, so an older one is not asked. The paths of
    the problems are the host's. Raises nothing for a unit that is wrong.
    """
    with tempfile.TemporaryDirectory(prefix="containerpkg-units-") as name:
        quadlet, system = Path(name, "quadlet"), Path(name, "system")
        quadlet.mkdir()
        system.mkdir()
        for file in files:
            path = Path(file.path)
            for place, folder in ((QUADLET, quadlet), (SYSTEM, system)):
                if path.is_relative_to(place):
                    target = folder / path.relative_to(place)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_text(file.text)
        # A drop-in alone says nothing to Quadlet, and the unit is another deployment's.
        for dropins in quadlet.glob("*.image.d"):
            dropins.with_suffix("").write_text("[Image]\nImage=registry.invalid/image:1\n")
        generated = any(quadlet.iterdir())
        if generated:
            checked = _generate(quadlet, system, podman, generators, run)
            if checked != Checked():
                return checked
        return _verify(system, QUADLET if generated else SYSTEM, run)


def _generate(
    quadlet: Path, system: Path, podman: Podman, generators: Sequence[Path], run: Run
) -> Checked:
    """Have Quadlet write the units of its files in ``quadlet`` to ``system``."""
    generator = next((path for path in generators if path.exists()), None)
    if generator is None:
        return Checked(unchecked="units were not checked: there is no podman with Quadlet here")
    lines, _ = _lines(run, [str(generator), "-version"], env={})
    version = next(filter(None, map(_VERSION.match, lines)), None)
    if version is None or (int(version[1]), int(version[2])) < podman:
        found = version.string if version else "of an unknown version"
        wanted = f"{podman[0]}.{podman[1]}"
        return Checked(
            unchecked=f"units were not checked: podman {found} here is older than {wanted}, "
            "which they are for"
        )
    lines, ended_well = _lines(
        run, [str(generator), "-dryrun"], env={"QUADLET_UNIT_DIRS": str(quadlet)}
    )
    units, problems = _parse_dryrun(lines)
    if problems or not ended_well:
        return Checked(problems=tuple(problems or [_problem(QUADLET, "\n".join(lines))]))
    for unit, text in units.items():
        (system / unit).write_text(text)
    return Checked()


def _verify(system: Path, place: str, run: Run) -> Checked:
    """Have systemd read the units in ``system``, which come from ``place`` on a host."""
    units = sorted(str(path) for path in system.iterdir() if path.is_file())
    try:
        lines, ended_well = _lines(
            run,
            ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *units],
            env={"SYSTEMD_LOG_LEVEL": "warning"},
        )
    except ToolError:
        return Checked(
            unchecked="units were not checked by systemd: there is no systemd-analyze here"
        )
    # Engines and containerpkg-runtime need not be on the machine that makes packages.
    absent = [line for line in lines if _ABSENT.search(line)]
    own = [
        line.replace(f"{system}/", "")
        for line in lines
        if line not in absent
        and (str(system) in line or line.startswith(tuple(f"{Path(u).name}: " for u in units)))
    ]
    if not ended_well and not own and not absent:
        own = lines
    return Checked(problems=tuple(_problem(place, line) for line in own))


def _lines(run: Run, argv: Sequence[str], *, env: dict[str, str]) -> tuple[list[str], bool]:
    """What a program prints on both streams, and whether its status is 0."""
    lines: list[str] = []
    try:
        run(argv, env=env, on_line=lines.append)
    except CommandFailed:
        return lines, False
    return lines, True


def _parse_dryrun(lines: Iterable[str]) -> tuple[dict[str, str], list[Problem]]:
    """Units by name, and complaints, of ``quadlet -dryrun``, which prints both."""
    units: dict[str, list[str]] = {}
    problems: list[Problem] = []
    current: list[str] = []
    for line in lines:
        if message := _MESSAGE.fullmatch(line):
            if not message[1].startswith(("Loading source", "Generating", "Using")):
                problems.append(_problem(QUADLET, message[1]))
        elif unit := _UNIT.fullmatch(line):
            current = units.setdefault(unit[1], [])
        else:
            current.append(line)
    return {name: "\n".join(text) + "\n" for name, text in units.items()}, problems


def _problem(path: str, message: str) -> Problem:
    return Problem(path=Path(path), message=message)
