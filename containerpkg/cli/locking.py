"""``containerpkg lock``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from containerpkg.cli import options
from containerpkg.cli.progress import shown

if TYPE_CHECKING:
    from containerpkg.definitions.lock import LockFile


@click.command("lock", cls=options.Command)
@options.selection
@click.option("--store", type=click.Path(file_okay=False, path_type=Path), help="Content store.")
@options.as_json
@click.pass_context
def lock_command(
    context: click.Context,
    names: tuple[str, ...],
    with_parents: bool,
    with_children: bool,
    store: Path | None,
    as_json: bool,
) -> None:
    """Write down the commits of sources and the digests of bases that IMAGEs, or all, have now.

    Sources are fetched. The file is containerpkg.lock beside containerpkg.yaml: 'build --locked'
    and 'make --locked' take what it says, and fail if that is not to be had any more. An image
    that is not named keeps its entries.

    \b
    Example:
      containerpkg lock && git add containerpkg.lock
    """
    from containerpkg.definitions.lock import load_lock, write_lock
    from containerpkg.release.locking import plan_lock
    from containerpkg.release.opening import Sourcing

    with shown(quiet=context.obj.quiet) as progress:
        project, images = options.load_images(
            context,
            names,
            Sourcing(),
            with_parents=with_parents,
            with_children=with_children,
            store=store,
            progress=progress,
        )
        old = load_lock(project.root)
        lock = plan_lock(project, images, old)
        for reference in sorted(name for name, digest in lock.bases.items() if digest is None):
            progress.note(
                f"{reference}: its digest is not known: no engine has pulled it, and skopeo "
                "does not reach its registry"
            )
        if lock != old:
            write_lock(project.root, lock)
    if as_json:
        options.print_json(lock.model_dump())
        return
    options.print_table(("LOCKED", "WHAT", "IS"), _rows(lock), shrinking=("WHAT",))


def _rows(lock: LockFile) -> list[tuple[str, str, str]]:
    sources = [
        (name, f"{locked.ref} of {locked.origin}", locked.revision)
        for name, locked in sorted(lock.sources.items())
    ]
    bases = [(name, "image", digest or "unknown") for name, digest in sorted(lock.bases.items())]
    return [*sources, *bases]
