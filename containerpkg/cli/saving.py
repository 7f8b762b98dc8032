"""``containerpkg save``."""

from __future__ import annotations

from pathlib import Path

import click

from containerpkg.cli import options
from containerpkg.cli.progress import shown


@click.command("save", cls=options.Command)
@click.argument(
    "names", nargs=-1, required=True, metavar="IMAGE...", shell_complete=options.complete_images
)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file to write.",
)
@click.option("--store", type=click.Path(file_okay=False, path_type=Path), help="Content store.")
@options.as_json
@click.pass_context
def save_command(
    context: click.Context,
    names: tuple[str, ...],
    output: Path,
    store: Path | None,
    as_json: bool,
) -> None:
    """Write IMAGEs from the store as one docker-archive, each layer once.

    'docker load' and 'podman load' of any age read it. The same images give the same bytes.

    \b
    Example:
      containerpkg save redis postgresql -o services.tar
    """
    from containerpkg.errors import UsageError
    from containerpkg.files import atomic
    from containerpkg.release.make import Workshop
    from containerpkg.store.export import write_archive

    # A link, like /dev/stdout, is followed: the file that it names is replaced, not the link.
    path = output.resolve()
    if path.exists() and not path.is_file():
        raise UsageError(
            f"{output} is not a regular file",
            hint="name a file: it appears when it is complete",
        )
    if not path.parent.is_dir():
        raise UsageError(f"the folder {path.parent} does not exist", hint=f"mkdir {path.parent}")
    project = options.load(context, store=store)
    images = options.select_images(project, names, with_parents=False, with_children=False)
    with shown(quiet=context.obj.quiet) as progress:
        workshop = Workshop(project, progress=progress)
        stored = workshop.stored(images)
        layers = {layer.diff_id: layer for _, held in stored for layer in held.layers}
        task = f"save {output}"
        progress.start(task, "", total=sum(layer.plain_size for layer in layers.values()))
        with workshop.store.locked(), atomic(path) as file:
            write_archive(
                workshop.store,
                {image.reference: held for image, held in stored},
                file,
                advance=lambda amount: progress.advance(task, amount),
            )
        progress.finish(task, "done", options.size(path.stat().st_size))
    if as_json:
        options.print_json(
            {
                "file": str(path),
                "bytes": path.stat().st_size,
                "images": [
                    {"image": image.name, "reference": image.reference, "id": held.id}
                    for image, held in stored
                ],
            }
        )
