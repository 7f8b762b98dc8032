"""What is known of a Dockerfile once it is read: stages, images named, arguments, secrets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One FROM and what follows it."""

    index: int
    name: str
    """In lower case; empty if it has none."""

    base: str
    """After substitution: an image reference, ``scratch``, or the name of an earlier stage."""

    base_stage: int | None
    """The index of the earlier stage that ``base`` names."""

    platform: str
    """What ``--platform`` says, after substitution; empty without one."""

    line: int


@dataclass(frozen=True, kw_only=True)
class ImageUse:
    """A place where an image is named that is not a stage of the same Dockerfile."""

    reference: str
    """As written, after substitution."""

    instruction: Literal["FROM", "COPY", "RUN"]
    line: int
    stage: int
    """The index of the stage it stands in."""


@dataclass(frozen=True, kw_only=True)
class Argument:
    """One name that an ARG declares."""

    name: str
    default: str | None
    """As written; None without one."""

    line: int
    stage: int | None
    """The index of the stage it stands in; None before the first FROM."""


@dataclass(frozen=True, kw_only=True)
class Volume:
    """A directory that a VOLUME instruction declares."""

    path: str
    line: int
    stage: int
    """The index of the stage it stands in."""


@dataclass(frozen=True, kw_only=True)
class Dockerfile:
    """A Dockerfile, read for one set of build arguments."""

    path: Path
    stages: tuple[Stage, ...]
    """At least one; the last is the image."""

    uses: tuple[ImageUse, ...]
    """Every image named, in the order of the lines."""

    onbuild_uses: tuple[ImageUse, ...] = ()
    """Images that the last stage's ONBUILD instructions name: the builds of its children read
    them, unless the child has a stage of that name."""

    arguments: tuple[Argument, ...] = ()
    secrets: tuple[str, ...] = ()
    """Identifiers that ``RUN --mount=type=secret`` names, sorted."""

    volumes: tuple[Volume, ...] = ()
    """What the last stage declares as VOLUME, as far as it is known before a build."""

    buildkit_features: tuple[str, ...] = ()
    """What only BuildKit can build, for example ``RUN --mount``, sorted."""

    @property
    def needs_buildkit(self) -> bool:
        """Whether the classic builder would refuse or misread it."""
        return bool(self.buildkit_features)
