r"""Manual pages in roff's man macros, see man(7) and groff_man(7).

All text goes through :func:`escaped`: a backslash, a dot or a quote at the start of a line and a
minus sign have a meaning in roff, and none of them may come from a docstring.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence

from containerpkg import __version__
from docgen.commands import Command, exit_statuses, files
from docgen.keys import DESCRIPTION, Key, Page

_SPECIAL = {
    "\\": r"\(rs",
    "-": r"\-",
    "'": r"\(aq",
    '"': r"\(dq",
    "`": r"\(ga",
    "^": r"\(ha",
    "~": r"\(ti",
    "…": r"\&...",
}
_NOTE = r".\" Written by scripts/generate-docs; change the source, not this file."


def escaped(text: str) -> str:
    """Text of any content as roff prints it, on one line."""
    flat = " ".join(text.split())
    safe = "".join(_SPECIAL.get(character, character) for character in flat)
    return f"\\&{safe}" if safe.startswith((".", r"\(aq")) else safe


def bold(text: str) -> str:
    """Text in bold."""
    return rf"\fB{escaped(text)}\fR"


def prose(text: str) -> str:
    """A paragraph in which ``code`` becomes bold."""
    parts = re.split(r"``(.+?)``", text)
    plain = [_inner(part) for part in parts[::2]]
    code = [rf"\fB{_inner(part)}\fR" for part in parts[1::2]]
    out = "".join(a + b for a, b in zip(plain, [*code, ""], strict=True)).strip()
    return f"\\&{out}" if out.startswith(".") else out


def render_command(command: Command, commands: Sequence[Command]) -> str:
    """The manual page of one command."""
    lines = [*_head(command.page, 1, command.summary), ".SH SYNOPSIS", *_synopsis(command)]
    lines += [".SH DESCRIPTION", *_paragraphs(command.paragraphs)]
    if command.subcommands:
        lines.append(".SH COMMANDS")
        for name, summary in command.subcommands:
            lines += [".TP", rf"\fB{escaped(f'containerpkg-{name}')}\fR(1)", prose(summary)]
    lines.append(".SH OPTIONS")
    for option in command.options:
        lines += [".TP", _typed(option.typed), prose(f"{option.meaning}.")]
    lines += [*_exit_status(), *_files()]
    if command.examples:
        lines += [".SH EXAMPLES", *_verbatim(command.examples)]
    others = [(other.page, 1) for other in commands if other.page != command.page]
    if command.name != commands[0].name:
        others = [(commands[0].page, 1)]
    return _end(lines, [*others, *_FILE_PAGES])


def render_keys(page: Page, title: str, example: str) -> str:
    """The manual page of a definition file."""
    lines = [*_head(title, 5, DESCRIPTION[page.file]), ".SH SYNOPSIS", bold(_PLACES[page.file])]
    lines += [".SH DESCRIPTION"]
    lines += _paragraphs(
        [
            "The file is YAML 1.2 in UTF-8. A key that is not listed here is an error.",
            "In the headings below, NAME is a name of your own, and [] an item of a list.",
            "``containerpkg check`` finds what is wrong, with line and key.",
        ]
    )
    for section in page.sections:
        heading = f"Keys of {section.place}" if section.place else "Keys of the file"
        lines.append(f".SS {escaped(heading)}")
        if section.place:
            lines.append(prose(section.meaning))
        for key in section.keys:
            lines += [".TP", _key_line(key), prose(key.meaning)]
    lines.append(".SS Kinds of values")
    for kind in page.kinds:
        lines += [".TP", bold(kind.name), prose(kind.meaning)]
    lines += [*_files(), ".SH EXAMPLES", *_verbatim(example.rstrip("\n").split("\n"))]
    others = [entry for entry in _FILE_PAGES if entry[0] != title]
    return _end(lines, [("containerpkg", 1), ("containerpkg-check", 1), *others])


_FILE_PAGES = (("containerpkg.yaml", 5), ("containerpkg-image.yaml", 5))
_PLACES = {"containerpkg.yaml": "containerpkg.yaml", "image.yaml": "images/NAME/image.yaml"}


def _inner(text: str) -> str:
    """:func:`escaped` for a part of a line, whose blanks at the ends count."""
    joined = re.sub(r"\s+", " ", text)
    return "".join(_SPECIAL.get(character, character) for character in joined)


def _head(title: str, section: int, summary: str) -> list[str]:
    return [
        _NOTE,
        f'.TH "{escaped(title.upper())}" {section} "" "containerpkg {__version__}"',
        ".SH NAME",
        rf"{escaped(title)} \- {prose(summary[0].lower() + summary[1:])}",
    ]


def _synopsis(command: Command) -> list[str]:
    words = command.synopsis.removeprefix(command.name).strip()
    return [rf"{bold(command.name)} {escaped(words)}".rstrip()]


def _typed(typed: str) -> str:
    """An option as it is typed: dashes in bold, what one fills in in italics."""
    words = []
    for word in typed.split(" "):
        comma = "," if word.endswith(",") else ""
        bare = word.removesuffix(",")
        style = "B" if bare.startswith("-") else "I"
        words.append(rf"\f{style}{escaped(bare)}\fR{comma}")
    return " ".join(words)


def _key_line(key: Key) -> str:
    kind = escaped(key.kind.replace("*", ""))
    end = "; required" if key.required else f"; by default {key.default}" if key.default else ""
    return rf"{bold(key.name)}: {kind}{escaped(end)}"


def _paragraphs(paragraphs: Iterable[str]) -> list[str]:
    lines: list[str] = []
    for paragraph in paragraphs:
        lines += [".PP", prose(paragraph)] if lines else [prose(paragraph)]
    return lines


def _exit_status() -> list[str]:
    lines = [".SH EXIT STATUS"]
    for status, meaning in exit_statuses():
        lines += [".TP", bold(str(status)), prose(meaning)]
    return lines


def _files() -> list[str]:
    lines = [".SH FILES"]
    for path, meaning in files():
        lines += [".TP", bold(path), prose(meaning)]
    return lines


def _verbatim(text: Iterable[str]) -> list[str]:
    lines = [".nf"]
    for line in text:
        blanks = len(line) - len(line.lstrip(" "))
        body = "".join(_SPECIAL.get(character, character) for character in line[blanks:])
        lines.append(f"\\&{' ' * blanks}{body}" if line else "\\&")
    return [*lines, ".fi"]


def _end(lines: list[str], others: Iterable[tuple[str, int]]) -> str:
    entries = [rf"\fB{escaped(name)}\fR({section})" for name, section in others]
    return "\n".join([*_wrapped([*lines, ".SH SEE ALSO", ", ".join(entries)]), ""])


def _wrapped(lines: Iterable[str]) -> list[str]:
    """Prose in lines of 80 bytes at most; the tag of a .TP and verbatim text stay as they are."""
    out: list[str] = []
    verbatim = False
    for line in lines:
        verbatim = line == ".nf" or (verbatim and line != ".fi")
        if verbatim or line.startswith(".") or out[-1:] == [".TP"]:
            out.append(line)
            continue
        pieces = textwrap.wrap(line, 78, break_long_words=False, break_on_hyphens=False)
        out += [f"\\&{piece}" if piece.startswith(".") else piece for piece in pieces]
    return out
