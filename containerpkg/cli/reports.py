"""How the end of a run is shown."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from containerpkg.cli import tell
from containerpkg.cli.options import counted, print_table, size
from containerpkg.cli.plans import source_data

if TYPE_CHECKING:
    from containerpkg.release.make import Report


def report_data(report: Report) -> object:
    """The report for machines."""
    errors = {outcome.image.name: outcome.error for outcome in report.outcomes}
    errors |= report.unpackaged
    return {
        "images": [
            {
                "image": outcome.image.name,
                "reference": outcome.image.reference,
                "status": outcome.status,
                "id": outcome.image_id or None,
                "digest": report.digests.get(outcome.image.name),
                "seconds": round(outcome.seconds, 1),
                "source": source_data(outcome.image),
                "error": error.message if error else None,
                "hint": error.hint if error else None,
            }
            for outcome in report.outcomes
            for error in (errors[outcome.image.name],)
        ],
        "packages": [
            {
                "image": packaged.image.name,
                "package": packaged.nevra,
                "new": list(packaged.fresh),
                "reused": list(packaged.reused),
                "install_bytes": packaged.total_bytes,
                "update_bytes": packaged.update_bytes,
            }
            for packaged in report.packaged
        ],
        "runtime": {"package": report.runtime.nevra, "new": report.runtime.fresh}
        if report.runtime
        else None,
        "signed": list(report.signed),
        "repository": str(report.repository) if report.repository else None,
    }


def print_report(report: Report) -> None:
    """A short table, and what was published where."""
    packages = {packaged.image.name: packaged for packaged in report.packaged}
    rows = []
    for outcome in report.outcomes:
        digest = report.digests.get(outcome.image.name, "")
        row = [outcome.image.name, outcome.status, digest[:19]]
        if packaged := packages.get(outcome.image.name):
            row += [
                packaged.nevra,
                f"{len(packaged.fresh)} new, {len(packaged.reused)} reused",
                size(packaged.update_bytes),
            ]
        elif report.packaged:
            row += ["", "", ""]
        rows.append(row)
    columns = ["IMAGE", "STATUS", "DIGEST"]
    if report.packaged:
        columns += ["PACKAGE", "PACKAGES", "UPDATE"]
    print_table(columns, rows, shrinking=("PACKAGE", "DIGEST"))
    fresh = {name for packaged in report.packaged for name in packaged.fresh}
    if report.runtime and report.runtime.fresh:
        fresh.add(report.runtime.nevra)
        print(f"\nServices require {report.runtime.nevra}, which is new.")
    built = [outcome for outcome in report.outcomes if outcome.status == "built"]
    if report.repository:
        if built or fresh:
            done = f"{counted(len(built), 'image')} built, {counted(len(fresh), 'package')} new"
        else:
            done = "nothing new" if report.failure or report.signed else "nothing to do"
        if report.signed:
            done += f", {counted(len(report.signed), 'package')} signed"
        print(f"\n{report.repository}: {done}")


def exit_status(report: Report) -> int:
    """The status of a run whose report is printed, after telling what did not build."""
    if not report.failure:
        return 0
    sys.stdout.flush()
    tell(report.failure)
    return report.failure.exit_status
