"""Reference pages in Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence

from docgen.commands import Command, exit_statuses, files
from docgen.keys import DESCRIPTION, Key, Page

_NOTE = "<!-- Written by scripts/generate-docs; change the source, not this file. -->"


def escaped(text: str) -> str:
    """Text as Markdown shows it: ``code`` stays code, all else loses its special meaning."""
    parts = re.split(r"``(.+?)``", text)
    plain = [re.sub(r"([\\`*_<>\[\]|~^])", r"\\\1", part) for part in parts[::2]]
    # Inside code only the bar, which ends a table's cell, needs hiding.
    code = ["`" + part.replace("|", "\\|") + "`" for part in parts[1::2]]
    return "".join(a + b for a, b in zip(plain, [*code, ""], strict=True))


def render_keys(page: Page, example: str) -> str:
    """The page of a definition file."""
    lines = [f"# {page.file}", "", _NOTE, "", f"{DESCRIPTION[page.file]}.", ""]
    for section in page.sections:
        if section.place:
            lines += [f"## `{section.place}`", "", escaped(section.meaning), ""]
        else:
            lines += ["## The file", ""]
        lines += ["| key | value | default | meaning |", "| --- | --- | --- | --- |"]
        lines += [
            f"| `{key.name}` | {_kind(key.kind)} | {_default(key)} | {escaped(key.meaning)} |"
            for key in section.keys
        ]
        lines.append("")
    lines += ["## Kinds of values", "", "| value | what it is |", "| --- | --- |"]
    lines += [f"| {kind.name} | {escaped(kind.meaning)} |" for kind in page.kinds]
    lines += ["", "## Every key in use", "", "```yaml", example.rstrip("\n"), "```", ""]
    return "\n".join(lines)


def render_commands(commands: Sequence[Command]) -> str:
    """One page for all commands."""
    lines = ["# Commands", "", _NOTE, ""]
    for command in commands:
        lines += [f"## {command.name}", "", "```console", command.synopsis, "```", ""]
        for paragraph in command.paragraphs:
            lines += [escaped(paragraph), ""]
        if command.subcommands:
            lines += ["| command | what it does |", "| --- | --- |"]
            lines += [
                f"| [{name}](#containerpkg-{name}) | {escaped(summary)} |"
                for name, summary in command.subcommands
            ]
            lines.append("")
        lines += ["| option | meaning |", "| --- | --- |"]
        lines += [
            f"| {escaped(f'``{option.typed}``')} | {escaped(option.meaning)} |"
            for option in command.options
        ]
        lines.append("")
        if command.examples:
            lines += ["```console", *command.examples, "```", ""]
    lines += ["## Exit status", "", "| status | meaning |", "| --- | --- |"]
    lines += [f"| {status} | {escaped(meaning)} |" for status, meaning in exit_statuses()]
    lines += ["", "[What to do about each](../errors.md).", ""]
    lines += ["## Files", "", "| path | what it is |", "| --- | --- |"]
    lines += [f"| `{path}` | {escaped(meaning)} |" for path, meaning in files()]
    return "\n".join([*lines, ""])


def _kind(kind: str) -> str:
    return escaped(kind.replace("*", ""))


def _default(key: Key) -> str:
    if key.required:
        return "**required**"
    return f"`{key.default}`" if key.default else ""
