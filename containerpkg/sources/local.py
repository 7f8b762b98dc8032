"""A developer's own folder as the source: which of its files are taken, and what state it is in."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path

from containerpkg import process
from containerpkg.errors import SourceError
from containerpkg.sources.git import git_time, remote_environment

LOCAL = "local"
"""The revision of a folder that is no git checkout."""


def list_files(
    folder: Path, *, outside: Collection[Path] = (), run: process.Run = process.run
) -> tuple[str, ...]:
    """Paths in ``folder`` that a build gets, sorted, with the folders they are in.

    Of a git checkout, and of its submodules, what git knows and what is new, and nothing that
    ``.gitignore`` names; of any other folder everything. What is in a folder of ``outside`` is
    left away.
    """
    found: set[str] = set()
    apart = [path.resolve() for path in outside]
    apart = [path for path in apart if path.is_relative_to(folder.resolve())]
    for name in _files(folder, "", run):
        path = Path(name)
        if apart and any((folder.resolve() / path).is_relative_to(other) for other in apart):
            continue
        found.update(parent.as_posix() for parent in path.parents)
        found.add(name)
    return tuple(sorted(found - {"."}))


def describe(folder: Path, *, run: process.Run = process.run) -> tuple[str, str]:
    """The commit of a checkout, with ``-dirty`` behind it if it is changed, and its time.

    That is ``local`` and nothing for a folder that is no checkout, or has no commit yet.
    """
    if not _is_checkout(folder):
        return LOCAL, ""
    try:
        about = _git(folder, run, "log", "-1", "--no-show-signature", "--format=%H %ct")
    except process.CommandFailed:
        return LOCAL, ""
    commit, _, time = about.strip().partition(" ")
    changed = _git(folder, run, "status", "--porcelain", "--untracked-files=normal")
    return (f"{commit}-dirty", "") if changed else (commit, git_time(time))


def _files(folder: Path, prefix: str, run: process.Run) -> Iterator[str]:
    if not _is_checkout(folder):
        for top, folders, names in os.walk(folder):
            if ".git" in folders:
                folders.remove(".git")
            relative = Path(prefix) / Path(top).relative_to(folder)
            yield from ((relative / name).as_posix() for name in (*folders, *names))
        return
    listed = _git(folder, run, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(None, listed.split("\0")):
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            # A submodule, or another repository that lies there.
            yield f"{prefix}{name}".rstrip("/")
            if _is_checkout(path):
                yield from _files(path, f"{prefix}{name}".rstrip("/") + "/", run)
        elif os.path.lexists(path):
            yield f"{prefix}{name}"
        elif "\ufffd" in name:
            raise SourceError(f"{folder} has a file whose name is not UTF-8: {name}")


def _is_checkout(folder: Path) -> bool:
    return (folder / ".git").exists()


def _git(folder: Path, run: process.Run, *arguments: str) -> str:
    try:
        return run(
            ["git", "-c", "core.fsmonitor=false", "-c", "core.quotePath=false", *arguments],
            env={**remote_environment(""), "GIT_OPTIONAL_LOCKS": "0"},
            cwd=folder,
        ).stdout
    except process.CommandFailed as error:
        if "dubious ownership" in error.tail:
            raise SourceError(
                f"git does not trust {folder}, which is another user's",
                hint=f"git config --global --add safe.directory {folder}",
            ) from error
        raise
