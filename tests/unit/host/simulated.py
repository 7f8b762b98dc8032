"""A host with one service, as far as its programs tell containerpkg-host of it."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

from containerpkg_host.cli import main
from containerpkg_host.door import Done, Write
from containerpkg_host.host import Host

from tests.unit.host.simulated_engines import (
    REPOSITORY,
    Container,
    SimulatedDocker,
    SimulatedPodman,
    kept,
    layer,
    pinned,
    sha,
)

IMAGE = "usr/share/containerpkg/images/probe/image.json"
ARCHIVE = "usr/share/containerpkg/images/probe/image.tar.zst"
QUADLET = "usr/share/containers/systemd/probe.container"
PLAIN = "usr/lib/systemd/system/probe.service"
UNITS = ("quadlet", "podman", "docker")
KINDS = (
    *UNITS,
    *(f"{units}-archive" for units in UNITS),
    "docker-archive-by-id",
    "docker-containerd",
    "docker-containerd-archive",
)
"""Flavours of units, how the image is kept, what el7's docker is told to run, docker's store."""


class Killed(Exception):
    """The power is cut."""


@dataclass
class Simulated:
    """Call it as :data:`containerpkg_host.door.Run`; ``bad`` versions never get healthy."""

    root: Path
    kind: str = "quadlet"
    bad: frozenset[str] = frozenset()
    podman: SimulatedPodman = field(default_factory=SimulatedPodman)
    docker: SimulatedDocker = field(default_factory=SimulatedDocker)
    unit: str = "inactive"
    started: int = 0
    """When it was started, in millionths of a second since the host was."""

    enabled: bool = False
    preset: bool = True
    """Whether the host's presets enable the unit."""

    system: str = "running"
    canceled: bool = False
    """Whether starts are, by whoever stops the service or the host."""

    held: str = ""
    """The image in the unit that systemd has read."""

    packages: set[str] = field(default_factory=set)
    """Installed layer packages."""

    installed: str = ""
    replaced: bool = False
    """Whether a transaction has yet to take the version before away."""

    calls: list[str] = field(default_factory=list)
    aside: list[str] = field(default_factory=list)
    """The calls of what rpm and systemd start: containerpkg-host for a trigger or a unit."""

    die_at: int = -1
    """The number of the call that is the last."""

    def __post_init__(self) -> None:
        self.docker.containerd = "containerd" in self.kind

    @property
    def host(self) -> Host:
        """What containerpkg-host is given."""
        return Host(self.root, run=self, feed=self.feed)

    @property
    def archived(self) -> bool:
        """Whether packages have no layers, but an archive of the whole image."""
        return "archive" in self.kind

    @property
    def units(self) -> str:
        """The flavour of its units."""
        return self.kind.partition("-")[0]

    @property
    def engine(self) -> SimulatedPodman | SimulatedDocker:
        """The one that the unit runs."""
        return self.docker if self.units == "docker" else self.podman

    @property
    def running(self) -> str:
        """The version of the container, or none."""
        return self.engine.container.version if self.engine.container else ""

    def runs(self, version: str) -> str:
        """What the unit names the image of a version by."""
        if self.kind in ("quadlet", "podman"):
            return pinned(version)
        by_tag = self.units == "docker" and not self.kind.endswith("by-id")
        return kept(version) if by_tag else sha(f"config {version}")

    def install(self, version: str) -> None:
        """A transaction with its trigger."""
        self.installed = version
        if self.archived:
            self._write(ARCHIVE, f"archive {version}")
        else:
            self.packages.add(layer(version))
            for blob in (f"manifest {version}", f"config {version}", f"layer {version}"):
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
                    "digest": sha(f"{'plain ' if self.archived else ''}layer {version}"),
                    "size": 27 if self.archived else 9,
                    "diff_id": sha(f"plain layer {version}"),
                    "plain_size": 27,
                    "package": "probe-container" if self.archived else layer(version),
                }
            ],
            "services": ["probe"],
            "volumes": ["probe-data", "probe-never-used"],
            "units": self.units,
            "runs": self.runs(version),
            **({"archive": "image.tar.zst"} if self.archived else {}),
        }
        self._write(IMAGE, json.dumps(about))
        if self.units == "quadlet":
            self._write(QUADLET, f"[Container]\nImage={self.runs(version)}\nPull=never\n")
        else:
            self._write(
                PLAIN,
                f"[Service]\nEnvironment=CONTAINERPKG_IMAGE={self.runs(version)}\n"
                f"Environment=CONTAINERPKG_OPTIONS=\n"
                f"ExecStart=/usr/bin/{self.units} run --pull=never --rm \\\n  --name=probe \\\n"
                f"  $CONTAINERPKG_OPTIONS ${{CONTAINERPKG_IMAGE}} serve\n",
            )
        self._reload()
        self._host_program("after-installation")

    def remove(self) -> None:
        """A transaction without its trigger."""
        self.installed = ""
        for name in (IMAGE, ARCHIVE, QUADLET, PLAIN):
            (self.root / name).unlink(missing_ok=True)

    def boot(self) -> None:
        """What is in memory is gone, and the service is started."""
        self.die_at = -1
        self.end()
        self._reload()
        self._start()

    def __call__(self, argv: Sequence[str]) -> Done:
        self._begin(argv)
        program, *words = [word for word in argv if not word.startswith("--quiet")]
        return getattr(self, f"_{program.replace('-', '_')}")(words)

    def feed(self, argv: Sequence[str], write: Write) -> Done:
        """:data:`containerpkg_host.door.Feed`"""
        self._begin(argv)
        assert list(argv) == ["docker", "load", "--quiet"]
        return self.docker.load(write)

    def _begin(self, argv: Sequence[str]) -> None:
        line = " ".join(argv)
        if len(self.calls) == self.die_at:
            raise Killed(line)
        self.calls.append(line)

    def changes(self) -> list[str]:
        """The calls that change something."""
        return changing(self.calls)

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

    def _host_program(self, *arguments: str, **environment: str) -> bool:
        """Have somebody else start it: its calls are not counted."""
        calls, die_at = self.calls, self.die_at
        self.calls, self.die_at = self.aside, -1
        try:
            with mock.patch.dict(os.environ, environment):
                return main(list(arguments), self.host) == 0
        finally:
            self.calls, self.die_at = calls, die_at

    def _systemd_run(self, words: list[str]) -> Done:
        assert words[:4] == ["--collect", "--no-block", "--unit=containerpkg-leave", "/bin/sh"]
        self.packages -= set(words)
        return Done(0)

    def _systemctl(self, words: list[str]) -> Done:
        verb, *names = [word for word in words if word != "--no-reload"]
        if verb == "daemon-reload":
            self._reload()
        elif verb == "show" and "RequiredBy" in names[0]:
            return Done(0, "RequiredBy=\nBoundBy=\n")
        elif verb == "show" and "ExecStart" in names[0]:
            variable = f"Environment=CONTAINERPKG_IMAGE={self.held}\n"
            if self.units == "quadlet":
                return Done(0, f"ExecStart=podman run {self.held}\nEnvironment=\n")
            return Done(0, f"ExecStart={self.units} run ${{CONTAINERPKG_IMAGE}}\n{variable}")
        elif verb == "show":
            load = "loaded" if self.held else "not-found"
            state = f"LoadState={load}\nActiveState={self.unit}\nSubState=any\nType=notify\n"
            return Done(0, f"{state}InactiveExitTimestampMonotonic={self.started}\n")
        elif verb == "is-enabled":
            return Done(0, "enabled\n") if self.enabled else Done(1, "disabled\n")
        elif verb in ("enable", "disable", "preset"):
            assert names[-1] == "probe.service"
            self.enabled = verb == "enable" or (verb == "preset" and self.preset)
        elif names == ["probe-image.service"]:
            assert self.units == "quadlet"
            if self.installed and not self._load_by_quadlet():
                return Done(1, "", "Job for probe-image.service failed.\n")
        elif verb == "is-system-running":
            return Done(0, self.system + "\n")
        elif verb in ("start", "restart") and self.canceled:
            self.end()
            return Done(1, "", "Job for probe.service canceled.\n")
        elif verb in ("start", "restart"):
            if verb == "restart":
                self.end()
            if self.unit != "active" and not self._start():
                return Done(1, "", "Job for probe.service failed.\nSee more.\n")
        elif verb == "stop" and "probe.service" in names:
            self.end()
        elif verb == "reset-failed":
            self.unit = self.unit.replace("failed", "inactive")
        return Done(0)

    def _reload(self) -> None:
        self.held = ""
        for name in (
            QUADLET,
            "etc/containers/systemd/probe.container",
            "etc/containers/systemd/probe.container.d/90-containerpkg-rollback.conf",
            PLAIN,
            "etc/systemd/system/probe.service.d/90-containerpkg-rollback.conf",
        ):
            path = self.root / name
            if path.exists():
                found = re.search(
                    r"^(?:Image|Environment=CONTAINERPKG_IMAGE)=(.*)$",
                    path.read_text(),
                    re.MULTILINE,
                )
                self.held = found[1] if found else self.held

    def _load_by_quadlet(self) -> bool:
        if not self._host_program("verify", "probe"):
            return False
        if self.archived:
            self.podman.load(self.installed)
        else:
            self.podman.pull(self.installed)
        return True

    def end(self) -> None:
        """The service is not there any more."""
        self.unit, self.engine.container = "inactive", None

    def _start(self) -> bool:
        if self.units == "quadlet":
            ready = not self.installed or self._load_by_quadlet()
        else:
            ready = self._host_program(
                "load", "--for", "probe", "probe", CONTAINERPKG_IMAGE=self.held
            )
        version = self.engine.find(self.held) if ready else ""
        healthy = version not in self.bad
        if version:
            self.engine.container = Container(version, healthy)
        if version and self.units == "docker":
            healthy = self._host_program("wait-healthy", "probe", MAINPID="")
        good = bool(version) and healthy
        if not good:
            self.end()
        self.unit = "active" if good else "failed"
        self.started = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        return good

    def _podman(self, words: list[str]) -> Done:
        if words[0] == "load":
            assert words == ["load", f"--input=/{ARCHIVE}"]
            self.podman.load(self.installed)
            return Done(0)
        if words[:2] == ["image", "pull"]:
            folder = "/usr/share/containerpkg/images/probe"
            assert words[2:] == [f"oci:{folder}:{kept(self.installed)}"]
            self.podman.pull(self.installed)
            return Done(0)
        return self.podman(words)

    def _docker(self, words: list[str]) -> Done:
        if words[0] == "load":
            assert words == ["load", f"--input={self.root / ARCHIVE}"]
            return self.docker.load_archive(self.installed)
        return self.docker(words)

    def _rpm(self, words: list[str]) -> Done:
        if words[0] == "--eval":
            return Done(0, "/var/lib/rpm/.rpm.lock\n")
        if words[0] == "--erase":
            self.packages -= set(words[1:])
        elif words[-1] == "oci-layer-*":
            every = {layer(v): sha(f"layer {v}") for v in "ABCD"}
            return Done(0, "".join(f"{p} oci-blob({every[p]})\n" for p in sorted(self.packages)))
        elif words[1] == "--queryformat=1\n":
            return Done(0, "1\n1\n" if self.replaced else "1\n")
        elif "FILEDIGESTS" in words[1]:
            return Done(0, f"{words[-1]} {sha(f'archive {self.installed}')[7:]}\n")
        elif "--file" in words:
            return Done(0, f"probe-container-{self.installed}-1.x86_64\n")
        elif self.installed:
            return Done(0, f"podman\noci-blob({sha(f'layer {self.installed}')})\n")
        return Done(0)


def changing(calls: list[str]) -> list[str]:
    """Those of ``calls`` that change something."""
    asking = (
        r"systemctl (show|is-enabled|is-system-running)"
        r"|podman (--version|ps|info|volume ls|\w+ inspect)"
        r"|docker (version|info|image ls|volume ls|\w+ inspect)|rpm --(eval|query)"
    )
    return [call for call in calls if not re.match(asking, call)]
