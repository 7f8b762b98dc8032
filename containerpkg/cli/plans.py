"""How a plan is shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from containerpkg.cli.options import print_table

if TYPE_CHECKING:
    from containerpkg.release.builds import BuildStep


def plan_data(steps: Sequence[BuildStep]) -> object:
    """The plan for machines, in the order in which it would run."""
    return {
        "steps": [
            {
                "image": step.image.name,
                "reference": step.image.reference,
                "action": step.action,
                "reason": step.reason,
                "key": step.key,
                "parents": list(step.image.parents),
            }
            for step in steps
        ]
    }


def print_plan(steps: Sequence[BuildStep]) -> None:
    """The plan for people."""
    rows = [(step.image.name, step.action, step.reason) for step in steps]
    print_table(("IMAGE", "ACTION", "REASON"), rows)
