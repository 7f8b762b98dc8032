"""Which of two versions is newer, as RPM sees it.

https://rpm.org/docs/latest/man/rpm-version.7
"""

from __future__ import annotations

import functools
import re

# What separates means nothing but that it separates; '~' is before the end, '^' just behind it.
_PARTS = re.compile(r"~|\^|[0-9]+|[A-Za-z]+")


def compare(one: str, other: str) -> int:
    """-1, 0 or 1 as version or release ``one`` is older, equal or newer than ``other``."""
    left, right = _PARTS.findall(one), _PARTS.findall(other)
    for number in range(max(len(left), len(right))):
        ranks = (_rank(left, number), _rank(right, number))
        if ranks[0] != ranks[1]:
            return -1 if ranks[0] < ranks[1] else 1
    return 0


def _rank(parts: list[str], number: int) -> tuple[int, int, str]:
    """A value that orders a part among those that may stand at the same place."""
    if number >= len(parts):
        return (1, 0, "")
    part = parts[number]
    if part == "~":
        return (0, 0, "")
    if part == "^":
        return (2, 0, "")
    return (4, int(part), "") if part.isdigit() else (3, 0, part)


@functools.total_ordering
class Evr:
    """Epoch, version and release, ordered as RPM orders them."""

    def __init__(self, epoch: str | int | None, version: str, release: str) -> None:
        self.epoch, self.version, self.release = int(epoch or 0), version, release

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Evr) and self._compare(other) == 0

    def __lt__(self, other: Evr) -> bool:
        return self._compare(other) < 0

    def __hash__(self) -> int:
        return hash(self.epoch)  # versions that are written in two ways may be equal

    def _compare(self, other: Evr) -> int:
        if self.epoch != other.epoch:
            return -1 if self.epoch < other.epoch else 1
        return compare(self.version, other.version) or compare(self.release, other.release)
