"""From the names on a command line to images in build order."""

from __future__ import annotations

import fnmatch
from collections.abc import Collection, Sequence

from containerpkg.definitions import graph
from containerpkg.definitions.project import Image, Project
from containerpkg.definitions.text import suggestion
from containerpkg.errors import UsageError


def select(
    project: Project,
    names: Sequence[str] = (),
    *,
    with_parents: bool = False,
    with_children: bool = False,
) -> tuple[Image, ...]:
    """The images that ``names`` mean, in build order; all of them for no names.

    A name may be a pattern (``foreman*``). Raises :class:`UsageError` for a name that no image has.
    """
    if not names:
        return project.images
    known = tuple(image.name for image in project.images)
    chosen: set[str] = set()
    for name in names:
        chosen.update(_matching(name, known))
    parents = {image.name: image.parents for image in project.images}
    wanted = set(chosen)
    if with_parents:
        wanted |= graph.ancestors(parents, chosen)
    if with_children:
        wanted |= graph.descendants(parents, chosen)
    return tuple(image for image in project.images if image.name in wanted)


def _matching(name: str, known: Collection[str]) -> Collection[str]:
    if name in known:
        return (name,)
    if any(character in name for character in "*?["):
        found = fnmatch.filter(known, name)
        if found:
            return found
        raise UsageError(f"no image matches '{name}'", hint="'containerpkg list' shows every image")
    hint = suggestion(name, known, all_known="images")
    raise UsageError(f"there is no image '{name}'", hint=hint or None)
