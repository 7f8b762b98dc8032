"""Enables and disables units as the host's presets say, see systemd.preset(5).

Quadlet's services are generated, and have no such state; timers and plain units do.
"""

from typing import Dict, Iterable, List

from containerpkg_host import journal, systemd
from containerpkg_host.door import Done
from containerpkg_host.host import Host
from containerpkg_host.layout import Layout
from containerpkg_host.state import Presets, State


def units_of(host: Host, services: Iterable[str]) -> List[str]:
    """The units of ``services`` that can be enabled; one with a timer is started by that."""
    found = []
    for service in services:
        for unit in (f"{service}.timer", f"{service}.service"):
            if (host.units[-1] / unit).exists():
                found.append(unit)
                break
    return found


def apply(host: Host, layouts: Dict[str, Layout]) -> None:
    """Do it for units that were just installed, once: from then on it is the administrator's."""
    state = State(host)
    noted = state.presets()
    for name, layout in layouts.items():
        units = tuple(units_of(host, layout.services))
        before = noted.get(name, Presets(()))
        new = [unit for unit in units if unit not in before.units]
        if before.enabled:  # of two versions of a package one was removed
            _report(systemd.enable(host, *before.enabled))
        if new:
            _report(systemd.preset(host, *new))
        if before != Presets(units):
            state.note_presets(name, Presets(units))
    for name in set(noted) - set(layouts):
        if (host.images / name / "image.json").exists():
            continue  # there, but it cannot be read
        left = [unit for unit in noted[name].units if unit not in noted[name].enabled]
        if left:  # of a package that was removed where systemd does not run, for one
            systemd.disable(host, *left)
        state.forget_presets(name)


def _report(done: Done) -> None:
    if done.status:
        journal.warning(f"a unit could not be enabled: {done.why}")
