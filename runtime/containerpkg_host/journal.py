"""Tells what happens: to the journal with its importance, or to a person at a terminal."""

import os
import sys
from typing import Dict, Iterable

ROLLED_BACK = "b2f0ed9a1d1c4e2f9a5e6bb0f8c7f1d3"
"""The MESSAGE_ID of a service that was given its image before back."""

_SOCKET = "/run/systemd/journal/socket"


def info(message: str) -> None:
    """Tell what was done."""
    _tell(6, message)


def warning(message: str) -> None:
    """Tell what is not as it should be and can wait."""
    _tell(4, message)


def error(message: str, *, unit: str = "", message_id: str = "") -> None:
    """Tell what somebody has to look at; it is also in the journal of ``unit``."""
    _tell(3, message)
    if unit:
        _tell_unit(message, unit, message_id)


def tell_units(message: str, services: Iterable[str]) -> None:
    """Put an error that was told already into the journal of each of ``services``."""
    for service in services:
        _tell_unit(message, f"{service}.service")


def _tell_unit(message: str, unit: str, message_id: str = "") -> None:
    fields = {"MESSAGE": message, "PRIORITY": "3", "SYSLOG_IDENTIFIER": "containerpkg-host"}
    fields["OBJECT_SYSTEMD_UNIT"] = unit
    if message_id:
        fields["MESSAGE_ID"] = message_id
    _send(fields)


def _tell(priority: int, message: str) -> None:
    prefix = f"<{priority}>" if _to_journal() else "containerpkg-host: "
    sys.stderr.write(f"{prefix}{message}\n")
    sys.stderr.flush()


def _to_journal() -> bool:
    """Whether standard error is read by journald, see systemd.exec(5).

    A program in between, such as the rpm of a service, hands on the variable and has a pipe.
    """
    status = os.fstat(2)
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def encode(fields: Dict[str, str]) -> bytes:
    """Fields as journald takes them, see https://systemd.io/JOURNAL_NATIVE_PROTOCOL/."""
    import struct  # as socket below: most runs tell nothing to a unit

    parts = []
    for name, value in fields.items():
        data = value.encode("utf-8", "replace")
        if b"\n" in data:
            parts.append(name.encode() + b"\n" + struct.pack("<Q", len(data)) + data + b"\n")
        else:
            parts.append(name.encode() + b"=" + data + b"\n")
    return b"".join(parts)


def _send(fields: Dict[str, str]) -> None:
    import socket

    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
            journal.sendto(encode(fields), _SOCKET)
    except OSError:
        pass  # it was told on standard error already
