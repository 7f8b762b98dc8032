"""A host with one service, as far as its programs tell containerpkg-host of it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from containerpkg_host.door import Done
from containerpkg_host.host import Host

REPOSITORY = "quay.io/example/probe"
QUADLET = "usr/share/containers/systemd/probe.container"


def sha(text: str) -> str:
    """A digest."""
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def pinned(version: str) -> str:
    """How a unit names the image of a version."""
    return f"{REPOSITORY}@{sha(f'manifest {version}')}"


def kept(version: str) -> str:
    """The tag that an image keeps."""
    return f"{REPOSITORY}:{sha(f'manifest {version}').replace(':', '-')}"


def layer(version: str) -> str:
    """The package of the one layer of a version."""
    return f"oci-layer-{sha(f'layer {version}')[7:23]}"


class Killed(Exception):
    """The power is cut."""


@dataclass
class Simulated:
    """Call it as :data:`containerpkg_host.door.Run`; ``bad`` versions never start."""

    root: Path
    bad: frozenset[str] = frozenset()
    podman: str = "5.4.2"
    unit: str = "inactive"
    running: str = ""
    """The version of the container, or none."""

    system: str = "running"
    canceled: bool = False
    """Whether starts are, by whoever stops the service or the host."""

    held: str = ""
    """The image in the unit that systemd has read."""

    engine: dict[str, set[str]] = field(default_factory=dict)
    """Version → names of its image."""

    packages: set[str] = field(default_factory=set)
    """Installed layer packages."""

    installed: str = ""
    calls: list[str] = field(default_factory=list)
    die_at: int = -1
    """The number of the call that is the last."""

    @property
    def host(self) -> Host:
        """What containerpkg-host is given."""
        return Host(self.root, run=self)

    def install(self, version: str) -> None:
        """A transaction with its trigger."""
        self.installed = version
        self.packages.add(layer(version))
        blobs = {f"manifest {version}", f"config {version}", f"layer {version}"}
        for blob in blobs:
            self._write(f"usr/share/containerpkg/blobs/sha256/{sha(blob)[7:]}", blob)
        about = {
            "name": "probe",
            "package": "probe-container",
            "version": version,
            "reference": f"{REPOSITORY}:1.0",
            "manifest": sha(f"manifest {version}"),
            "id": sha(f"config {version}"),
            "layers": [
                {
                    "digest": sha(f"layer {version}"),
                    "size": 9,
                    "diff_id": sha(f"plain layer {version}"),
                    "plain_size": 27,
                    "package": layer(version),
                }
            ],
            "services": ["probe"],
            "units": "quadlet",
            "runs": pinned(version),
        }
        self._write("usr/share/containerpkg/images/probe/image.json", json.dumps(about))
        self._write(QUADLET, f"[Container]\nImage={pinned(version)}\nPull=never\n")
        self._reload()

    def remove(self) -> None:
        """A transaction without its trigger."""
        self.installed = ""
        (self.root / "usr/share/containerpkg/images/probe/image.json").unlink()
        (self.root / QUADLET).unlink()

    def boot(self) -> None:
        """What is in memory is gone, and the service is started."""
        self.unit, self.running, self.die_at = "inactive", "", -1
        self._reload()
        self._start()

    def __call__(self, argv: Sequence[str]) -> Done:
        line = " ".join(argv)
        if len(self.calls) == self.die_at:
            raise Killed(line)
        self.calls.append(line)
        program, *words = [word for word in argv if not word.startswith("--quiet")]
        return getattr(self, f"_{program}")(words)

    def changes(self) -> list[str]:
        """The calls that change something."""
        asking = r"systemctl show|podman (--version|ps|\w+ inspect)|rpm --(eval|query)"
        return [call for call in self.calls if not re.match(asking, call)]

    def files(self) -> dict[str, str]:
        """What was written outside of our own folders."""
        etc = self.root / "etc"
        return {str(p.relative_to(etc)): p.read_text() for p in etc.rglob("*") if p.is_file()}

    def _write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(".new")  # as rpm does, so that it is another file
        beside.write_text(text)
        beside.rename(path)

    def _systemctl(self, words: list[str]) -> Done:
        verb, *names = words
        if verb == "daemon-reload":
            self._reload()
        elif verb == "show" and "ExecStart" in names[0]:
            return Done(0, f"ExecStart=podman run {self.held}\n")
        elif verb == "show":
            load = "loaded" if self.held else "not-found"
            return Done(0, f"LoadState={load}\nActiveState={self.unit}\nSubState=any\n")
        elif names == ["probe-image.service"]:
            if self.installed:
                self.engine.setdefault(self.installed, set()).add(kept(self.installed))
        elif verb == "is-system-running":
            return Done(0, self.system + "\n")
        elif verb in ("start", "restart") and self.canceled:
            self.unit, self.running = "inactive", ""
            return Done(1, "", "Job for probe.service canceled.\n")
        elif verb in ("start", "restart"):
            if verb == "restart":
                self.unit, self.running = "inactive", ""
            if self.unit != "active" and not self._start():
                return Done(1, "", "Job for probe.service failed.\nSee more.\n")
        elif verb == "stop":
            self.unit, self.running = "inactive", ""
        elif verb == "reset-failed":
            self.unit = self.unit.replace("failed", "inactive")
        return Done(0)

    def _reload(self) -> None:
        self.held = ""
        for path in (
            self.root / QUADLET,
            self.root / "etc/containers/systemd/probe.container",
            self.root / "etc/containers/systemd/probe.container.d/90-containerpkg-rollback.conf",
        ):
            if path.exists():
                found = re.search(r"^Image=(.*)$", path.read_text(), re.MULTILINE)
                self.held = found[1] if found else self.held

    def _start(self) -> bool:
        if self.installed:
            self.engine.setdefault(self.installed, set()).add(kept(self.installed))
        version = next((v for v in self.engine if pinned(v) == self.held), "")
        good = bool(version) and version not in self.bad
        self.unit, self.running = ("active", version) if good else ("failed", "")
        return good

    def _podman(self, words: list[str]) -> Done:
        if words == ["--version"]:
            return Done(0, f"podman version {self.podman}\n")
        if words[0] == "ps":
            return Done(0, "abc\n" if self.running else "")
        if words[:2] == ["container", "inspect"]:
            data = {
                "Name": "probe",
                "ImageDigest": sha(f"manifest {self.running}"),
                "Image": sha(f"config {self.running}")[7:],
                "State": {"Running": True},
            }
            return Done(0, json.dumps([data]))
        verb, name = words[1], words[-1]
        version = next(
            (v for v in self.engine if name in {pinned(v), sha(f"config {v}"), *self.engine[v]}), ""
        )
        if verb == "inspect" and version:
            data = {
                "Digest": sha(f"manifest {version}"),
                "Id": sha(f"config {version}")[7:],
                "RepoTags": sorted(self.engine[version]),
            }
            return Done(0, json.dumps([data]))
        if verb == "tag":
            found = next(v for v in self.engine if sha(f"config {v}") == words[2])
            self.engine[found].add(name)
            return Done(0)
        if verb == "rm" and version and version != self.running:
            self.engine[version].discard(name)
            if not self.engine[version]:
                del self.engine[version]
            return Done(0)
        return Done(125, "", f"Error: {name}: image not known\n")

    def _rpm(self, words: list[str]) -> Done:
        if words[0] == "--eval":
            return Done(0, "/var/lib/rpm/.rpm.lock\n")
        if words[0] == "--erase":
            self.packages.remove(words[1])
        elif words[-1] == "oci-layer-*":
            every = {layer(v): sha(f"layer {v}") for v in "ABCD"}
            return Done(0, "".join(f"{p} oci-blob({every[p]})\n" for p in sorted(self.packages)))
        elif "--file" in words:
            return Done(0, f"probe-container-{self.installed}-1.x86_64\n")
        elif self.installed:
            return Done(0, f"podman\noci-blob({sha(f'layer {self.installed}')})\n")
        return Done(0)
