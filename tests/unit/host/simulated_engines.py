"""Podman and docker with the images of one repository, as they answer containerpkg-host."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from dataclasses import dataclass, field
from typing import ClassVar

from containerpkg_host.door import Done, Write

REPOSITORY = "quay.io/example/probe"
REFERENCE = f"{REPOSITORY}:1.0"


def sha(text: str) -> str:
    """A digest."""
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def pinned(version: str) -> str:
    """The name of the image of a version by the digest of its manifest."""
    return f"{REPOSITORY}@{sha(f'manifest {version}')}"


def kept(version: str) -> str:
    """The tag that an image keeps."""
    return f"{REPOSITORY}:{sha(f'manifest {version}').replace(':', '-')}"


def layer(version: str) -> str:
    """The package of the one layer of a version."""
    return f"oci-layer-{sha(f'layer {version}')[7:23]}"


@dataclass(frozen=True)
class Container:
    """The container of the unit."""

    version: str
    healthy: bool = True
    label: str = "probe.service"


@dataclass
class SimulatedEngine:
    """What both have in common."""

    name: ClassVar[str] = ""
    images: dict[str, set[str]] = field(default_factory=dict)
    """Version → tags of its image."""

    container: Container | None = None

    def identity(self, version: str) -> str:
        """What it calls the image of a version."""
        return sha(f"config {version}")

    def find(self, name: str) -> str:
        """The version that ``name`` means, or none."""
        every = ((v, {self.identity(v), *names}) for v, names in self.images.items())
        return next((version for version, names in every if name in names), "")

    def keep(self, version: str, *names: str) -> None:
        """Have an image; another one loses the names."""
        self.images.setdefault(version, set())
        for name in names or (kept(version), REFERENCE):
            for every in self.images.values():
                every.discard(name)
            self.images[version].add(name)

    def __call__(self, words: list[str]) -> Done:
        """What it does with images, whatever its name is."""
        if words == ["volume", "ls"]:
            return Done(0, "probe-data\nsomebodys\n")
        verb, name = words[1], words[-1]
        version = self.find(name)
        if verb == "tag" and self.find(words[2]):
            self.keep(self.find(words[2]), name)
            return Done(0)
        used = bool(self.container) and version == self.container.version
        if verb == "rm" and version and (len(self.images[version]) > 1 or not used):
            self.images[version].discard(name)
            if not self.images[version]:
                del self.images[version]
            return Done(0)
        return Done(1, "", f"Error: {name}: image not known, or used\n")


@dataclass
class SimulatedPodman(SimulatedEngine):
    """Podman as root."""

    name: ClassVar[str] = "podman"
    version: str = "5.4.2"
    archived: set[str] = field(default_factory=set)
    """What came as an archive has no manifest but the one that podman made."""

    def load(self, version: str) -> None:
        """``podman load`` of a docker-archive"""
        if version not in self.images:
            self.archived.add(version)
        self.keep(version)

    def pull(self, version: str) -> None:
        """``podman pull`` of a layout"""
        self.keep(version, kept(version))
        self.archived.discard(version)

    def _manifest(self, version: str) -> str:
        return sha(f"{'podman ' if version in self.archived else ''}manifest {version}")

    def find(self, name: str) -> str:
        repository, _, digest = name.partition("@")
        if digest:
            assert repository == REPOSITORY
            return next((v for v in self.images if self._manifest(v) == digest), "")
        return super().find(name)

    def __call__(self, words: list[str]) -> Done:
        if words == ["--version"]:
            return Done(0, f"podman version {self.version}\n")
        if words[0] == "ps":
            label, _, unit = words[-1].rpartition("=")
            assert label == "--filter=label=PODMAN_SYSTEMD_UNIT"
            there = self.container and unit == self.container.label
            return Done(0, "abc\n" if there else "")
        if words == ["rm", "--force", "abc"]:
            self.container = None
            return Done(0)
        if words[:2] == ["container", "inspect"] and self.container:
            data = {
                "Name": "probe",
                "ImageDigest": self._manifest(self.container.version),
                "Image": sha(f"config {self.container.version}")[7:],
                "State": {"Running": True},
            }
            return Done(0, json.dumps([data]))
        found = self.find(words[-1])
        if words[:2] == ["image", "inspect"] and found:
            data = {
                "Digest": self._manifest(found),
                "Id": sha(f"config {found}")[7:],
                "RepoTags": sorted(self.images[found]),
            }
            return Done(0, json.dumps([data]))
        return super().__call__(words)


@dataclass
class SimulatedDocker(SimulatedEngine):
    """Docker's client, and its daemon if it ``answers``."""

    name: ClassVar[str] = "docker"
    answers: bool = True
    containerd: bool = False
    """Whether it keeps images as they were sent, and calls them by their manifests."""

    archived: set[str] = field(default_factory=set)
    """For what came without a manifest containerd has made one."""

    def identity(self, version: str) -> str:
        if not self.containerd:
            return super().identity(version)
        return sha(f"{'docker ' if version in self.archived else ''}manifest {version}")

    def load_archive(self, version: str) -> Done:
        """``docker load`` of a file"""
        if not self.answers:
            return self._unreachable()
        self.archived.add(version)
        self.keep(version)
        return Done(0)

    def load(self, write: Write) -> Done:
        """``docker load`` of a stream"""
        if not self.answers:
            return self._unreachable()
        stream = io.BytesIO()
        write(stream)
        stream.seek(0)
        with tarfile.open(fileobj=stream) as tar:
            manifest = tar.extractfile("manifest.json")
            assert manifest
            (image,) = json.load(manifest)
            config = tar.extractfile(image["Config"])
            assert config
            version = config.read().decode().removeprefix("config ")
            missing = [name for name in image["Layers"] if name not in tar.getnames()]
        if missing and version not in self.images:
            return Done(1, "", f"open /var/lib/docker/tmp/{missing[0]}: no such file or directory")
        self.keep(version, *image["RepoTags"])
        return Done(0)

    def _unreachable(self) -> Done:
        return Done(1, "", "Cannot connect to the Docker daemon at unix:///var/run/docker.sock.\n")

    def __call__(self, words: list[str]) -> Done:
        if not self.answers:
            return self._unreachable()
        if words[0] == "version":
            return Done(0, "27.5.1\n")
        if words == ["info", "--format={{json .DockerRootDir}}"]:
            return Done(0, '"/var/lib/docker"\n')
        if words == ["info"]:
            driver = "io.containerd.snapshotter.v1" if self.containerd else "overlay2"
            return Done(0, f"Server:\n Storage Driver: overlay2\n  driver-type: {driver}\n")
        if words == ["image", "ls", "--all", "--no-trunc"]:
            return Done(0, "".join(f"{self.identity(v)}\n" for v in self.images))
        if words == ["container", "inspect", "probe"] and self.container:
            health = {"Status": "healthy" if self.container.healthy else "unhealthy"}
            data = {
                "Name": "/probe",
                "Image": self.identity(self.container.version),
                "Config": {"Labels": {"containerpkg.unit": self.container.label}},
                "State": {"Running": True, "Health": health},
            }
            return Done(0, json.dumps([data]))
        if words == ["rm", "--force", "--volumes", "probe"]:
            self.container = None
            return Done(0)
        if words[:2] == ["image", "inspect"]:
            found = [version for version in map(self.find, words[2:]) if version]
            images = [
                {
                    "Id": self.identity(version),
                    "RepoTags": sorted(self.images[version]),
                    "RootFS": {"Layers": [sha(f"plain layer {version}")]},
                }
                for version in found
            ]
            return Done(0 if len(found) == len(words) - 2 else 1, json.dumps(images))
        return super().__call__(words)
