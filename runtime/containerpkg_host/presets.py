"""Enables and disables units as the host's presets say, see systemd.preset(5).

Quadlet's services are generated, and have no such state; timers and plain units do.
"""

from typing import Dict, Iterable, List

from containerpkg_host import journal, systemd
from containerpkg_host.door import Done
from containerpkg_host.host import Host
from containerpkg_host.layout import Layout
from containerpkg_host.state import State


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
    """Do it for what was just installed, once: from then on it is up to the administrator."""
    state = State(host)
    done = state.presets()
    for name, layout in layouts.items():
        if done.get(name) == ():
            continue
        units = units_of(host, layout.services)
        if name in done:  # of two versions of a package one was removed
            _report(systemd.enable(host, *done[name]))
        elif units:
            _report(systemd.preset(host, *units))
        state.note_presets(name)
    for name in set(done) - set(layouts):
        if not (host.images / name / "image.json").exists():
            state.forget_presets(name)


def _report(done: Done) -> None:
    if done.status:
        journal.warning(f"a unit could not be enabled: {done.why}")
