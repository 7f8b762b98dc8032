"""Docker's daemon on this host, through its command line."""

import json
from typing import IO, Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from containerpkg_host.door import TIMED_OUT, Done
from containerpkg_host.engine import Container, Engine, LocalImage, parsed, whole_id
from containerpkg_host.host import Host
from containerpkg_host.layout import Layout, kept_name

LABEL = "containerpkg.unit"
"""Our containers have it, with the name of their unit."""


class Health(NamedTuple):
    """Whether a container is up to its work."""

    running: bool
    status: str
    """What docker says, ``starting``, ``healthy`` or ``unhealthy``; empty without a check."""

    check: Tuple[str, ...]
    """The command that finds out."""


class Docker(Engine):
    """Docker keeps no manifest digests of what it loads; a tag of ours stands for each."""

    name = "docker"
    unit = "docker.service"

    def __init__(self, host: Host) -> None:
        self._host = host
        self._silent: Optional[Done] = None

    def _ask(self, words: Sequence[str]) -> Done:
        """What docker says; a daemon that hangs is asked once, since dnf may wait for us."""
        if self._silent is None:
            done = self._host.ask(["docker", *words])
            if done.status != TIMED_OUT:
                return done
            self._silent = done
        return self._silent

    def answers(self) -> bool:
        return self._ask(["version", "--format={{.Server.Version}}"]).status == 0

    def references(self, repository: str, digest: str) -> Tuple[str, ...]:
        return (kept_name(repository, digest),)

    def inspect(self, reference: str) -> Optional[LocalImage]:
        found = parsed(self._ask(["image", "inspect", reference]))
        if not found:
            return None
        image = found[0]
        return LocalImage(
            digest="", id=whole_id(image.get("Id", "")), names=tuple(image.get("RepoTags") or ())
        )

    def load(self, layout: Layout) -> Done:
        home = self._host.images / layout.name
        if layout.archive:
            return self._host.run(["docker", "load", "--quiet", f"--input={home / layout.archive}"])
        left_out = self._prefix([layer.diff_id for layer in layout.layers])
        done = self._feed(layout, left_out)
        # What was there a moment ago may have been removed meanwhile.
        return self._feed(layout, 0) if done.status and left_out else done

    def _feed(self, layout: Layout, left_out: int) -> Done:
        from containerpkg_host import stream  # with tarfile, and mostly nothing is loaded

        def write(file: "IO[bytes]") -> None:
            stream.write(file, self._host.blobs, layout, left_out)

        try:
            return self._host.feed(["docker", "load", "--quiet"], write)
        except OSError as error:  # a file went since it was hashed, for one
            return Done(1, "", f"{error.filename or 'its stream'}: {error.strerror}")

    def _prefix(self, layers: List[str]) -> int:
        """How many of ``layers``, from the first, some image in docker has in this order.

        Docker looks for a layer by everything below it, and does not open the file of one that it
        has. Its newer store, containerd's, keeps layers as they were sent and wants all of them.
        """
        if "io.containerd.snapshotter" in self._ask(["info"]).out:
            return 0
        listed = self._ask(["image", "ls", "--all", "--quiet", "--no-trunc"])
        ids = sorted(set(listed.out.split()))
        most = 0
        for image in parsed(self._ask(["image", "inspect", *ids])) if ids else []:
            have = (image.get("RootFS") or {}).get("Layers") or []
            same = 0
            while same < min(len(have), len(layers)) and have[same] == layers[same]:
                same += 1
            most = max(most, same)
        return most

    def container(self, service: str) -> Optional[Container]:
        data = self._inspected(service)
        if data is None or not _is_ours(data, service):
            return None
        return Container(
            name=data.get("Name", "").lstrip("/"),
            digest="",
            image_id=whole_id(data.get("Image", "")),
            running=bool(data.get("State", {}).get("Running")),
        )

    def make_way(self, service: str) -> Done:
        data = self._inspected(service)
        if data is None:
            return Done(0)
        if not _is_ours(data, service):
            return Done(
                1,
                "",
                f"docker has a container '{service}' that is not of {service}.service; rename it "
                f"('docker rename {service} NAME') or remove it",
            )
        return self.remove_container(service)

    def remove_container(self, service: str) -> Done:
        if self.container(service) is None:
            return Done(0)
        return self._host.run(["docker", "rm", "--force", "--volumes", service])

    def health(self, service: str) -> Health:
        """The health of a service's container."""
        data = self._inspected(service) or {}
        state = data.get("State", {})
        check = (data.get("Config", {}).get("Healthcheck") or {}).get("Test") or [""]
        return Health(
            running=bool(state.get("Running")),
            status=(state.get("Health") or {}).get("Status", ""),
            check=("/bin/sh", "-c", *check[1:]) if check[0] == "CMD-SHELL" else tuple(check[1:]),
        )

    def passes(self, service: str, check: Sequence[str]) -> bool:
        """Whether a command in a service's container succeeds now."""
        return self._host.run(["docker", "exec", service, *check]).status == 0

    def _inspected(self, service: str) -> Optional[Dict[str, Any]]:
        found = parsed(self._ask(["container", "inspect", service]))
        return found[0] if found else None

    def tag(self, image_id: str, name: str) -> Done:
        return self._host.run(["docker", "image", "tag", image_id, name])

    def remove_image(self, reference: str) -> Done:
        return self._host.run(["docker", "image", "rm", reference])

    def volumes(self) -> Tuple[str, ...]:
        return tuple(self._ask(["volume", "ls", "--quiet"]).out.split())

    def storage(self) -> Tuple[str, str]:
        done = self._ask(["info", "--format={{json .DockerRootDir}}"])
        try:
            found = json.loads(done.out)
        except ValueError:
            found = ""
        root = found or "/var/lib/docker"
        return root, root


def _is_ours(data: Dict[str, Any], service: str) -> bool:
    labels = (data.get("Config") or {}).get("Labels") or {}
    return bool(labels.get(LABEL) == f"{service}.service")
