"""``containerpkg completion``: the script that makes a shell complete commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from containerpkg.cli import options


@click.command("completion", cls=options.Command)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion_command(context: click.Context, shell: str) -> None:
    """Print the completion script for SHELL.

    \b
    Example:
      containerpkg completion bash > /etc/bash_completion.d/containerpkg
    """
    kind = get_completion_class(shell)
    assert kind is not None, "the choices are click's own"
    root = context.find_root()
    print(kind(root.command, {}, "containerpkg", "_CONTAINERPKG_COMPLETE").source())
