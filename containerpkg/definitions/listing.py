"""The images of a project as data, for a table or for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from containerpkg.definitions.project import Image


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
