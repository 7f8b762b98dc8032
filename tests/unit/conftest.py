"""A project on disk, written from a dict."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

MakeProject = Callable[[Mapping[str, str | None]], Path]

PROJECT = "registry: quay.io/example\nvendor: Example\n"
IMAGE = "summary: An image\nlicense: MIT\n"


@pytest.fixture
def make_project(tmp_path: Path) -> MakeProject:
    """Write files by their path in a project and give its folder.

    A ``containerpkg.yaml``, and an ``image.yaml`` beside each Dockerfile, are added unless they
    are given; None keeps one away. A file that begins with ``#!`` becomes executable.
    """

    def make(files: Mapping[str, str | None]) -> Path:
        root = tmp_path / "project"
        wanted: dict[str, str | None] = {"containerpkg.yaml": PROJECT}
        for path in files:
            if path.endswith(("/Dockerfile", "/Containerfile")):
                wanted[f"{path.rpartition('/')[0]}/image.yaml"] = IMAGE
        for path, text in (wanted | dict(files)).items():
            if text is not None:
                file = root / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
                file.chmod(0o755 if text.startswith("#!") else 0o644)
        return root

    return make
