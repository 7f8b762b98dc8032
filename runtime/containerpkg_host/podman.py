"""Podman as root."""

import os
import re
from typing import List, Optional, Tuple

from containerpkg_host.door import Done
from containerpkg_host.engine import Container, Engine, LocalImage, parsed, whole_id
from containerpkg_host.host import Host
from containerpkg_host.layout import Layout, kept_name


class Podman(Engine):
    """Every call is a process of its own; there is no daemon."""

    name = "podman"

    def __init__(self, host: Host) -> None:
        self._host = host

    def answers(self) -> bool:
        return self.version() != (0, 0)

    def references(self, repository: str, digest: str) -> Tuple[str, ...]:
        # What came as an archive has another digest here, and the tag alone.
        return f"{repository}@{digest}", kept_name(repository, digest)

    def inspect(self, reference: str) -> Optional[LocalImage]:
        found = parsed(self._host.run(["podman", "image", "inspect", "--format=json", reference]))
        if not found:
            return None
        image = found[0]
        return LocalImage(
            digest=image.get("Digest", ""),
            id=whole_id(image.get("Id", "")),
            names=tuple(image.get("RepoTags") or ()),
        )

    def load(self, layout: Layout) -> Done:
        home = f"/usr/share/containerpkg/images/{layout.name}"
        if layout.archive:
            return self._host.run(["podman", "load", "--quiet", f"--input={home}/{layout.archive}"])
        return self._host.run(["podman", "image", "pull", "--quiet", f"oci:{home}:{layout.kept}"])

    def container(self, service: str) -> Optional[Container]:
        ids = self._ids(service)
        found = parsed(self._host.run(["podman", "container", "inspect", ids[0]])) if ids else []
        if not found:
            return None
        data = found[0]
        return Container(
            name=data.get("Name", ""),
            digest=data.get("ImageDigest", ""),
            image_id=whole_id(data.get("Image", "")),
            running=bool(data.get("State", {}).get("Running")),
        )

    def make_way(self, service: str) -> Done:
        return Done(0)  # its own --replace does

    def remove_container(self, service: str) -> Done:
        ids = self._ids(service)
        return self._host.run(["podman", "rm", "--force", *ids]) if ids else Done(0)

    def _ids(self, service: str) -> List[str]:
        label = f"label=PODMAN_SYSTEMD_UNIT={service}.service"
        return self._host.run(["podman", "ps", "--all", "--quiet", f"--filter={label}"]).out.split()

    def tag(self, image_id: str, name: str) -> Done:
        return self._host.run(["podman", "image", "tag", image_id, name])

    def remove_image(self, reference: str) -> Done:
        return self._host.run(["podman", "image", "rm", reference])

    def volumes(self) -> Tuple[str, ...]:
        return tuple(self._host.run(["podman", "volume", "ls", "--quiet"]).out.split())

    def storage(self) -> Tuple[str, str]:
        done = self._host.run(["podman", "info", "--format={{.Store.GraphRoot}}"])
        found = done.out.strip() if done.status == 0 else ""
        work = os.environ.get("TMPDIR", "/var/tmp")
        return found or "/var/lib/containers/storage", work

    def version(self) -> Tuple[int, int]:
        """Major and minor number, (0, 0) if podman does not say."""
        found = re.search(r"(\d+)\.(\d+)", self._host.run(["podman", "--version"]).out)
        return (int(found.group(1)), int(found.group(2))) if found else (0, 0)
