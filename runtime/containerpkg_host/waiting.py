"""Waits until a service in docker is healthy, which docker does not tell systemd."""

import os
import time
from typing import Callable

from containerpkg_host.docker import Docker
from containerpkg_host.errors import EngineFailed

_PAUSE = 0.5


def wait_healthy(
    docker: Docker, service: str, main: str, *, pause: Callable[[float], None] = time.sleep
) -> None:
    """Return when the container of ``service`` is healthy, or has no health check.

    Docker first asks after two seconds, and before 25 after a whole interval; so it is asked here.
    ``main`` is the number of the process that systemd has started for it, or empty. How long to
    wait is up to systemd. Raises :class:`EngineFailed` if the container ends or is unhealthy.
    """
    seen = False
    while True:
        alive = _is_alive(main)
        health = docker.health(service)
        if health.running and health.status in ("healthy", "", "none"):
            return
        if health.running and health.check and docker.passes(service, health.check):
            return
        if health.status == "unhealthy":
            raise EngineFailed(
                f"{service} runs but is not healthy: its health check fails; "
                f"'journalctl -u {service}' has what it printed"
            )
        if not health.running and (seen or (main and not alive)):
            raise EngineFailed(f"{service} ended before it was healthy")
        seen = seen or health.running
        pause(_PAUSE)


def _is_alive(main: str) -> bool:
    if not main.isdigit():
        return False
    try:
        os.kill(int(main), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
