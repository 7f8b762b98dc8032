"""The one door through which containerpkg starts other programs.

Quiet on success; on failure the error carries the program's last lines. Programs get an argv
list, never a shell string, and a copy of the environment with ``env`` laid over it.
"""

from __future__ import annotations

import contextlib
import os
import select
import shlex
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from containerpkg.errors import ContainerpkgError, ToolError

TAIL_LINES = 25

# Seconds between asking a program to end and ending it.
_PATIENCE = 5.0

_PIECE = 1 << 20

# What to install when a program is missing: (Debian family, Fedora family).
_PACKAGES: Mapping[str, tuple[str, str]] = {
    "buildah": ("buildah", "buildah"),
    "createrepo_c": ("createrepo-c", "createrepo_c"),
    "debootstrap": ("debootstrap", "debootstrap"),
    "docker": ("docker.io", "docker-ce"),
    "git": ("git", "git-core"),
    "gpg": ("gnupg", "gnupg2"),
    "gpgv": ("gpgv", "gnupg2"),
    "podman": ("podman", "podman"),
    "rpmbuild": ("rpm", "rpm-build"),
    "rpmsign": ("rpm", "rpm-sign"),
    "systemd-analyze": ("systemd", "systemd"),
    "xorriso": ("xorriso", "xorriso"),
}

_running: set[subprocess.Popen[bytes]] = set()
_guard = threading.Lock()


class CommandFailed(ContainerpkgError):
    """A program ended with a non-zero status; ``tail`` is the end of what it printed."""

    def __init__(self, argv: Sequence[str], status: int, tail: str) -> None:
        self.argv = tuple(argv)
        self.status = status
        self.tail = tail
        how = f"was ended by {_signal(-status)}" if status < 0 else f"failed with status {status}"
        super().__init__(f"{Path(argv[0]).name} {how}" + (f":\n{tail}" if tail else ""))


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a successful program left: its standard output as text."""

    stdout: str


class Run(Protocol):
    """The signature of :func:`run`, so that a test can stand at the door instead."""

    def __call__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str | None] | None = None,
        cwd: Path | None = None,
        stdin: Callable[[IO[bytes]], None] | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> Result:
        """Run ``argv``; see :func:`run`."""


class Stream(Protocol):
    """The signature of :func:`stream`, so that a test can stand at the door instead."""

    def __call__(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None
    ) -> AbstractContextManager[Output]:
        """Run ``argv``; see :func:`stream`."""


def missing_tool(name: str) -> ToolError:
    """The error for a program that is not on this machine, with what to install."""
    if "/" in name:
        if Path(name).exists():
            return ToolError(
                f"the program '{name}' cannot be started: what its first line names is not there",
                hint=f"correct the interpreter after '#!': head -n 1 {shlex.quote(name)}",
            )
        return ToolError(f"the program '{name}' does not exist")
    debian, fedora = _PACKAGES.get(name, (name, name))
    return ToolError(
        f"the program '{name}' is not installed or not in PATH",
        hint=f"install it: 'apt-get install {debian}' or 'dnf install {fedora}'",
    )


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str | None] | None = None,
    cwd: Path | None = None,
    stdin: Callable[[IO[bytes]], None] | None = None,
    on_line: Callable[[str], None] | None = None,
) -> Result:
    """Run a program to its end.

    ``env`` is laid over a copy of this process's environment; None takes a variable out of it.
    ``stdin``, if given, writes the program's standard input from a thread of its own. With
    ``on_line`` each line that the program prints on either stream is handed over as it comes and
    ``Result.stdout`` is empty.

    Raises :class:`ToolError` if the program is missing and :class:`CommandFailed` if its status
    is not 0. A program still running when an exception passes (Ctrl-C) is ended with its group.
    """
    with _started(argv, env=env, cwd=cwd, merge=on_line is not None, stdin=stdin) as child:
        feeder = _Feeder(child, stdin) if stdin else None
        if on_line is None:
            captured: list[bytes] = []
            reader = threading.Thread(
                target=lambda: captured.append(_read_all(child.stderr)), daemon=True
            )
            reader.start()
            out = _read_all(child.stdout).decode(errors="replace")
            reader.join()
            tail = _tail((captured[0] if captured else b"").decode(errors="replace") or out)
        else:
            out, tail = "", _hand_over(child.stdout, on_line)
        status = child.wait()
    if feeder and feeder.error:
        raise feeder.error  # the program's status is only the echo of it
    if status:
        raise CommandFailed(argv, status, tail)
    if feeder:
        feeder.result()
    return Result(stdout=out)


@contextmanager
def stream(argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> Iterator[Output]:
    """Run a program whose standard output is read as it comes, as long as the block lasts.

    What the block leaves unread is read over. Raises what :func:`run` raises; that the program
    failed shows when its output ends, inside the block or behind it.
    """
    with _started(argv, env=env) as child:
        output = Output(argv, child)
        yield output
        while output.read(_PIECE):
            pass


class Output:
    """The standard output of a running program."""

    def __init__(self, argv: Sequence[str], child: subprocess.Popen[bytes]) -> None:
        self._argv, self._child = argv, child
        self._errors: list[bytes] = []
        self._reader = threading.Thread(
            target=lambda: self._errors.append(_read_all(child.stderr)), daemon=True
        )
        self._reader.start()

    def read(self, amount: int, /) -> bytes:
        """At most ``amount`` bytes; none at the end of a program that succeeded.

        Raises :class:`CommandFailed` at the end of one that did not.
        """
        assert self._child.stdout
        if data := self._child.stdout.read(amount):
            return data
        self._reader.join()
        if status := self._child.wait():
            raise CommandFailed(
                self._argv, status, _tail(b"".join(self._errors).decode(errors="replace"))
            )
        return b""


def end_running() -> None:
    """End every program that :func:`run` or :func:`stream` waits for, in whichever thread."""
    with _guard:
        children = tuple(_running)
    for child in children:
        _end(child)


@contextmanager
def _started(
    argv: Sequence[str],
    *,
    env: Mapping[str, str | None] | None,
    cwd: Path | None = None,
    merge: bool = False,
    stdin: object = None,
) -> Iterator[subprocess.Popen[bytes]]:
    try:
        child = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if merge else subprocess.PIPE,
            env={k: v for k, v in {**os.environ, **(env or {})}.items() if v is not None},
            cwd=cwd,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        if cwd is not None and not cwd.is_dir():
            raise  # it names the folder
        raise missing_tool(argv[0]) from error
    except PermissionError as error:
        raise ToolError(
            f"the program '{argv[0]}' may not be executed",
            hint=f"chmod +x {shlex.quote(argv[0])}",
        ) from error
    except OSError as error:
        raise ToolError(f"the program '{argv[0]}' cannot be started: {error.strerror}") from error
    with child:
        with _guard:
            _running.add(child)
        try:
            yield child
        except BaseException:
            _end(child)
            raise
        finally:
            with _guard:
                _running.discard(child)


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the program and what it has started: whoever does not listen has five seconds."""
    if child.returncode is not None:
        return  # its number may belong to another program by now
    with _below(child.pid) as others:
        until = time.monotonic() + _PATIENCE
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGTERM)
            while time.monotonic() < until:
                # A leader that has ended says nothing of its group, which may still clean up.
                child.poll()
                os.killpg(child.pid, 0)
                time.sleep(0.01)
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        # Podman is gone before it has ended the container of a build, which has its own group.
        for other in others:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                signal.pidfd_send_signal(other, signal.SIGKILL)
                select.select([other], [], [], _PATIENCE)


