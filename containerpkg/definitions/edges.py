"""Which images of a project a Dockerfile is built from, and where it says so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from containerpkg.definitions.dockerfile import Dockerfile, ImageUse
from containerpkg.definitions.project import Image
from containerpkg.definitions.reference import Reference


@dataclass(frozen=True, kw_only=True, order=True)
class Edge:
    """``child`` is built from ``parent`` because of one instruction."""

    child: str
    parent: str
    instruction: str
    """FROM, COPY or RUN, with ONBUILD before it where the parent's Dockerfile says it."""

    reference: str
    """As written, after substitution."""

    path: Path
    line: int


@dataclass(frozen=True, kw_only=True)
class Uses:
    """The images that one image's Dockerfile names: the project's own, and all others."""

    edges: tuple[Edge, ...]
    external: tuple[ImageUse, ...]


def plan_uses(
    dockerfiles: Mapping[str, Dockerfile], repositories: Mapping[str, str]
) -> dict[str, Uses]:
    """Tell for each image what it is built from.

    ``dockerfiles`` has the name of each image, ``repositories`` the repositories of the project's
    images with their names. An image also needs what its base's ONBUILD instructions name.
    """
    names = {_repository(repository): name for repository, name in repositories.items()}
    found: dict[str, Uses] = {}
    for child, dockerfile in dockerfiles.items():
        edges: list[Edge] = []
        external: list[ImageUse] = []
        for use in dockerfile.uses:
            parent = names.get(_repository(use.reference))
            if parent is None:
                external.append(use)
                continue
            edges.append(_edge(child, parent, use, dockerfile.path))
            base = dockerfiles.get(parent)
            if use.instruction != "FROM" or base is None:
                continue
            stages = {stage.name for stage in dockerfile.stages}
            for trigger in base.onbuild_uses:
                if trigger.reference.lower() in stages:
                    continue
                needed = names.get(_repository(trigger.reference))
                if needed is not None:
                    edges.append(_edge(child, needed, trigger, base.path, onbuild=True))
        found[child] = Uses(edges=tuple(edges), external=tuple(external))
    return found


def find_uses(images: Iterable[Image]) -> dict[str, Uses]:
    """:func:`plan_uses` for loaded images, by name."""
    known = tuple(images)
    return plan_uses(
        {image.name: image.dockerfile for image in known},
        {image.repository: image.name for image in known},
    )


def _repository(reference: str) -> str:
    return Reference.parse(reference).repository


def _edge(child: str, parent: str, use: ImageUse, path: Path, *, onbuild: bool = False) -> Edge:
    return Edge(
        child=child,
        parent=parent,
        instruction=f"ONBUILD {use.instruction}" if onbuild else use.instruction,
        reference=use.reference,
        path=path,
        line=use.line,
    )
