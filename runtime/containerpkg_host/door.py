"""The one place that starts programs."""

import os
import signal
import subprocess
from typing import IO, Callable, NamedTuple, Optional, Sequence


class Done(NamedTuple):
    """A program that has ended: its status and what it printed."""

    status: int
    out: str = ""
    err: str = ""

    @property
    def why(self) -> str:
        """The last thing it said, for a message."""
        lines = (self.err.strip() or self.out.strip()).splitlines()
        if lines:
            return lines[-1]
        if self.status < 0:
            return f"it was ended by the signal {signal.Signals(-self.status).name[3:]}"
        return f"status {self.status}"


Run = Callable[[Sequence[str]], Done]
Write = Callable[["IO[bytes]"], None]
Feed = Callable[[Sequence[str], Write], Done]


TIMED_OUT = 124

_PATIENCE = 60.0


def run(argv: Sequence[str]) -> Done:
    """Run a program to its end; one that is not there has the status 127, as in a shell."""
    return _run(argv, None)


def ask(argv: Sequence[str]) -> Done:
    """The same for a program that is not to be waited for for ever, with the status 124 then."""
    return _run(argv, _PATIENCE)


def _run(argv: Sequence[str], seconds: Optional[float]) -> Done:
    try:
        done = subprocess.run(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            check=False,
            timeout=seconds,
            env=dict(os.environ, LC_ALL="C"),  # what is said is read
        )
    except FileNotFoundError:
        return Done(127, "", f"the program {argv[0]} is missing")
    except OSError as error:
        return Done(126, "", f"{argv[0]}: {error.strerror}")
    except subprocess.TimeoutExpired:
        return Done(TIMED_OUT, "", f"{argv[0]} did not answer in {seconds:.0f} seconds")
    return Done(done.returncode, done.stdout, done.stderr)


def feed(argv: Sequence[str], write: Write) -> Done:
    """Run a program that reads what ``write`` writes.

    What ``write`` raises ends the program and is raised again, but for a program that stops
    reading: its status says why.
    """
    import tempfile  # slow, and few programs are fed

    with tempfile.TemporaryFile() as said:
        try:
            process = subprocess.Popen(
                list(argv),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=said,
                env=dict(os.environ, LC_ALL="C"),
            )
        except FileNotFoundError:
            return Done(127, "", f"the program {argv[0]} is missing")
        except OSError as error:
            return Done(126, "", f"{argv[0]}: {error.strerror}")
        assert process.stdin
        try:
            write(process.stdin)
            process.stdin.close()
        except BrokenPipeError:
            pass
        except BaseException:
            process.kill()
            process.wait()
            raise
        status = process.wait()
        said.seek(0)
        return Done(status, "", said.read().decode("utf-8", "replace"))
