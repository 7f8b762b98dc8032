"""``containerpkg bundle``."""

from __future__ import annotations

import re
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from containerpkg.cli import options
from containerpkg.cli.progress import shown
from containerpkg.errors import UsageError

if TYPE_CHECKING:
    from containerpkg.repository.archive import Format

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


class _Size(click.ParamType[int]):
    """Bytes, or with K, M or G behind them powers of 1024, as split(1) has them."""

    name = "size"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"(\d+)([KMG]?)", str(value).strip().upper())
        if not match or int(match[1]) == 0:
            self.fail(f"{value!r} is not a size such as 4000M or 4G", param, ctx)
        return int(match[1]) * _UNITS[match[2]]


@click.command("bundle", cls=options.Command)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="The file to write, or a folder for it.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["tar", "iso"]),
    help="What to write: by default what the file's name says, and else tar.",
)
@click.option(
    "--split",
    type=_Size(),
    metavar="SIZE",
    help="Cut it into FILE.001 and so on, each of at most SIZE (4000M, 4G).",
)
@click.option(
    "--since",
    metavar="LIST",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Leave out the packages in this list, which the site has.",
)
@click.option("--all", "everything", is_flag=True, help="Take older packages too.")
@click.option(
    "--repository",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="The repository; by default that of the project.",
)
@options.sign
@options.as_json
@click.pass_context
def bundle_command(
    context: click.Context,
    output: Path,
    form: Format | None,
    split: int | None,
    since: Path | None,
    everything: bool,
    folder: Path | None,
    sign: str | None,
    as_json: bool,
) -> None:
    """Make one file of the repository, to be carried to a site without a network.

    It holds the newest package of each image, the packages of layers that those require, metadata
    of just these, the public key, checksums and a README.txt for the administrator. The same
    repository gives the same bytes.

    The LIST for --since is made at the site, one NAME-VERSION-RELEASE.ARCH on a line:

    \b
      rpm -qa 'oci-layer-*' '*-container' 'containerpkg-*' | sort > site.txt

    \b
    Examples:
      containerpkg bundle -o site.iso
      containerpkg bundle -o /run/media/stick --split 4000M --since site.txt
    """
    from containerpkg.packages import signing
    from containerpkg.release.make import REPOSITORY
    from containerpkg.repository import archive, bundle
    from containerpkg.repository.metadata import revision_of

    project = options.load(context, sign=sign)
    repository = project.file.repository
    folder = folder or project.output / REPOSITORY
    installed: frozenset[str] = frozenset()
    if since:
        installed = bundle.parse_installed(since.read_text("utf-8-sig", "replace"), str(since))
    selection = bundle.select(folder, everything=everything, installed=installed)
    revision = revision_of(folder / "repodata")
    if form is None:
        form = "iso" if output.suffix == ".iso" else "tar"
    if output.is_dir():
        output = output / f"{repository.id.replace(':', '-')}-{revision}.{form}"
    elif output.exists() and not output.is_file():
        raise UsageError(f"{output} is not a regular file", hint="name a file or a folder")
    chosen = project.file.signing
    opened = (
        signing.opened(chosen, project.root)
        if chosen and not selection.whole
        else nullcontext(None)
    )
    task = f"bundle {output}"
    with (
        shown(quiet=context.obj.quiet) as progress,
        opened as signer,
        bundle.entries(
            folder, selection, repository, signs=chosen is not None, signer=signer
        ) as files,
    ):
        progress.start(task, "", total=sum(file.size for file in files))
        written = archive.write_bundle(
            files,
            output,
            form=form,
            top=repository.id,
            time=revision,
            split=split,
            advance=lambda amount: progress.advance(task, amount),
        )
        total = sum(path.stat().st_size for path in written)
        progress.finish(task, "done", options.size(total))
    if as_json:
        options.print_json(
            {
                "files": [str(path) for path in written],
                "bytes": total,
                "packages": sorted(Path(p.location_href).name for p in selection.packages),
                "left_out": list(selection.left_out),
            }
        )
        return
    out = f", {len(selection.left_out)} left out" if selection.left_out else ""
    print(f"{options.counted(len(selection.packages), 'package')}{out}, {options.size(total)}:")
    for path in written:
        print(path)
