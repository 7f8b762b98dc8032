"""The one serializer for unit files: how a value is written so that it arrives unchanged.

A Quadlet file is read twice. Podman's generator splits and unquotes some keys, takes others as
they stand, and writes an ``ExecStart=`` line with its own quoting; systemd then expands ``%`` and
``$`` in that line. See systemd.syntax(7), systemd.service(5) "COMMAND LINES" and
podman-systemd.unit(5). Each function here knows one such way. A value that no quoting carries
through both readers is refused: a unit never means something else than the definition.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from containerpkg.errors import PackageError

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class UnitText(str):
    """Text that one of the functions of this module has written."""

    __slots__ = ()


def checked(value: object) -> str:
    """What a unit template may contain: :class:`UnitText` and whole numbers.

    Raises TypeError for anything else, so that no value gets into a unit by its own spelling.
    """
    if isinstance(value, UnitText):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise TypeError(f"{value!r} has not been written for a unit file")


def setting(value: str) -> UnitText:
    """A value that systemd itself reads as one string, such as ``Description=``."""
    return UnitText(_plain(value).replace("%", "%%"))


def argument(value: str) -> UnitText:
    """A value that Quadlet takes as it stands and makes an argument of podman, as ``Volume=``.

    Raises :class:`PackageError` for a value that begins or ends with a double quote, which some
    versions of Quadlet strip.
    """
    if value.startswith('"') or value.endswith('"'):
        raise _refused(value, "begins or ends with a double quote")
    return _exec(_plain(value))


def words(values: Iterable[str]) -> UnitText:
    """Values that Quadlet splits like a command line, such as ``Exec=``: a word for each.

    Raises :class:`PackageError` for an empty word, at which Quadlet stops reading, and for a
    lone ``;``, which systemd takes as the end of the command whatever its quoting.
    """
    return UnitText(" ".join(_word(value) for value in values))


def shell_command(command: str) -> UnitText:
    """A command line for the container's shell, as ``HealthCmd=`` wants it.

    The JSON form is the one whose ends are no quotes and no backslash, and which podman does not
    read for keywords.
    """
    return _exec(container_shell(command))


def container_shell(command: str) -> str:
    """The same, before it is written for a unit."""
    _no_controls(command)
    return json.dumps(["CMD-SHELL", command], ensure_ascii=False)


def paths(values: Iterable[str]) -> UnitText:
    """Paths that systemd splits at blanks, as ``RequiresMountsFor=``; nothing but ``%`` expands."""
    return UnitText(" ".join(f'"{_quotable(value).replace("%", "%%")}"' for value in values))


def names(values: Iterable[str]) -> UnitText:
    """Names of units or capabilities; their models allow nothing that would need quoting."""
    return UnitText(" ".join(_exact(value) for value in values))


def _word(value: str) -> str:
    _no_controls(value)
    if not value:
        raise _refused(value, "is empty")
    if value == ";":
        raise _refused(value, "would end the command")
    if re.fullmatch(r"[A-Za-z0-9_./:=,+@-]+", value):
        return value
    return f'"{_exec(_quotable(value))}"'


def _quotable(value: str) -> str:
    _no_controls(value)
    return value.replace("\\", "\\\\").replace('"', '\\"')


def _exec(value: str) -> UnitText:
    return UnitText(value.replace("%", "%%").replace("$", "$$"))


def _plain(value: str) -> str:
    _no_controls(value)
    if value != value.strip():
        raise _refused(value, "begins or ends with a space")
    if value.endswith("\\"):
        raise _refused(value, "ends with a backslash, which would join the next line to it")
    return value


def _exact(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9:_.@-]+", value):
        raise _refused(value, "is not a name")
    return value


def _no_controls(value: str) -> None:
    if _CONTROL.search(value):
        raise _refused(value, "contains a control character")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise _refused(value, "is not valid Unicode") from error


def _refused(value: str, why: str) -> PackageError:
    return PackageError(
        f"{value!r} {why}, so no unit file can carry it", hint="change it in image.yaml"
    )
