"""The lock: what it says of a project's sources and bases, and whether that is still so."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence

from containerpkg import process
from containerpkg.definitions.edges import find_uses
from containerpkg.definitions.lock import LockedSource, LockFile
from containerpkg.definitions.project import Image, Project
from containerpkg.definitions.reference import Reference
from containerpkg.errors import DriftError, ToolError

# A build takes what the engine has; these know of it where it came from.
_ENGINES = ("docker", "podman")


def plan_lock(
    project: Project,
    images: Sequence[Image],
    old: LockFile | None,
    *,
    run: process.Run = process.run,
) -> LockFile:
    """The lock with ``images`` as they are now, and with what ``old`` has of the other images."""
    selected = {image.name for image in images}
    others = [image for image in project.images if image.name not in selected]
    old = old or LockFile()
    sources = {
        image.name: old.sources[image.name]
        for image in others
        if image.file.source and image.name in old.sources
    }
    for image in images:
        if tree := image.tree:
            sources[image.name] = LockedSource(
                origin=tree.origin, ref=tree.ref, revision=tree.revision
            )
    bases: dict[str, str | None] = {
        reference: old.bases[reference]
        for reference in external_bases(project, others)
        if reference in old.bases
    }
    for reference in external_bases(project, images):
        bases[reference] = find_digest(reference, run=run)
    return LockFile(sources=sources, bases=bases)


def external_bases(project: Project, images: Sequence[Image]) -> tuple[str, ...]:
    """References of images from outside the project that ``images`` name, sorted."""
    uses = find_uses(project.images)
    return tuple(sorted({use.reference for image in images for use in uses[image.name].external}))


def check_bases(
    lock: LockFile, project: Project, images: Sequence[Image], *, run: process.Run = process.run
) -> Iterator[str]:
    """Say of each base whose digest the lock has not that it cannot be checked.

    Raises :class:`DriftError` for one that is another image now, that the lock does not name, or
    of which nobody can say what it is now.
    """
    for reference in external_bases(project, images):
        hint = "containerpkg lock"
        if reference not in lock.bases:
            raise DriftError(f"containerpkg.lock has nothing of the image {reference}", hint=hint)
        wanted = lock.bases[reference]
        if wanted is None:
            yield (
                f"{reference}: its digest was not known when containerpkg.lock was written, so "
                "nobody checks that it is the same image"
            )
            continue
        found = find_digest(reference, run=run)
        if found == wanted:
            continue
        pull = f"{Reference.parse(reference).repository}@{wanted}"
        if found is None:
            raise DriftError(
                f"the image {reference} is locked to {wanted}, and neither an engine nor skopeo "
                "can say what it is now",
                hint=f"take that image: docker pull {pull} && docker tag {pull} {reference}",
            )
        raise DriftError(
            f"the image {reference} is {found} now, and containerpkg.lock has {wanted}",
            hint=f"containerpkg lock, or take the old one: docker pull {pull} && "
            f"docker tag {pull} {reference}",
        )


def find_digest(reference: str, *, run: process.Run = process.run) -> str | None:
    """The digest of an image in its registry, or None where nobody knows it.

    That is what an engine pulled, where one has the image, since its builds take that; else what
    skopeo finds in the registry. An image that was built or loaded has none.
    """
    parsed = Reference.parse(reference)
    if parsed.digest:
        return parsed.digest
    for engine in _ENGINES:
        if shutil.which(engine) is None:
            continue
        try:
            found = run(
                [engine, "image", "inspect", "--format={{json .RepoDigests}}", reference]
            ).stdout
        except process.CommandFailed:
            continue
        for name in json.loads(found) or ():
            known = Reference.parse(name)
            if known.repository == parsed.repository:
                return known.digest
        return None
    try:
        argv = ["skopeo", "inspect", "--no-tags", "--format={{.Digest}}", f"docker://{reference}"]
        return run(argv).stdout.strip()
    except (process.CommandFailed, ToolError):
        return None
