"""``containerpkg.lock``: the revision of each source and the digest of each image from outside.

It is JSON with sorted keys, one entry a line or more, so that a change is easy to review.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

from containerpkg.definitions.model import Line, Model, Name, matching
from containerpkg.definitions.yaml import load_model
from containerpkg.files import write_atomic

LOCK_FILE = "containerpkg.lock"

ImageDigest = Annotated[
    str, matching(r"^sha256:[0-9a-f]{64}$", "must be sha256: and 64 hexadecimal digits")
]
"""The digest of a manifest or of an index in a registry."""


class LockedSource(Model):
    """The source of an image."""

    origin: Line
    """The repository or the archive, as image.yaml names it."""

    ref: Line
    """What image.yaml asks for: 'branch main', 'tag v1', 'default branch', 'commit', 'archive'."""

    revision: Annotated[
        str,
        matching(
            r"^([0-9a-f]{40}|[0-9a-f]{64}|sha256:[0-9a-f]{64})$",
            "must be a commit ID, or sha256: and 64 hexadecimal digits",
        ),
    ]
    """The commit that this was, or the archive's SHA-256."""


class LockFile(Model):
    """The content of ``containerpkg.lock``."""

    version: Literal[1] = 1
    """The form of this file."""

    sources: dict[Name, LockedSource] = {}
    """The source of each image that has one."""

    bases: dict[Line, ImageDigest | None] = {}
    """The digest of each image from outside by its reference; null where it was not known."""


def load_lock(root: Path) -> LockFile | None:
    """The lock of the project in ``root``, or None; raises :class:`DefinitionError`."""
    path = root / LOCK_FILE
    return load_model(path, LockFile) if path.exists() or path.is_symlink() else None


def render_lock(lock: LockFile) -> str:
    """The text of a lock file; the same lock gives the same bytes."""
    return json.dumps(lock.model_dump(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def write_lock(root: Path, lock: LockFile) -> Path:
    """Replace the lock of the project in ``root``; gives its path."""
    path = root / LOCK_FILE
    write_atomic(path, render_lock(lock))
    return path
