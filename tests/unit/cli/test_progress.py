"""What people see of long work: a line per event, or a live view that leaves a clean terminal."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]

EVENTS = r"""
import sys
from containerpkg.cli.progress import shown
with shown(quiet="quiet" in sys.argv) as progress:
    progress.note("begin [/red] :smile:")
    progress.start("build redis", "never built")
    progress.update("build redis", "Step 1/2 : FROM scratch")
    progress.update("build redis", " ---> noise \x1b[31m")
    progress.update("build redis", "#5 [2/3] RUN " + "x" * 300)
    progress.update("build redis", "STEP 2/2: RUN true")
    progress.update("build redis", "[1/2] STEP 2/2: COMMIT")
    progress.update("build redis", "a STEP 2/2: of a program")
    progress.start("save [/x]:b:.tar", "", total=10)
    for _ in range(3):
        progress.advance("save [/x]:b:.tar", 4)
    progress.start("build squid", "never built")
    progress.finish("build redis", "done", "quay.io/x/redis:1 in 2.0 s")
    if "fail" in sys.argv:
        raise SystemExit("broken")
    progress.finish("save [/x]:b:.tar", "done", "12 B")
    progress.finish("build squid", "skipped", "not built, since redis was not")
    progress.start("build nginx", "[bold]")
    progress.finish("build nginx", "failed", "[/bold] no")
"""


def test_lines_where_there_is_no_terminal() -> None:
    done = run()
    lines = done.splitlines()
    assert all(re.match(r"\[ *\d+\.\d\] ", line) for line in lines)
    assert [line.partition("] ")[2] for line in lines] == [
        "begin [/red] :smile:",
        "build redis: never built",
        "build redis: Step 1/2 : FROM scratch",
        "build redis: #5 [2/3] RUN " + "x" * 87 + "…",
        "build redis: STEP 2/2: RUN true",
        "build redis: [1/2] STEP 2/2: COMMIT",
        "save [/x]:b:.tar",
        "build squid: never built",
        "build redis: ok: quay.io/x/redis:1 in 2.0 s",
        "save [/x]:b:.tar: ok: 12 B",
        "build squid: skipped: not built, since redis was not",
        "build nginx: [bold]",
        "build nginx: FAILED: [/bold] no",
    ]


def test_quiet_is_quiet() -> None:
    assert run("quiet") == ""


def run(*arguments: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", EVENTS, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
        text=True,
    ).stderr


def on_a_terminal(*arguments: str) -> str:
    """Everything that a terminal of 80 columns receives."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", EVENTS, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "80"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
    ):
        os.close(theirs)
        received = b""
        while True:
            try:
                part = os.read(ours, 1 << 16)
            except OSError:  # the other side is closed
                break
            received += part
    os.close(ours)
    return received.decode()


def screen(received: str) -> list[str]:
    """What stands on the terminal at the end."""
    lines, row, column = [""], 0, 0
    for control, argument, code, text in re.findall(
        r"\x1b(\[)([?0-9;]*)([A-Za-z])|([^\x1b])", received
    ):
        if control:
            if code == "A":
                row = max(0, row - int(argument or 1))
            elif code == "K":
                lines[row] = ""
            else:
                assert code in "mhl", f"unexpected control {code}"
        elif text == "\r":
            column = 0
        elif text == "\n":
            row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
        else:
            lines[row] = lines[row][:column].ljust(column) + text + lines[row][column + 1 :]
            column += 1
    return [line.rstrip() for line in lines if line.strip()]


def test_a_terminal_is_left_with_what_was_finished() -> None:
    received = on_a_terminal()
    assert screen(received) == [
        "begin [/red] :smile:",
        "     ok build redis: quay.io/x/redis:1 in 2.0 s",
        "     ok save [/x]:b:.tar: 12 B",
        "skipped build squid: not built, since redis was not",
        " FAILED build nginx: [/bold] no",
    ]
    assert cursor_is_visible(received)


def test_a_failure_leaves_the_terminal_usable() -> None:
    received = on_a_terminal("fail")
    assert screen(received) == [
        "begin [/red] :smile:",
        "     ok build redis: quay.io/x/redis:1 in 2.0 s",
        "broken",
    ]
    assert cursor_is_visible(received)


def cursor_is_visible(received: str) -> bool:
    return re.findall(r"\x1b\[\?25([hl])", received)[-1] == "h"
