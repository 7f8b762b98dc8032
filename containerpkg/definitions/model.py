"""What every model of a definition has in common, and the text types they share."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

PATTERN_SENTENCES: dict[str, str] = {}
"""What a value must be, as a sentence, for each pattern that :func:`matching` was given."""


def matching(pattern: str, sentence: str, *, max_length: int | None = None) -> Any:
    """A constraint on text: a regular expression, and what it means in plain words."""
    PATTERN_SENTENCES[pattern] = sentence
    return Field(pattern=pattern, max_length=max_length)


class Model(BaseModel):
    """Frozen, and an unknown key is an error."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, str_strip_whitespace=True, use_attribute_docstrings=True
    )


def _value(value: str) -> str:
    if any(ord(character) < 32 or ord(character) == 127 for character in value):
        raise ValueError("must be one line without control characters")
    return value


def _one_line(value: str) -> str:
    if not value:
        raise ValueError("must not be empty")
    return _value(value)


def _no_controls(value: str) -> str:
    if any(ord(c) < 32 and c not in "\n\t" for c in value) or "\x7f" in value:
        raise ValueError("must not contain control characters")
    return value


def _absolute(value: str) -> str:
    _one_line(value)
    if not value.startswith("/"):
        raise ValueError("must be an absolute path")
    if any(part in {"..", "."} for part in value.split("/")):
        raise ValueError("must not contain '.' or '..'")
    if ":" in value or "," in value:
        raise ValueError("must not contain ':' or ',', which separate the fields of a mount")
    return value


def _relative(value: str) -> str:
    _one_line(value)
    if value.startswith("/") or ".." in value.split("/"):
        raise ValueError("must be a path inside the image's folder")
    return value


def _host_file(value: str) -> str:
    _absolute(value)
    if not re.fullmatch(r"/[A-Za-z0-9._+@/-]+", value):
        raise ValueError("may contain letters, digits and . _ + @ - / only")
    if not value.startswith("/etc/"):
        raise ValueError("must be below /etc")
    return value


_SECONDS = {"": 1, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600}
_DURATION = re.compile(r"(\d+)\s*([a-z]*)")


def duration_seconds(value: str) -> int:
    """Seconds in a duration such as ``90``, ``30s`` or ``1min 30s`` (units s, m, min, h).

    Raises ValueError for anything else.
    """
    compact = value.strip().lower()
    parts = _DURATION.findall(compact)
    if not parts or _DURATION.sub("", compact).strip():
        raise ValueError("must be a duration such as 30s, 5min or 1h")
    unknown = [unit for _, unit in parts if unit not in _SECONDS]
    if unknown:
        raise ValueError(f"'{unknown[0]}' is not a unit of time (use s, min or h)")
    return sum(int(number) * _SECONDS[unit] for number, unit in parts)


def _duration(value: str) -> str:
    duration_seconds(value)
    return value


Line = Annotated[str, AfterValidator(_one_line)]
"""Text of one line, not empty."""

Value = Annotated[str, AfterValidator(_value)]
"""Text of one line, also none: what a variable may hold."""

Text = Annotated[str, AfterValidator(_no_controls)]
"""Text of any number of lines."""

AbsolutePath = Annotated[str, AfterValidator(_absolute)]
"""A path inside a container or on a host."""

RelativePath = Annotated[str, AfterValidator(_relative)]
"""A path inside an image's folder."""

HostFile = Annotated[str, AfterValidator(_host_file)]
"""A configuration file on the host, below /etc."""

Duration = Annotated[str, AfterValidator(_duration)]
"""A time span as systemd writes it: 90, 30s, 1min 30s."""

Name = Annotated[
    str,
    matching(
        r"^[a-z0-9]+([._-][a-z0-9]+)*$",
        "must be lower-case letters and digits with single . _ or - between them",
        max_length=63,
    ),
]
"""The name of an image, a service, a volume or a network."""

Variable = Annotated[
    str,
    matching(
        r"^[A-Za-z_][A-Za-z0-9_]*$",
        "must be letters, digits and _ and must not begin with a digit",
    ),
]
"""The name of an environment variable or a build argument."""

Version = Annotated[
    str,
    matching(
        r"^[A-Za-z0-9][A-Za-z0-9._+~^]*$",
        "must be an RPM version (letters, digits and . _ + ~ ^)",
        max_length=64,
    ),
]
"""An RPM version; '~' sorts below what it follows: 3.19.0~nightly is older than 3.19.0."""
