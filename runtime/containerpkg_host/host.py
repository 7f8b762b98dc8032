"""Where things are on a host, and the settings of its administrator."""

import fcntl
import os
from contextlib import contextmanager
from pathlib import Path
from typing import Dict, Iterator, NamedTuple

from containerpkg_host import door
from containerpkg_host.errors import HostProblem


class Settings(NamedTuple):
    """What /etc/containerpkg/host.conf says."""

    keep_previous_layers: bool = True
    """Whether layer packages stay that the version before the installed one of an image needs."""

    restart_services: bool = True
    """Whether running services are restarted with the image that a transaction brought."""

    roll_back: bool = True
    """Whether a service that does not start with a new image gets the one before back."""


class Host:
    """A host; ``root`` is ``/`` but in tests, and every program goes through ``run``."""

    def __init__(
        self, root: Path = Path("/"), run: door.Run = door.run, feed: door.Feed = door.feed
    ) -> None:
        self.root, self.run, self.feed = root, run, feed
        self.ask = door.ask if run is door.run else run
        """As ``run``, but it has an end; see :func:`door.ask`."""

        self.images = root / "usr/share/containerpkg/images"
        self.blobs = root / "usr/share/containerpkg/blobs/sha256"
        self.state = root / "var/lib/containerpkg"
        self.runtime = root / "run/containerpkg"
        self.settings_file = root / "etc/containerpkg/host.conf"
        self.local_quadlets = root / "etc/containers/systemd"
        self.quadlets = (
            self.local_quadlets,
            root / "run/containers/systemd",
            root / "usr/share/containers/systemd",
        )
        """First come, first served."""
        self.rootless = self.local_quadlets / "users"
        self.local_units = root / "etc/systemd/system"
        self.units = (
            self.local_units,
            root / "run/systemd/system",
            root / "usr/local/lib/systemd/system",
            root / "usr/lib/systemd/system",
        )
        """The same for systemd's own."""

    @property
    def booted(self) -> bool:
        """Whether systemd runs this system, see sd_booted(3); in a chroot it does not."""
        return (self.root / "run/systemd/system").is_dir()

    def settings(self) -> Settings:
        """The settings; raises :class:`HostProblem` for a line that says nothing known."""
        try:
            text = self.settings_file.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return Settings()
        return parse_settings(text, self.settings_file)

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Wait for the lock ``name`` and hold it; the kernel frees it if we are killed."""
        folder = self.runtime if self.runtime.parent.is_dir() else self.state
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"{name}.lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def parse_settings(text: str, path: Path) -> Settings:
    """Lines ``NAME = yes|no``; a hash begins a comment.

    Raises :class:`HostProblem` for anything else.
    """
    values: Dict[str, bool] = {}
    for number, line in enumerate(text.splitlines(), 1):
        setting = line.partition("#")[0].strip()
        if not setting:
            continue
        name, equals, value = (part.strip() for part in setting.partition("="))
        if name not in Settings._fields or not equals:
            known = ", ".join(Settings._fields)
            raise HostProblem(f"{path}:{number}: '{setting}' is no setting; known are {known}")
        if value not in ("yes", "no"):
            raise HostProblem(f"{path}:{number}: {name} must be yes or no, not '{value}'")
        values[name] = value == "yes"
    return Settings(**values)


def write_whole(path: Path, text: str) -> None:
    """Replace ``path`` by ``text`` in one step that a power cut does not halve.

    Raises OSError with the name of ``path``, and leaves nothing beside it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")  # two may write the same at once
    try:
        with beside.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.rename(path)
    except OSError as error:
        remove(beside)
        # That a disk is full is said of no file.
        raise OSError(error.errno, error.strerror, str(path)) from error


def remove(path: Path) -> None:
    """Remove a file that may be gone already."""
    try:
        path.unlink()
    except FileNotFoundError:
        pass
