"""Dockerfile text becomes instructions: flags, words and lines, without any meaning yet.

BuildKit's own parser does the reading (the library ``dockerfile`` wraps it); what it leaves out,
the place of a syntax error and the flags behind ONBUILD, is found here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import dockerfile

from containerpkg.definitions.text import suggestion
from containerpkg.errors import DefinitionError, Problem

INSTRUCTIONS = (
    "ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL",
    "MAINTAINER", "ONBUILD", "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR",
)  # fmt: skip

_DIRECTIVE = re.compile(r"#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*")
_ONBUILD = re.compile(r"\s*ONBUILD\s*", re.IGNORECASE)
_NO_INSTRUCTIONS = "file with no instructions"


@dataclass(frozen=True, kw_only=True)
class Instruction:
    """One instruction; ``name`` is in capitals, ``line`` is its first, counted from 1."""

    name: str
    line: int
    flags: tuple[str, ...] = ()
    """As written, for example ``--from=builder``."""

    words: tuple[str, ...] = ()
    heredoc: bool = False
    onbuild: bool = False
    """Whether it stands behind ONBUILD, to be run in the builds of other images."""

    def values(self, flag: str) -> tuple[str, ...]:
        """What each ``--flag=VALUE`` of that name says; a flag without ``=`` is left out."""
        prefix = f"--{flag}="
        return tuple(item.removeprefix(prefix) for item in self.flags if item.startswith(prefix))

    def has(self, flag: str) -> bool:
        """Whether ``--flag`` is given, with a value or without."""
        return any(item.partition("=")[0] == f"--{flag}" for item in self.flags)


@dataclass(frozen=True, kw_only=True)
class Syntax:
    """A Dockerfile's instructions and its parser directives."""

    instructions: tuple[Instruction, ...]
    escape: str
    """The escape character, a backslash or a backtick."""

    frontend_line: int
    """Where ``# syntax=`` names the image that reads it, or 0."""


def parse_syntax(text: str, path: Path) -> Syntax:
    """Read a Dockerfile; ``path`` is only named in problems.

    Raises :class:`DefinitionError` for text that BuildKit's parser refuses.
    """
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise DefinitionError([Problem(path=path, line=line, message="contains a NUL character")])
    try:
        commands = dockerfile.parse_string(text)
    except dockerfile.GoParseError as error:
        raise DefinitionError([_parse_problem(str(error), text, path)]) from error
    directives = _directives(text)
    escape, _ = directives.get("escape", ("\\", 0))
    frontend, line = directives.get("syntax", ("", 0))
    unknown = tuple(
        problem for command in commands if (problem := _unknown_problem(command, path)) is not None
    )
    if unknown:
        raise DefinitionError(unknown)
    return Syntax(
        instructions=tuple(_instruction(command, escape) for command in commands),
        escape=escape,
        frontend_line=line if frontend else 0,
    )


def _instruction(command: dockerfile.Command, escape: str) -> Instruction:
    onbuild = command.cmd.upper() == "ONBUILD" and bool(command.sub_cmd)
    flags = command.flags
    heredoc = bool(command.heredocs)
    if onbuild:
        trigger = _ONBUILD.sub("", command.original, count=1).splitlines()[0]
        heredoc = "<<" in trigger and command.end_line > command.start_line
        # The body of a heredoc is not in ``original``, so its mark must not be read as one.
        plain = f"# escape={escape}\n{trigger.replace('<<', '< <')}\n"
        flags = dockerfile.parse_string(plain)[0].flags
    return Instruction(
        name=(command.sub_cmd if onbuild and command.sub_cmd else command.cmd).upper(),
        line=command.start_line,
        flags=tuple(flags),
        words=tuple(command.value),
        heredoc=heredoc,
        onbuild=onbuild,
    )


def _unknown_problem(command: dockerfile.Command, path: Path) -> Problem | None:
    name = (command.cmd or "").upper()
    inner = (command.sub_cmd or "").upper()
    message = hint = ""
    if not name:
        message = "there is no instruction before the end of this line's continuation"
    elif name not in INSTRUCTIONS:
        message = f"'{command.cmd}' is not an instruction"
        hint = suggestion(name, INSTRUCTIONS, all_known="instructions")
    elif name == "ONBUILD" and not inner:
        message = "ONBUILD needs an instruction behind it"
    elif name == "ONBUILD" and inner in {"ONBUILD", "FROM", "MAINTAINER"}:
        message = f"{inner} is not allowed behind ONBUILD"
    elif name == "ONBUILD" and inner not in INSTRUCTIONS:
        message = f"'{command.sub_cmd}' is not an instruction"
        hint = suggestion(inner, INSTRUCTIONS, all_known="instructions")
    if not message:
        return None
    return Problem(path=path, line=command.start_line, message=message, hint=hint)


def _directives(text: str) -> dict[str, tuple[str, int]]:
    """The parser directives, comments ``# key=value`` before anything else, with their lines."""
    found: dict[str, tuple[str, int]] = {}
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        if number == 1 and line.startswith("#!"):
            continue
        match = _DIRECTIVE.fullmatch(line)
        if match is None or match[1].lower() not in {"syntax", "escape", "check"}:
            break
        found[match[1].lower()] = match[2], number
    return found


def _parse_problem(reason: str, text: str, path: Path) -> Problem:
    if reason == _NO_INSTRUCTIONS:
        return Problem(path=path, message="has no instructions", hint="begin with FROM")
    message = f"cannot be parsed: {reason[:1].lower()}{reason[1:]}"
    hint = ""
    if reason == "unterminated heredoc":
        message = "the heredoc that begins here has no end"
        hint = "end it with its word alone on a line"
    return Problem(path=path, line=_failing_line(text), message=message, hint=hint)


def _failing_line(text: str) -> int:
    """The line on which the parser gives up: the first after the longest text that it takes."""
    lines = text.splitlines(keepends=True)
    good = 0
    for count in range(1, len(lines) + 1):
        try:
            dockerfile.parse_string("".join(lines[:count]))
        except dockerfile.GoParseError:
            continue
        good = count
    for number, line in enumerate(lines[good:], start=good + 1):
        if line.strip() and not line.lstrip().startswith("#"):
            return number
    return min(good + 1, len(lines))
