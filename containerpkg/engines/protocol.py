"""What containerpkg asks of a container engine, and nothing more."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from containerpkg.definitions.dockerfile_model import Feature
from containerpkg.definitions.project import Secret
from containerpkg.sources.context import Context


@dataclass(frozen=True, kw_only=True)
class BuildRequest:
    """One image to build."""

    image: str
    """The image's name, for messages."""

    context: Context
    generated: Path | None
    """A folder with the files of the prepare step, or None."""

    tags: tuple[str, ...]
    args: Mapping[str, str]
    network: str
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    """Secret identifier → where its value comes from; files are absolute paths."""

    features: tuple[Feature, ...] = ()
    """What the Dockerfile uses that not every builder knows, by line."""

    no_cache: bool = False

    def place(self, feature: Feature) -> str:
        """A feature with its place, for messages: ``heredoc (Dockerfile:3)``."""
        return f"{feature.name} ({self.context.dockerfile}:{feature.line})"


@dataclass(frozen=True, kw_only=True)
class EngineImage:
    """An image as an engine describes it."""

    id: str
    """What the engine calls it, ``sha256:`` and 64 hexadecimal digits: the digest of the image's
    configuration, or of its manifest or index in an engine with containerd's image store."""

    diff_ids: tuple[str, ...]
    """The digests of its uncompressed layers, lowest first."""

    size: int
    """Bytes of all layers, uncompressed."""

    architecture: str
    """As OCI names it, without its variant."""


class ByteStream(Protocol):
    """What can be read from."""

    def read(self, amount: int, /) -> bytes:
        """At most ``amount`` bytes; none at the end."""


class Engine(Protocol):
    """A container engine. Every method raises EngineError if the engine does not answer."""

    def check(self) -> None:
        """Raise EngineError or ToolError if the engine does not work."""

    def builder(self) -> str:
        """Which builder :meth:`build` uses, and why, in a few words."""

    def build(self, request: BuildRequest, on_line: Callable[[str], None]) -> str:
        """Build an image, handing over each line that the builder prints; give its ID.

        Raises BuildError with the builder's last lines.
        """

    def inspect(self, reference: str) -> EngineImage | None:
        """The image that ``reference`` (a tag or an ID) names, or None."""

    def save(self, image_ids: Sequence[str]) -> AbstractContextManager[ByteStream]:
        """One stream with all these images, in docker-archive or OCI layout form."""

    def load(self, chunks: AbstractContextManager[ByteStream]) -> None:
        """Load a docker-archive stream of one image with its names."""

    def tag(self, image_id: str, reference: str) -> None:
        """Give an image one more name."""
