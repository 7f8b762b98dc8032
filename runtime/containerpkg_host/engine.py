"""What is asked of a container engine."""

import json
from abc import ABC, abstractmethod
from typing import Any, List, NamedTuple, Optional, Tuple

from containerpkg_host.door import Done
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
    """Of its manifest; empty if the engine does not say."""

    id: str
    names: Tuple[str, ...]
    """Its references with a tag."""


class Engine(ABC):
    """A container engine on this host."""

    name = ""
    unit = ""
    """The service of the engine; empty for one that has no daemon."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether it can be asked at all, so that "not there" means that."""

    @abstractmethod
    def references(self, repository: str, digest: str) -> Tuple[str, ...]:
        """What only one content is called, by which a unit can run it, the best first."""

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
    def make_way(self, service: str) -> Done:
        """Before a start: remove what a crash has left of the service, and nothing else."""

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
    def volumes(self) -> Tuple[str, ...]:
        """The names of all volumes; none if the engine does not answer."""

    @abstractmethod
    def storage(self) -> Tuple[str, str]:
        """The folder that images are unpacked to, and the one for work on the way there."""


def parsed(done: Done) -> List[Any]:
    """What an ``inspect`` has printed; empty if it failed."""
    if done.status:
        return []
    try:
        found = json.loads(done.out)
    except ValueError:
        return []
    return found if isinstance(found, list) else []


def whole_id(number: str) -> str:
    """An ID with its ``sha256:``, which some programs leave out."""
    return number if not number or ":" in number else f"sha256:{number}"
