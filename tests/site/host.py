"""A host that boots with systemd as its first process and has no network but loopback.

It runs in systemd-nspawn on a copy-on-write view of a cached tree. Every mount is made in a mount
namespace of the host's own and its processes die with the one that started them, so that nothing of
a host outlives a test run but a folder and an empty cgroup, which the next run sweeps up.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

_STORAGES = ("containers", "containerd", "docker")
"""Folders below /var/lib that are this machine's own."""

BOOT_SECONDS = 60.0
STOP_SECONDS = 120.0

# $1 is the name of the host's cgroup, the rest is the program to start. nspawn wants to see a pure
# cgroup v2 hierarchy, which a hybrid machine shows only where it is mounted afresh.
_START = """
set -e
cgroup=$1
shift
umount --recursive --lazy /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir /sys/fs/cgroup/$cgroup
echo $$ > /sys/fs/cgroup/$cgroup/cgroup.procs
mount -t overlay overlay -o lowerdir=tree,upperdir=upper,workdir=work root
exec "$@"
"""

_REMOVE_CGROUP = """
umount --recursive --lazy /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
cd /sys/fs/cgroup
test -d "$1" || exit 0
echo 1 > "$1/cgroup.kill"
find "$1" -depth -type d -exec rmdir {} +
"""

_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "TERM": "dumb",
}


class HostError(AssertionError):
    """The host, or a program on it, did not do what a test relies on."""


class Host:
    """One host; see :func:`new_host`."""

    def __init__(self, folder: Path, binds: Mapping[Path, str]) -> None:
        self._folder = folder
        self._binds = dict(binds)
        self._cgroup = _cgroup(folder)
        self._process: subprocess.Popen[bytes] | None = None
        self._leader = 0

    def boot(self) -> None:
        """Switch on and wait until systemd has started everything that it will."""
        if self._process:
            raise HostError("the host is running already")
        _remove_cgroup(self._cgroup)
        # If the test run is killed, so is the host: the kernel ends a process namespace with its
        # first process, which is told of its parent's death.
        argv = ["setpriv", "--pdeathsig=KILL", "unshare", "--pid", "--fork", "--kill-child"]
        argv += ["--mount-proc", "--mount", "--propagation=private"]
        argv += ["sh", "-c", _START, "sh", self._cgroup]
        argv += ["systemd-nspawn", "--quiet", "--directory=root", "--machine=offline"]
        argv += ["--keep-unit", "--register=no", "--private-network", "--console=read-only"]
        argv += ["--capability=all", "--system-call-filter=@keyring bpf keyctl add_key"]
        argv += ["--resolv-conf=off", "--timezone=off", "--link-journal=no"]
        # Engines keep layers as overlays, which do not stack on the overlay that / is.
        argv += [f"--bind={self._folder}/{name}:/var/lib/{name}" for name in _STORAGES]
        argv += [f"--bind-ro={source}:{target}" for source, target in self._binds.items()]
        argv += ["/lib/systemd/systemd"]
        with (self._folder / "console.log").open("ab") as console:
            self._process = subprocess.Popen(
                argv,
                cwd=self._folder,
                env={**_ENVIRONMENT, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
            )
        try:
            self._leader = self.wait_for(self._find_leader, "its first process", BOOT_SECONDS)
            self.wait_for(self._booted, "the end of its start", BOOT_SECONDS)
        except HostError:
            self.kill()
            raise

    def run(
        self, *argv: str, check: bool = True, stdin: str = "", seconds: float = 600
    ) -> subprocess.CompletedProcess[str]:
        """Run a program on the host as root.

        Raises :class:`HostError` with all it printed if its status is not 0 and ``check`` is set.
        """
        if not self._leader:
            raise HostError(f"the host is off, '{argv[0]}' cannot run")
        root = f"/proc/{self._leader}/root"
        enter = ["nsenter", f"--target={self._leader}", "--mount", "--uts", "--ipc", "--net"]
        enter += ["--pid", "--cgroup", f"--root={root}", f"--wd={root}"]
        done = subprocess.run(
            [*enter, *argv],
            env=_ENVIRONMENT,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=seconds,
        )
        if check and done.returncode:
            raise HostError(
                f"{' '.join(argv)}: status {done.returncode}\n{done.stdout}{done.stderr}"
            )
        return done

    def path(self, name: str) -> Path:
        """A file of the running host as this machine sees it (absolute links lead astray)."""
        if not self._leader:
            raise HostError("the host is off, its files cannot be seen")
        return Path(f"/proc/{self._leader}/root") / name.lstrip("/")

    def copy_in(self, source: Path, target: str) -> None:
        """Copy a file or a folder of this machine to the host."""
        place = self.path(target)
        place.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, place, symlinks=True)
        else:
            shutil.copy2(source, place)

    def wait_for(self, found: Callable[[], T], what: str, seconds: float = 60) -> T:
        """Ask ``found`` until it gives something true, and return that."""
        deadline = time.monotonic() + seconds
        while not (result := found()):
            if self._process and self._process.poll() is not None:
                raise HostError(f"the host ended before {what}:\n{self.console()}")
            if time.monotonic() > deadline:
                raise HostError(f"no {what} in {seconds:.0f} s:\n{self.console()}")
            time.sleep(0.05)
        return result

    def reboot(self) -> None:
        """Restart as an administrator does, and wait until it is up again."""
        self._end("reboot")
        self.boot()

    def shutdown(self) -> None:
        """Stop every service and switch off."""
        self._end("poweroff")

    def kill(self) -> None:
        """Cut the power: nothing on the host gets to know."""
        if not self._process:
            return
        if self._leader and self._process.poll() is None:
            os.kill(self._leader, signal.SIGKILL)
        else:
            self._process.kill()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._off()

    def journal(self, unit: str) -> str:
        """What a unit has logged since the host started."""
        return self.run("journalctl", "--boot", "--no-pager", f"--unit={unit}").stdout

    def console(self) -> str:
        """The last lines on the host's console."""
        text = (self._folder / "console.log").read_text(errors="replace")
        return "\n".join(text.splitlines()[-40:])

    def _end(self, verb: str) -> None:
        if not self._process:
            raise HostError("the host is off")
        # The connection may break before systemctl has its answer.
        self.run("systemctl", verb, check=False)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired as error:
            console = self.console()
            self.kill()
            raise HostError(f"no {verb} in {STOP_SECONDS:.0f} s:\n{console}") from error
        self._off()

    def _off(self) -> None:
        self._process = None
        self._leader = 0

    def _find_leader(self) -> int:
        assert self._process
        # unshare starts nspawn, nspawn starts systemd.
        for nspawn in _children(self._process.pid, "systemd-nspawn"):
            for systemd in _children(nspawn, "systemd"):
                return systemd
        return 0

    def _booted(self) -> bool:
        state = self.run("systemctl", "is-system-running", check=False).stdout.strip()
        return state in {"running", "degraded"}


