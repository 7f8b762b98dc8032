"""Versions are ordered as rpm itself orders them."""

from __future__ import annotations

import itertools
import subprocess

from containerpkg.packages.ordering import Evr, compare

# Oldest first, each newer than the one before.
ORDERED = [
    "~",
    "1.0~~",
    "1.0~nightly",
    "1.0~rc1",
    "1.0~rc1^git",
    "1.0",
    "1.0^",
    "1.0^20240101",
    "1.0^20240101.1",
    "1.0a",
    "1.0.b",
    "1.0.1",
    "1.0.01.2",
    "1.1",
    "1.9",
    "1.10",
    "10.20261124074224.el9",
    "10.20261124074224.el10",
    "20",
]


def test_the_order_is_total() -> None:
    for (i, one), (j, other) in itertools.product(enumerate(ORDERED), repeat=2):
        assert compare(one, other) == (i > j) - (i < j), (one, other)
    assert compare("1_0", "1.00") == 0


def test_rpm_says_the_same() -> None:
    pairs = list(itertools.product(ORDERED, repeat=2))
    calls = "".join(f'print(rpm.vercmp("{one}", "{other}") .. " ")' for one, other in pairs)
    argv = ["rpm", "--eval", f"%{{lua:{calls}}}"]
    said = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split()
    assert [compare(one, other) for one, other in pairs] == [int(number) for number in said]


def test_epoch_comes_first() -> None:
    assert Evr(1, "1", "1") > Evr(None, "2", "9")
    assert max(Evr("0", "1.0", "1.2"), Evr(0, "1.0", "1.10")).release == "1.10"
    assert Evr(0, "1.0", "1") == Evr(None, "1.0", "01")
