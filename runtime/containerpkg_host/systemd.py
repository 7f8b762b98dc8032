"""systemctl, one function for each use of it."""

import time
from typing import Dict, List, NamedTuple, Sequence

from containerpkg_host.door import Done
from containerpkg_host.host import Host

_RUNNING = ("active", "reloading", "activating")
_STARTED = "InactiveExitTimestampMonotonic"
_TAKE_ALONG = ("RequiredBy", "RequisiteOf", "BoundBy", "ConsistsOf")


class Unit(NamedTuple):
    """The state of a unit as systemd names it."""

    load: str
    active: str
    sub: str
    oneshot: bool = False
    """Whether it runs until it is done."""

    remains: bool = False
    """Whether it counts as active when it is done."""

    started: float = 0.0
    """When it was started, as time.time() has it; 0 if it was not since the host was."""

    @property
    def running(self) -> bool:
        """Whether it runs or is about to."""
        return self.active in _RUNNING


def unit_name(service: str) -> str:
    """The full name of a service's unit."""
    return f"{service}.service"


def show(host: Host, service: str) -> Unit:
    """The state of a service."""
    names = ("LoadState", "ActiveState", "SubState", "Type", "RemainAfterExit", _STARTED)
    found = _properties(host, unit_name(service), names)
    started = int(found.get(_STARTED) or 0) / 1e6
    return Unit(
        load=found.get("LoadState", ""),
        active=found.get("ActiveState", ""),
        sub=found.get("SubState", ""),
        oneshot=found.get("Type") == "oneshot",
        remains=found.get("RemainAfterExit") == "yes",
        started=time.time() - time.clock_gettime(time.CLOCK_MONOTONIC) + started if started else 0,
    )


def running_dependents(host: Host, service: str) -> List[str]:
    """The full names of running units that systemd stops and restarts along with a service."""
    found: List[str] = []
    unseen = [unit_name(service)]
    while unseen:
        lists = _properties(host, unseen.pop(), _TAKE_ALONG)
        for unit in sorted(set(" ".join(lists.values()).split()) - {*found, unit_name(service)}):
            if is_running(host, unit):
                found.append(unit)
                unseen.append(unit)
    return found


def is_running(host: Host, unit: str) -> bool:
    """Whether a unit of any kind, by its full name, is up or about to be."""
    return _properties(host, unit, ("ActiveState",)).get("ActiveState") in _RUNNING


def _properties(host: Host, unit: str, names: Sequence[str]) -> Dict[str, str]:
    done = host.run(["systemctl", "show", f"--property={','.join(names)}", unit])
    return dict(line.partition("=")[::2] for line in done.out.splitlines())


def start(host: Host, service: str) -> Done:
    """Start a service, or wait for a start that is under way."""
    return start_unit(host, unit_name(service))


def start_unit(host: Host, unit: str) -> Done:
    """The same for a unit of any kind, by its full name."""
    return host.run(["systemctl", "start", unit])


def restart(host: Host, service: str) -> Done:
    """Restart a service and wait until it is up."""
    return host.run(["systemctl", "restart", unit_name(service)])


def stop(host: Host, *services: str) -> Done:
    """Stop services and wait until they are down."""
    return stop_units(host, *map(unit_name, services))


def stop_units(host: Host, *units: str) -> Done:
    """The same for units of any kind, by their full names."""
    return host.run(["systemctl", "stop", *units])


def preset(host: Host, *units: str) -> Done:
    """Enable or disable units as the host's presets say; works without a running systemd."""
    return host.run(["systemctl", "--quiet", "preset", *units])


def is_enabled(host: Host, unit: str) -> bool:
    """Whether a unit, by its full name, is started at boot."""
    return host.run(["systemctl", "is-enabled", unit]).out.strip() == "enabled"


def enable(host: Host, *units: str) -> Done:
    """Put units into the boot."""
    return host.run(["systemctl", "--quiet", "enable", *units])


def disable(host: Host, *units: str) -> Done:
    """Take units out of the boot."""
    return host.run(["systemctl", "--quiet", "--no-reload", "disable", *units])


def reset_failed(host: Host, service: str) -> Done:
    """Let systemd forget how often it tried."""
    return host.run(["systemctl", "reset-failed", unit_name(service)])


def daemon_reload(host: Host) -> Done:
    """Have units read and made anew."""
    return host.run(["systemctl", "daemon-reload"])


def image_service(image: str) -> str:
    """The service that Quadlet makes of IMAGE.image."""
    return f"{image}-image"


def job_failed(done: Done) -> bool:
    """Whether a start came to its end and failed: not if it was canceled, or systemd went away."""
    return done.status != 0 and "job for" in done.err.lower() and "canceled" not in done.err


def stopping(host: Host) -> bool:
    """Whether the host goes down, or systemd does not answer any more."""
    return host.run(["systemctl", "is-system-running"]).out.strip() in ("stopping", "offline", "")


def why(done: Done) -> str:
    """What systemctl says of a job that failed, without its advice."""
    lines = done.err.strip().splitlines()
    return lines[0].rstrip(".") if lines else f"status {done.status}"


def command_of(host: Host, service: str) -> str:
    """The command line that starts a service, and its environment, as systemctl prints them."""
    properties = "--property=ExecStart,Environment"
    return host.run(["systemctl", "show", properties, unit_name(service)]).out
