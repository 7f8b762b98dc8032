"""How a plan is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from containerpkg.cli.options import print_table

if TYPE_CHECKING:
    from containerpkg.definitions.project import Image
    from containerpkg.release.make import Plan


def plan_data(plan: Plan) -> object:
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
                "source": source_data(step.image),
            }
            for step in plan.builds
        ],
        "packages": [
            {"package": package.name, "action": package.action, "reason": package.reason}
            for package in plan.packages
        ],
    }


def source_data(image: Image) -> object:
    """What an image is built from, for machines; None without a source."""
    if (tree := image.tree) is None:
        return None
    return {
        "origin": tree.origin,
        "ref": tree.ref,
        "revision": tree.revision,
        "local": tree.local,
    }


def print_plan(plan: Plan) -> None:
    """The plan for people."""
    if plan.builds:
        print_table(
            ("IMAGE", "ACTION", "REASON"),
            [(step.image.name, step.action, step.reason) for step in plan.builds],
            shrinking=("REASON",),
        )
    if plan.builds and plan.packages:
        print()
    if plan.packages:
        print_table(
            ("PACKAGE", "ACTION", "REASON"),
            [(package.name, package.action, package.reason) for package in plan.packages],
            shrinking=("REASON",),
        )
