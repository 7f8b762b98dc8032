r"""The one serializer for spec files: text stays text.

rpm reads a spec line by line (rpm's build/parseSpec.c). For each line it counts ``%{``, ``%(`` and
``%[`` to see whether a macro goes on in the next line, a backslash hiding the character after it;
then it expands macros; and only then, in the expanded text, it looks for conditionals (after
blanks) and for sections (at the first column). Hence:

- a percent sign is written as ``%{percent}``, a macro of the spec's own. Doubling it would not do:
  in ``\%%{x`` the backslash hides the first, and the count sees a macro that never ends;
- a backslash at the end of a line is followed by ``%{nil}``, or the next line would join it;
- no quoting keeps an expanded line from being ``%install`` or ``%if``, or a comment. In
  descriptions, the only text with lines of its own, a word joiner (U+2060, no width, no break) goes
  before a percent sign or a hash that begins a line; tags have their name before the text.
"""

from __future__ import annotations

import itertools
import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from containerpkg.errors import PackageError
from containerpkg.packages.plan import PackageFile, Symlink

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_PATH = re.compile(r"(?:/[A-Za-z0-9._+@~:-]+)+")
_DEPENDENCY = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9._+-]*(?:\([A-Za-z0-9._/:+-]+\))?"
    r"(?: (?:=|>=) [A-Za-z0-9][A-Za-z0-9._+~^:-]*)?"
)
_JOINER = "\u2060"

COLUMNS = 79
"""Where the lines of a description end."""


class SpecText(str):
    """Text that one of the functions of this module has written."""

    __slots__ = ()


def line(value: object) -> str:
    """A value of a spec template: one line of text, as a tag has it.

    :class:`SpecText` passes as it is. Raises :class:`PackageError` for text that is more than a
    line, and TypeError for what is not text or a whole number.
    """
    if isinstance(value, SpecText):
        return value
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise TypeError(f"{value!r} is not text for a spec file")
    text = str(value)
    if "\n" in text:
        raise PackageError(f"{text!r} is more than one line", hint="make it one line")
    return _escaped(text)


def description(value: str) -> SpecText:
    """Text of several lines; a paragraph with a line that is too long is wrapped anew.

    What rpm reads is ``value`` without the blanks at the ends of its lines, and with a word joiner
    before each percent sign or hash that begins a line. Lines that begin with a blank, and items
    of lists, stay as they are.
    """
    lines: list[str] = []
    for prose, group in itertools.groupby(value.strip().split("\n"), key=_is_prose):
        paragraph = [text.rstrip() for text in group]
        lines += _wrapped(paragraph) if prose else paragraph
    return SpecText("\n".join(_described(text) for text in lines))


def path(value: str) -> SpecText:
    """A path in ``%files``.

    Raises :class:`PackageError` for a character that rpm's file lists give a meaning to (blanks,
    quotes, ``* ? [ ] { } % \\`` and their kin) or that is not ASCII.
    """
    if not _PATH.fullmatch(value):
        raise PackageError(
            f"the path {value!r} cannot be in a package",
            hint="use letters, digits and . _ + @ ~ : - between slashes",
        )
    return SpecText(value)


@dataclass(frozen=True, kw_only=True)
class ListedFile:
    """A line of ``%files``."""

    path: SpecText
    mode: SpecText
    config: bool
    link: bool


def files(values: Iterable[PackageFile]) -> list[ListedFile]:
    """The lines of ``%files`` for the files of a package."""
    return [
        ListedFile(
            path=path(file.target),
            mode=SpecText(f"{file.mode:04o}"),
            config=file.config,
            link=isinstance(file.content, Symlink),
        )
        for file in values
    ]


def dependency(value: str) -> SpecText:
    """``NAME[(ARGUMENT)][ =|>= VERSION]``; raises :class:`PackageError` for anything else."""
    if not _DEPENDENCY.fullmatch(value):
        raise PackageError(f"{value!r} is not a dependency that RPM understands")
    return SpecText(value)


def any_of(values: Sequence[Sequence[str]]) -> SpecText:
    """Any of several groups of dependencies or files, all of one group.

    Where it is more than one name, for rpm 4.13 and newer.
    """
    return _joined("or", [_joined("and", [_needed(v) for v in group]) for group in values])


def _needed(value: str) -> SpecText:
    return path(value) if value.startswith("/") else dependency(value)


def _joined(word: str, parts: Sequence[SpecText]) -> SpecText:
    return SpecText(f"({f' {word} '.join(parts)})") if len(parts) > 1 else parts[0]


def url(value: str) -> str:
    """An address with its blanks encoded, since rpm takes a single word only."""
    return re.sub(r"\s", lambda blank: f"%{ord(blank[0]):02X}", value)


def _is_prose(line: str) -> bool:
    return bool(line.strip()) and not line.startswith((" ", "\t", "- ", "* "))


def _wrapped(paragraph: list[str]) -> list[str]:
    if max(map(len, paragraph)) <= COLUMNS:
        return paragraph
    text = " ".join(paragraph)
    return textwrap.wrap(text, COLUMNS, break_long_words=False, break_on_hyphens=False)


def _described(text: str) -> str:
    blanks = len(text) - len(text.lstrip(" \t"))
    if text[blanks:].startswith(("%", "#")):
        text = text[:blanks] + _JOINER + text[blanks:]
    return _escaped(text)


def _escaped(text: str) -> str:
    if _CONTROL.search(text):
        raise PackageError(
            f"{text!r} contains a control character", hint="remove it from the definition"
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise PackageError(f"{text!r} is not valid Unicode") from error
    escaped = text.replace("%", "%{percent}")
    return escaped + "%{nil}" if escaped.endswith("\\") else escaped
