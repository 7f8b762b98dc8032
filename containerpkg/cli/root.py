"""The command group; a command's module is imported when the command is used, not before."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import click

from containerpkg import __version__
from containerpkg.cli.closing import reader_may_leave
from containerpkg.errors import UsageError

# Help is shown without importing the commands, so their first lines stand here.
_COMMANDS = {
    "bundle": ("bundling", "Make one file of the repository, to be carried in."),
    "build": ("building", "Build images, parents before children, into the store."),
    "check": ("inspecting", "Find everything that is wrong without building."),
    "completion": ("completing", "Print a shell completion script."),
    "graph": ("inspecting", "Show which image is built from which."),
    "list": ("inspecting", "List the images of the project."),
    "lock": ("locking", "Write down the commits and digests that builds take."),
    "make": ("making", "Build, package and publish: all in one go."),
    "package": ("making", "Package images that are in the store."),
    "save": ("saving", "Write images from the store as one docker-archive."),
    "schema": ("inspecting", "Print the JSON Schema of a definition file."),
    "verify": ("verifying", "Check packages from the signature to the layers."),
}

_EPILOG = """\b
Examples:
  containerpkg make                 build what changed, publish out/repo
  containerpkg make --dry-run       say what would be done, and why
  containerpkg graph --format dot   draw the images and their parents

Exit status: 0 done, 1 other failure, 2 usage, 3 definition, 4 missing tool,
5 engine, 6 build, 7 store, 8 package, 9 repository, 10 this machine,
11 in use by another run, 12 source, 13 not as locked, 130 interrupted.
"""


class _Lazy(click.Group):
    def make_context(self, *args: Any, **options: Any) -> click.Context:
        with reader_may_leave():
            return super().make_context(*args, **options)

    def invoke(self, ctx: click.Context) -> Any:
        with reader_may_leave():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"containerpkg.cli.{_COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib

            near = difflib.get_close_matches(args[0], _COMMANDS, n=1)
            hint = f"did you mean '{near[0]}'?" if near else "containerpkg --help"
            raise UsageError(f"there is no command '{args[0]}'", hint=hint) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in sorted(_COMMANDS.items())])


class Settings:
    """What the options before the command say."""

    def __init__(self, *, folder: Path, quiet: bool) -> None:
        self.folder = folder
        self.quiet = quiet


@click.group(
    cls=_Lazy,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="containerpkg")
@click.option(
    "-C",
    "--directory",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=".",
    help="Work on the project in this folder or above it.",
)
@click.option("-q", "--quiet", is_flag=True, help="Print results and errors alone.")
@click.option("--debug", is_flag=True, help="Show a traceback with an error.")
@click.pass_context
def cli(context: click.Context, directory: Path, quiet: bool, debug: bool) -> None:
    """Build container images and publish them as packages in a yum repository."""
    context.obj = Settings(folder=directory, quiet=quiet)