@contextmanager
def new_host(tree: Path, cache: Path, *, binds: Mapping[Path, str] | None = None) -> Iterator[Host]:
    """A host on a view of ``tree``, switched off; its own files are gone after the block.

    ``binds`` are folders of this machine that the host sees read-only, with their place there.
    """
    hosts = cache / "hosts"
    hosts.mkdir(parents=True, exist_ok=True)
    with (hosts / ".lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        _sweep(hosts)
        folder = Path(tempfile.mkdtemp(prefix="host-", dir=hosts))
        lock = (folder / "lock").open("w")
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with lock:
        for name in ("upper", "work", "root", *_STORAGES, "upper/etc"):
            (folder / name).mkdir()
        (folder / "upper").chmod(0o755)
        (folder / "tree").symlink_to(tree)
        (folder / "upper/etc/machine-id").write_text(f"{uuid.uuid4().hex}\n")
        host = Host(folder, binds or {})
        try:
            yield host
        finally:
            host.kill()
            _remove(folder)


def _children(parent: int, name: str) -> list[int]:
    """The processes called ``name`` that ``parent`` has started."""
    try:
        numbers = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        # The kernel keeps 15 characters of a name.
        names = {int(number): Path(f"/proc/{number}/comm").read_text() for number in numbers}
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [number for number, found in names.items() if found == f"{name[:15]}\n"]


def _sweep(hosts: Path) -> None:
    """Remove what killed test runs left; a host in use holds its lock."""
    for folder in hosts.glob("host-*"):
        with (folder / "lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            _remove(folder)


def _remove(folder: Path) -> None:
    _remove_cgroup(_cgroup(folder))
    subprocess.run(["rm", "--recursive", "--force", "--one-file-system", folder], check=True)


def _cgroup(folder: Path) -> str:
    return f"containerpkg-{folder.name}"


def _remove_cgroup(name: str) -> None:
    argv = ["unshare", "--mount", "--propagation=private", "sh", "-e", "-c", _REMOVE_CGROUP, "sh"]
    deadline = time.monotonic() + 30
    # What a killed run left in it is ended first; it is busy until the last process is gone.
    while (done := subprocess.run([*argv, name], capture_output=True, text=True)).returncode:
        if time.monotonic() > deadline:
            raise HostError(f"the cgroup {name} cannot be removed:\n{done.stderr}")
        time.sleep(0.05)
