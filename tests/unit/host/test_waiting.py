"""When a service in docker counts as started."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from containerpkg_host.docker import Docker
from containerpkg_host.door import Done
from containerpkg_host.errors import EngineFailed
from containerpkg_host.host import Host
from containerpkg_host.waiting import wait_healthy

ALIVE, GONE = str(os.getpid()), str(1 << 22 | 1)  # above the highest that Linux gives
ENDED = "web ended before it was healthy"
UNHEALTHY = (
    "web runs but is not healthy: its health check fails; 'journalctl -u web' has what it printed"
)
SHELL = ["CMD-SHELL", "redis-cli ping | grep PONG"]
ASKED = "docker exec web /bin/sh -c redis-cli ping | grep PONG"


@pytest.mark.parametrize(
    ("main", "seen", "check", "exec_", "pauses", "error"),
    [
        pytest.param(ALIVE, ["healthy"], None, [], 0, "", id="healthy"),
        pytest.param(ALIVE, ["starting", "starting", "healthy"], None, [], 2, "", id="later"),
        pytest.param(ALIVE, ["-"], None, [], 0, "", id="no check"),
        pytest.param(ALIVE, ["none"], ["NONE"], [], 0, "", id="check switched off"),
        pytest.param("", [None, "created", "-"], None, [], 2, "", id="not there yet"),
        pytest.param(ALIVE, [None, None, "healthy"], None, [], 2, "", id="docker is slow"),
        pytest.param(ALIVE, ["starting"], SHELL, [0], 0, "", id="asked before docker asks"),
        pytest.param(
            ALIVE, ["starting", "starting"], SHELL, [1, 0], 1, "", id="asked twice before docker"
        ),
        pytest.param(ALIVE, ["starting", "unhealthy"], None, [], 1, UNHEALTHY, id="unhealthy"),
        pytest.param(ALIVE, ["unhealthy"], SHELL, [1], 0, UNHEALTHY, id="unhealthy, and fails"),
        pytest.param(ALIVE, ["starting", "created"], None, [], 1, ENDED, id="ended"),
        pytest.param(ALIVE, ["starting", None], None, [], 1, ENDED, id="ended and removed"),
        pytest.param(GONE, [None], None, [], 0, ENDED, id="ended before it was seen"),
        pytest.param(GONE, ["created"], None, [], 0, ENDED, id="never began"),
        pytest.param(GONE, ["healthy"], None, [], 0, "", id="healthy without a client"),
    ],
)
def test_waiting(
    tmp_path: Path,
    main: str,
    seen: list[str | None],
    check: list[str] | None,
    exec_: list[int],
    pauses: int,
    error: str,
) -> None:
    states, statuses = iter(seen), iter(exec_)

    def run(argv: Sequence[str]) -> Done:
        if argv[1] == "exec":
            assert " ".join(argv) == ASKED
            return Done(next(statuses))
        assert argv == ["docker", "container", "inspect", "web"]
        status = next(states)
        if status is None:
            return Done(1, "[]\n", "Error: No such container: web\n")
        state: dict[str, object] = {"Running": status != "created"}
        if status not in ("-", "created"):
            state["Health"] = {"Status": status}
        healthcheck = {"Test": check} if check else None
        return Done(0, json.dumps([{"State": state, "Config": {"Healthcheck": healthcheck}}]))

    paused: list[float] = []
    docker = Docker(Host(tmp_path, run=run))
    if error:
        with pytest.raises(EngineFailed) as caught:
            wait_healthy(docker, "web", main, pause=paused.append)
        assert str(caught.value) == error
    else:
        wait_healthy(docker, "web", main, pause=paused.append)
    assert (len(paused), list(states), list(statuses)) == (pauses, [], [])
