"""Patches that change a source before it is built, applied by ``git apply``, all or none.

https://git-scm.com/docs/git-apply
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from containerpkg import process
from containerpkg.errors import SourceError
from containerpkg.sources.git import local_environment

_HUNK = re.compile(r"@@ -(\d+)(?:,\d+)? \+\d+(?:,\d+)? @@")
_FAILED = re.compile(r"error: patch failed: (.+):(\d+)")


@dataclass(frozen=True, kw_only=True)
class Hunk:
    """One change of a patch: the ``number``-th of ``file``, from ``line`` on as it was."""

    file: str
    number: int
    line: int
    header: str


def parse_hunks(text: str) -> tuple[Hunk, ...]:
    """The hunks of a patch in the order they stand; files without their ``a/``."""
    hunks: list[Hunk] = []
    file, number = "", 0
    for line in text.splitlines():
        if line.startswith("--- "):
            file, number = _name(line), 0
        elif line.startswith("+++ ") and not file:
            file = _name(line)
        elif found := _HUNK.match(line):
            number += 1
            hunks.append(Hunk(file=file, number=number, line=int(found[1]), header=found[0]))
    return tuple(hunks)


def _name(line: str) -> str:
    name = line[4:].partition("\t")[0]
    return "" if name == "/dev/null" else name.partition("/")[2]


def apply(
    patches: Sequence[Path], folder: Path, *, image: str, run: process.Run = process.run
) -> None:
    """Apply ``patches`` to the files in ``folder``, in their order.

    Raises :class:`SourceError`, naming the patch, the file and the hunk, for one that does not
    apply; ``folder`` then has those before it.
    """
    # A repository that the folder happens to lie in would have its paths taken for other ones, and
    # the patch for one that has nothing to do.
    env = {**local_environment(), "GIT_CEILING_DIRECTORIES": str(folder.resolve().parent)}
    for patch in patches:
        try:
            run(
                [
                    "git", "-c", "core.attributesFile=/dev/null",
                    "apply", "--whitespace=nowarn", "--", str(patch.resolve()),
                ],
                cwd=folder,
                env=env,
            )  # fmt: skip
        except process.CommandFailed as error:
            raise SourceError(
                f"image '{image}': the patch {patch.name} does not apply: "
                + _where(error.tail, patch.read_text(errors="replace")),
                hint=f"bring {shlex.quote(str(patch))} up to date with the source",
            ) from error


def _where(said: str, text: str) -> str:
    if not (failed := _FAILED.search(said)):
        lines = [line for line in said.splitlines() if line.startswith("error: ")]
        return lines[0].removeprefix("error: ") if lines else said.strip()
    file, line = failed[1], int(failed[2])
    for hunk in parse_hunks(text):
        if (hunk.file, hunk.line) == (file, line):
            return f"hunk {hunk.number} of {file} ({hunk.header})"
    return f"{file}, line {line}"
