"""The one place that starts programs."""

import os
import subprocess
from typing import Callable, NamedTuple, Sequence


class Done(NamedTuple):
    """A program that has ended: its status and what it printed."""

    status: int
    out: str = ""
    err: str = ""

    @property
    def why(self) -> str:
        """The last thing it said, for a message."""
        lines = (self.err.strip() or self.out.strip()).splitlines()
        return lines[-1] if lines else f"status {self.status}"


Run = Callable[[Sequence[str]], Done]


def run(argv: Sequence[str]) -> Done:
    """Run a program to its end; one that is not there has the status 127, as in a shell."""
    try:
        done = subprocess.run(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            check=False,
            env=dict(os.environ, LC_ALL="C"),  # what is said is read
        )
    except FileNotFoundError:
        return Done(127, "", f"the program {argv[0]} is missing")
    except OSError as error:
        return Done(126, "", f"{argv[0]}: {error.strerror}")
    return Done(done.returncode, done.stdout, done.stderr)
