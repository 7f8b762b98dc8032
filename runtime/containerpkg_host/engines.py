"""The engine of each flavour of units."""

from typing import NamedTuple

from containerpkg_host.docker import Docker
from containerpkg_host.engine import Engine
from containerpkg_host.host import Host
from containerpkg_host.layout import Layout
from containerpkg_host.podman import Podman


class Engines(NamedTuple):
    """Both may be there; an image belongs to the one that its units run."""

    podman: Podman
    docker: Docker

    def of(self, layout: Layout) -> Engine:
        """The engine that runs an image."""
        return self.named(layout.engine)

    def named(self, name: str) -> Engine:
        """The engine called ``podman`` or ``docker``."""
        return self.docker if name == "docker" else self.podman


def engines(host: Host) -> Engines:
    """The engines of a host, there or not."""
    return Engines(Podman(host), Docker(host))
