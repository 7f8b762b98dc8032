"""Progress for people, on stderr: a live view on a terminal, one line per event elsewhere."""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from containerpkg.progress import Outcome, Progress, Silent

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

# Of what a builder prints, the lines that name a step; the rest is in the log.
_STEP = re.compile(r"(Step \d+/\d+ :|#\d+ \[|(\[\d+/\d+\] )?STEP \d+/\d+: |prepare: )")

# A RUN instruction may be a whole script; the log has all of it.
_WIDEST = 100

_MARKS: dict[Outcome, str] = {
    "done": "ok",
    "kept": "kept",
    "failed": "FAILED",
    "skipped": "skipped",
}


@contextmanager
def shown(*, quiet: bool) -> Iterator[Progress]:
    """The way of showing progress that fits this standard error."""
    if quiet:
        yield Silent()
    elif sys.stderr.isatty():
        from rich.console import Console

        with _Live(Console(stderr=True, markup=False, emoji=False)) as live:
            yield live
    else:
        yield _Lines()


class _Lines:
    """One line per event, each with the seconds since the start."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._guard = threading.Lock()

    def start(self, task: str, text: str, *, total: int | None = None) -> None:
        self._line(f"{task}: {text}" if text else task)

    def update(self, task: str, text: str) -> None:
        if _STEP.match(text):
            self._line(f"{task}: {text if len(text) <= _WIDEST else text[:_WIDEST] + '…'}")

    def advance(self, task: str, amount: int) -> None:
        pass

    def finish(self, task: str, outcome: Outcome, text: str) -> None:
        self._line(f"{task}: {_MARKS[outcome]}: {text}")

    def note(self, text: str) -> None:
        self._line(text)

    def _line(self, text: str) -> None:
        with self._guard:
            print(f"[{time.monotonic() - self._begun:6.1f}] {text}", file=sys.stderr, flush=True)


class _Live:
    """Running tasks below, finished ones scroll away above."""

    def __init__(self, console: Console) -> None:
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            SpinnerColumn,
            TextColumn,
            TimeElapsedColumn,
        )
        from rich.table import Column

        self._console = console
        self._steps = Progress(
            SpinnerColumn(),
            TextColumn("{task.fields[name]}", markup=False),
            TimeElapsedColumn(),
            TextColumn(
                "{task.description}", markup=False, table_column=Column(no_wrap=True, ratio=1)
            ),
            console=console,
            transient=True,
            expand=True,
        )
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.fields[name]}", markup=False),
            BarColumn(),
            DownloadColumn(),
            console=console,
            transient=True,
        )
        self._tasks: dict[str, tuple[RichProgress, TaskID]] = {}

    def __enter__(self) -> _Live:
        from rich.console import Group
        from rich.live import Live

        self._live = Live(Group(self._steps, self._bars), console=self._console, transient=True)
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def start(self, task: str, text: str, *, total: int | None = None) -> None:
        view = self._steps if total is None else self._bars
        self._tasks[task] = (view, view.add_task(text, total=total, name=task))

    def update(self, task: str, text: str) -> None:
        view, number = self._tasks[task]
        view.update(number, description=text)

    def advance(self, task: str, amount: int) -> None:
        view, number = self._tasks[task]
        view.advance(number, amount)

    def finish(self, task: str, outcome: Outcome, text: str) -> None:
        from rich.text import Text

        view, number = self._tasks.pop(task)
        view.remove_task(number)
        style = {"failed": "bold red", "skipped": "yellow"}.get(outcome, "green")
        # In one piece: the live view takes the rest of an unfinished line away.
        line = Text.assemble((f"{_MARKS[outcome]:>7} ", style), f"{task}: {text}")
        self._console.print(line, highlight=False)

    def note(self, text: str) -> None:
        self._console.print(text, highlight=False)
