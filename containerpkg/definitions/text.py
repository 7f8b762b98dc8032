"""Reading a definition's text, and the small phrases that many messages share."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

from containerpkg.errors import DefinitionError, Problem


def load_text(path: Path) -> str:
    """The text of a UTF-8 file; raises :class:`DefinitionError` that says why there is none."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        problem = Problem(
            path=path,
            line=line,
            message="is not UTF-8 text",
            hint="save the file in the encoding UTF-8",
        )
        raise DefinitionError([problem]) from error
    except FileNotFoundError as error:
        raise DefinitionError([Problem(path=path, message="does not exist")]) from error
    except OSError as error:
        message = f"cannot be read: {(error.strerror or str(error)).lower()}"
        raise DefinitionError([Problem(path=path, message=message)]) from error


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The one of ``known`` that ``word`` was probably meant to be."""
    close = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.6)
    return close[0] if close else None


def suggestion(word: str, known: Iterable[str], *, all_known: str) -> str:
    """A hint for an unknown name: the nearest known one, else ``all_known`` with the whole list."""
    names = sorted(known)
    close = nearest(word, names)
    if close:
        return f"did you mean '{close}'?"
    return f"{all_known}: {', '.join(names)}" if names else ""
