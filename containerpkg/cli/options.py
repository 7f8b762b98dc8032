"""Options and helpers that several commands share."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

from containerpkg.errors import UsageError

if TYPE_CHECKING:
    from containerpkg.definitions.project import Image, Project
    from containerpkg.progress import Progress
    from containerpkg.release.opening import Sourcing

# Wider than any table: what is not shown to a person is never cut.
_WIDTH_OF_FILES = 100_000

Function = TypeVar("Function", bound=Callable[..., Any])


class Command(click.Command):
    """A command that takes the options of the whole program behind its name too."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += [
            click.Option(
                ["-q", "--quiet"],
                is_flag=True,
                expose_value=False,
                callback=_set_quiet,
                help="Print results and errors alone.",
            ),
            click.Option(
                ["--debug"],
                is_flag=True,
                expose_value=False,
                help="Show a traceback with an error.",
            ),
        ]


def _set_quiet(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and context.obj:
        context.obj.quiet = True


def complete_images(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Names of image folders; reads no file, since completion must be quick."""
    start = Path((context.parent and context.parent.params.get("directory")) or ".").absolute()
    for folder in (start, *start.parents):
        if (folder / "containerpkg.yaml").is_file():
            names = sorted(path.name for path in (folder / "images").glob("*") if path.is_dir())
            return [CompletionItem(name) for name in names if name.startswith(incomplete)]
    return []


def selection(command: Function) -> Function:
    """``[IMAGE]...``, ``--with-parents`` and ``--with-children``."""
    for decorate in (
        click.option("--with-children", is_flag=True, help="And every image built from them."),
        click.option("--with-parents", is_flag=True, help="And every image they are built from."),
        click.argument("names", nargs=-1, metavar="[IMAGE]...", shell_complete=complete_images),
    ):
        command = decorate(command)
    return command


def places(command: Function) -> Function:
    """``--target``, ``--output`` and ``--store``."""
    folder = click.Path(file_okay=False, path_type=Path)
    for decorate in (
        click.option("--target", metavar="NAME", help="Family of hosts to make packages for."),
        click.option("--store", type=folder, help="Folder of the content store."),
        click.option("-o", "--output", type=folder, help="Folder for what is published."),
    ):
        command = decorate(command)
    return command


sign = click.option(
    "--sign",
    metavar="KEY",
    help="Sign packages and metadata with this GnuPG key, whatever 'signing:' says.",
)


def building(command: Function) -> Function:
    """How images are built."""
    for decorate in (
        click.option(
            "--engine",
            type=click.Choice(["docker", "podman", "buildah", "auto"]),
            help="Who builds the images, whatever 'build.engine' says.",
        ),
        click.option("--no-cache", is_flag=True, help="Build anew without the builder's cache."),
        click.option(
            "-j",
            "--jobs",
            type=click.IntRange(1, 64),
            default=min(4, os.cpu_count() or 1),
            show_default="processors, at most 4",
            metavar="NUMBER",
            help="Images built side by side.",
        ),
    ):
        command = decorate(command)
    return command


def _folders(
    context: click.Context, parameter: click.Parameter, values: Sequence[str]
) -> dict[str, Path]:
    found = {}
    for value in values:
        name, separator, path = value.partition("=")
        if not (name and separator and path):
            raise UsageError(f"--source {value}: must be NAME=PATH", hint="--source shop=../shop")
        found[name] = Path(path).absolute()
    return found


def sources(command: Function) -> Function:
    """``--source`` and ``--locked``."""
    for decorate in (
        click.option(
            "--locked", is_flag=True, help="Take what containerpkg.lock says, and nothing else."
        ),
        click.option(
            "--source",
            "folders",
            multiple=True,
            metavar="NAME=PATH",
            callback=_folders,
            help="Build image NAME from a folder instead of its source; may be given again.",
        ),
    ):
        command = decorate(command)
    return command


def sourcing(folders: dict[str, Path], *, locked: bool, asking: bool = True) -> Sourcing:
    """What ``--source`` and ``--locked`` say; raises :class:`UsageError` for both together."""
    from containerpkg.release.opening import Sourcing

    if folders and locked:
        raise UsageError("--locked does not go with --source", hint="leave one of them away")
    return Sourcing(folders=folders, locked=locked, asking=asking)


force = click.option("--force", is_flag=True, help="Build even what has not changed.")
dry_run = click.option("--dry-run", is_flag=True, help="Show the plan and its reasons, do nothing.")
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")


def load(
    context: click.Context,
    *,
    output: Path | None = None,
    store: Path | None = None,
    sign: str | None = None,
    target: str | None = None,
    engine: str | None = None,
) -> Project:
    """The project of this command line, with what it names in place of what the files say."""
    from containerpkg.release.opening import open_project

    if target:
        known_target(target)
    project = open_project(context.obj.folder, store=store.absolute() if store else None)
    return _changed(project, output=output, store=store, sign=sign, target=target, engine=engine)


def load_images(
    context: click.Context,
    names: Sequence[str],
    sourcing: Sourcing,
    *,
    with_parents: bool,
    with_children: bool,
    progress: Progress,
    output: Path | None = None,
    store: Path | None = None,
    sign: str | None = None,
    target: str | None = None,
    engine: str | None = None,
) -> tuple[Project, tuple[Image, ...]]:
    """As :func:`load` and :func:`select_images`, with the images' sources as they are now."""
    from containerpkg.release.opening import open_images

    if target:
        known_target(target)
    project, images = open_images(
        context.obj.folder,
        lambda project: select_images(
            project, names, with_parents=with_parents, with_children=with_children
        ),
        sourcing,
        progress=progress,
        store=store.absolute() if store else None,
    )
    return _changed(
        project, output=output, store=store, sign=sign, target=target, engine=engine
    ), images


def _changed(
    project: Project,
    *,
    output: Path | None,
    store: Path | None,
    sign: str | None,
    target: str | None,
    engine: str | None,
) -> Project:
    from containerpkg.definitions.project import Signing

    changes: dict[str, object] = {
        key: str(path.absolute()) for key, path in (("output", output), ("store", store)) if path
    }
    if target:
        changes["target"] = target
    if sign:
        signing = project.file.signing or Signing(key=sign)
        changes["signing"] = signing.model_copy(update={"key": sign})
    if engine:
        changes["build"] = project.file.build.model_copy(update={"engine": engine})
    if not changes:
        return project
    from dataclasses import replace

    return replace(project, file=project.file.model_copy(update=changes))


def known_target(name: str) -> str:
    """``name``, if it is that of a target; raises :class:`UsageError`."""
    from containerpkg.definitions.text import suggestion
    from containerpkg.packages.targets import TARGETS

    if name not in TARGETS:
        hint = suggestion(name, TARGETS, all_known="targets")
        raise UsageError(f"there is no target '{name}'", hint=hint)
    return name


def select_images(
    project: Project, names: Sequence[str], *, with_parents: bool, with_children: bool
) -> tuple[Image, ...]:
    """The images that a command is about; all of them if none is named."""
    from containerpkg.definitions.selection import select

    return select(project, names, with_parents=with_parents, with_children=with_children)


def print_json(data: object) -> None:
    """The one form of every ``--json`` output."""
    json.dump(data, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, shrinking: Sequence[str] = ()
) -> None:
    """Columns with a headline; on a narrow terminal those in ``shrinking`` are cut."""
    from rich.console import Console
    from rich.table import Table

    console = Console(
        width=None if sys.stdout.isatty() else _WIDTH_OF_FILES,
        highlight=False,
        markup=False,
        emoji=False,
    )
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        width = max(len(row[number]) if number < len(row) else 0 for row in [columns, *rows])
        least = None if column in shrinking else width
        table.add_column(column, no_wrap=True, overflow="ellipsis", min_width=least)
    for row in rows:
        table.add_row(*row)
    with console.capture() as capture:
        console.print(table)
    print("\n".join(line.rstrip() for line in capture.get().splitlines()))


def counted(number: int, noun: str) -> str:
    """``1 image``, ``2 images``"""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def size(amount: int) -> str:
    """Bytes for people, in powers of a thousand, as dnf shows them."""
    value = float(amount)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return f"{amount} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError("the last unit takes everything")