@contextmanager
def _below(pid: int) -> Iterator[tuple[int, ...]]:
    """Handles of the processes below ``pid``, in whichever session; numbers may be given anew."""
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            with contextlib.suppress(OSError):
                # The name of a program, in brackets, may have anything in it.
                fields = (path / "stat").read_bytes().rpartition(b")")[2].split()
                parents.setdefault(int(fields[1]), []).append(int(path.name))
    handles = []
    waiting = [*parents.get(pid, ())]
    try:
        while waiting:
            below = waiting.pop()
            waiting += parents.get(below, ())
            with contextlib.suppress(OSError):
                handles.append(os.pidfd_open(below))
        yield tuple(handles)
    finally:
        for handle in handles:
            os.close(handle)


class _Feeder:
    """Writes a program's standard input from a thread, keeping what went wrong."""

    def __init__(self, child: subprocess.Popen[bytes], write: Callable[[IO[bytes]], None]) -> None:
        self.error: Exception | None = None
        assert child.stdin
        # The pipe is this thread's alone: who waits for the program must not close it meanwhile.
        self._pipe, child.stdin = child.stdin, None
        self._child, self._write = child, write
        self._thread = threading.Thread(target=self._feed, daemon=True)
        self._thread.start()

    def _feed(self) -> None:
        # A program that left early is no error of ours; its status says why.
        with contextlib.suppress(BrokenPipeError), self._pipe as pipe:
            try:
                self._write(pipe)
            except BrokenPipeError:
                raise
            except Exception as error:  # noqa: BLE001 - kept for the thread that waits
                self.error = error
                # Before the pipe is closed: half of the input must not look like all of it.
                _end(self._child)

    def result(self) -> None:
        self._thread.join()
        if self.error:
            raise self.error


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"  # the real-time ones have no names


def _read_all(pipe: IO[bytes] | None) -> bytes:
    return pipe.read() if pipe else b""


def _hand_over(pipe: IO[bytes] | None, on_line: Callable[[str], None]) -> str:
    last: deque[str] = deque(maxlen=TAIL_LINES)
    for raw in pipe or ():
        line = raw.decode(errors="replace").rstrip("\r\n")
        last.append(line)
        on_line(line)
    return "\n".join(last)


def _tail(text: str) -> str:
    return "\n".join(text.rstrip().splitlines()[-TAIL_LINES:])
