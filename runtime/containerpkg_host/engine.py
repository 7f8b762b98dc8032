"""What is asked of a container engine, and podman's answers."""

import json
import re
from abc import ABC, abstractmethod
from typing import Any, List, NamedTuple, Optional, Tuple

from containerpkg_host.door import Done
from containerpkg_host.host import Host
from containerpkg_host.layout import Layout


class Container(NamedTuple):
    """A container of a unit."""

    name: str
    digest: str
    """Of the manifest that its image came with; empty if the engine does not say."""

    image_id: str
    """``sha256:`` digest."""

    running: bool


class LocalImage(NamedTuple):
    """An image that the engine has."""

    digest: str
    id: str
    names: Tuple[str, ...]
    """Its references with a tag."""


class Engine(ABC):
    """A container engine on this host."""

    name = ""

    @abstractmethod
    def inspect(self, reference: str) -> Optional[LocalImage]:
        """The image that ``reference`` names here, or None; no registry is asked."""

    @abstractmethod
    def load(self, layout: Layout) -> Done:
        """Copy an installed image into the engine."""

    @abstractmethod
    def container(self, service: str) -> Optional[Container]:
        """The container of a service's unit."""

    @abstractmethod
    def remove_container(self, service: str) -> Done:
        """End and remove the container of a service's unit, keeping its volumes."""

    @abstractmethod
    def tag(self, image_id: str, name: str) -> Done:
        """Give an image one more name."""

    @abstractmethod
    def remove_image(self, reference: str) -> Done:
        """Take a name from an image, and with its last name the image unless it is in use."""

    @abstractmethod
    def storage(self) -> str:
        """The folder that images are unpacked to; empty if the engine does not say."""


class Podman(Engine):
    """podman as root."""

    name = "podman"

    def __init__(self, host: Host) -> None:
        self._host = host

    def inspect(self, reference: str) -> Optional[LocalImage]:
        done = self._host.run(["podman", "image", "inspect", "--format=json", reference])
        found = _parsed(done)
        if not found:
            return None
        image = found[0]
        return LocalImage(
            digest=image.get("Digest", ""),
            id=_digest(image.get("Id", "")),
            names=tuple(image.get("RepoTags") or ()),
        )

    def load(self, layout: Layout) -> Done:
        home = f"/usr/share/containerpkg/images/{layout.name}"
        source = f"oci:{home}:{layout.kept}"
        return self._host.run(["podman", "image", "pull", "--quiet", source])

    def container(self, service: str) -> Optional[Container]:
        label = f"label=PODMAN_SYSTEMD_UNIT={service}.service"
        listed = self._host.run(["podman", "ps", "--all", "--quiet", f"--filter={label}"])
        ids = listed.out.split()
        if not ids:
            return None
        found = _parsed(self._host.run(["podman", "container", "inspect", ids[0]]))
        if not found:
            return None
        data = found[0]
        return Container(
            name=data.get("Name", ""),
            digest=data.get("ImageDigest", ""),
            image_id=_digest(data.get("Image", "")),
            running=bool(data.get("State", {}).get("Running")),
        )

    def remove_container(self, service: str) -> Done:
        label = f"label=PODMAN_SYSTEMD_UNIT={service}.service"
        listed = self._host.run(["podman", "ps", "--all", "--quiet", f"--filter={label}"])
        ids = listed.out.split()
        return self._host.run(["podman", "rm", "--force", *ids]) if ids else listed

    def tag(self, image_id: str, name: str) -> Done:
        return self._host.run(["podman", "image", "tag", image_id, name])

    def remove_image(self, reference: str) -> Done:
        return self._host.run(["podman", "image", "rm", reference])

    def storage(self) -> str:
        done = self._host.run(["podman", "info", "--format={{.Store.GraphRoot}}"])
        return done.out.strip() if done.status == 0 else ""

    def version(self) -> Tuple[int, int]:
        """Major and minor number, (0, 0) if podman does not say."""
        found = re.search(r"(\d+)\.(\d+)", self._host.run(["podman", "--version"]).out)
        return (int(found.group(1)), int(found.group(2))) if found else (0, 0)


def _parsed(done: Done) -> List[Any]:
    if done.status:
        return []
    try:
        found = json.loads(done.out)
    except ValueError:
        return []
    return found if isinstance(found, list) else []


def _digest(number: str) -> str:
    return number if not number or ":" in number else f"sha256:{number}"
