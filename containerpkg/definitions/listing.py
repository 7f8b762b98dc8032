"""The images of a project as a table and as data for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from containerpkg.definitions.project import Image

_COLUMNS = ("NAME", "VERSION", "REFERENCE", "PARENTS", "SERVICES", "PACKAGE")


class ListedImage(TypedDict):
    """One image of ``list --json``; ``package`` is None for an image that becomes none."""

    name: str
    version: str
    reference: str
    parents: list[str]
    services: list[str]
    package: str | None


def list_data(images: Sequence[Image]) -> list[ListedImage]:
    """One entry for each image, in the order given."""
    return [
        {
            "name": image.name,
            "version": image.version,
            "reference": image.reference,
            "parents": list(image.parents),
            "services": sorted(image.file.services),
            "package": image.package if image.file.packaged else None,
        }
        for image in images
    ]


def render_list(images: Sequence[Image]) -> str:
    """An aligned table with a header; ``-`` stands for nothing."""
    rows = [
        (
            row["name"],
            row["version"],
            row["reference"],
            ",".join(row["parents"]) or "-",
            ",".join(row["services"]) or "-",
            row["package"] or "-",
        )
        for row in list_data(images)
    ]
    table = [_COLUMNS, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(_COLUMNS))]
    return "".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        + "\n"
        for row in table
    )
