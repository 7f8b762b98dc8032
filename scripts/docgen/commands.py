"""From click's commands to what a manual says of each, and the tables that all of them share."""

from __future__ import annotations

import inspect
from dataclasses import dataclass

import click

from containerpkg import errors
from containerpkg.cli.root import cli
from containerpkg.definitions.project import ProjectFile
from containerpkg.definitions.reading import DOCKERFILES, IMAGE_FILE, IMAGES, PROJECT_FILE
from containerpkg.release.make import REPOSITORY
from containerpkg.repository.metadata import PACKAGES


@dataclass(frozen=True, kw_only=True)
class Option:
    """One option: how it is typed, and what it does."""

    typed: str
    meaning: str


@dataclass(frozen=True, kw_only=True)
class Command:
    """One command with all its parts in plain text."""

    name: str
    """As it is typed: ``containerpkg make``."""

    summary: str
    synopsis: str
    paragraphs: tuple[str, ...]
    options: tuple[Option, ...]
    examples: tuple[str, ...]
    """Command lines, some with a remark behind them."""

    subcommands: tuple[tuple[str, str], ...] = ()

    @property
    def page(self) -> str:
        """The name of its manual page."""
        return self.name.replace(" ", "-")


def load_commands() -> tuple[Command, ...]:
    """The group itself, then its commands by name."""
    context = click.Context(cli, info_name="containerpkg", **cli.context_settings)
    found = []
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None, "the group lists it"
        found.append(_command(command, click.Context(command, info_name=name, parent=context)))
    below = tuple((command.name.split()[-1], command.summary) for command in found)
    return (_command(cli, context, below), *found)


def _command(
    command: click.Command, context: click.Context, below: tuple[tuple[str, str], ...] = ()
) -> Command:
    paragraphs: list[str] = []
    examples: list[str] = []
    for block in f"{command.help or ''}\n\n{command.epilog or ''}".split("\n\n"):
        lines = block.replace("\b", "").strip().splitlines()
        if not lines or lines[0].startswith("Exit status:"):
            continue  # it has a section of its own
        if lines[0] in {"Example:", "Examples:"}:
            examples += [line.strip() for line in lines[1:]]
        else:
            paragraphs.append(" ".join(line.strip() for line in lines))
    options = [
        Option(typed=record[0], meaning=_meaning(parameter, context))
        for parameter in command.get_params(context)
        if isinstance(parameter, click.Option) and (record := parameter.get_help_record(context))
    ]
    usage = " ".join(command.collect_usage_pieces(context))
    summary = paragraphs[0].partition(". ")[0].removesuffix(".")
    return Command(
        name=context.command_path,
        summary=summary,
        synopsis=f"{context.command_path} {usage}",
        paragraphs=tuple(paragraphs),
        options=tuple(options),
        examples=tuple(examples),
        subcommands=below,
    )


def _meaning(option: click.Option, context: click.Context) -> str:
    """The help of an option, and in words what click would put in brackets behind it."""
    parts = [(option.help or "").removesuffix(".")]
    if option.required:
        parts.append("required")
    if isinstance(option.type, click.IntRange):
        parts.append(f"{option.type.min} to {option.type.max}")
    if default := option.get_help_extra(context).get("default"):
        parts.append(f"by default {default.strip('()')}")
    return "; ".join(parts)


def exit_statuses() -> tuple[tuple[int, str], ...]:
    """Every exit status and its meaning, from the error family."""
    family = {
        value.exit_status: (inspect.getdoc(value) or "").split("\n")[0].partition(";")[0]
        for _, value in inspect.getmembers(errors, inspect.isclass)
        if issubclass(value, errors.ContainerpkgError)
        if value is not errors.ContainerpkgError
    }
    fixed = {
        0: "Done; 'check' found no errors.",
        1: "Another failure.",
        130: "Interrupted by Ctrl-C; the next run goes on where this one stopped.",
        141: "The reader of the output (a pager, head) ended before it was complete.",
    }
    said = {status: f"{text.rstrip('.')}." for status, text in (fixed | family).items()}
    return tuple(sorted(said.items()))


def files() -> tuple[tuple[str, str], ...]:
    """The files and folders of a project."""
    output = ProjectFile.model_fields["output"].default
    store = ProjectFile.model_fields["store"].default
    return (
        (PROJECT_FILE, "The project's settings; its folder is the project's root."),
        (f"{IMAGES}/NAME/{IMAGE_FILE}", "The definition of the image NAME."),
        (f"{IMAGES}/NAME/{DOCKERFILES[0]}", f"How it is built; {DOCKERFILES[1]} is another name."),
        ("spec-templates/, systemd/", "Templates that replace those of containerpkg."),
        (f"{store}/", "The content store; 'store:' and --store choose another place."),
        (f"{store}/logs/NAME.log", "What the last build of the image NAME printed."),
        (f"{output}/{REPOSITORY}/", "The yum repository; 'output:' and --output move it."),
        (f"{output}/{REPOSITORY}/{PACKAGES}/", "The packages."),
    )
