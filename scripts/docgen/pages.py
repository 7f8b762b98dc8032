"""All generated pages by their place below docs/, and whether those that are there are right."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel

from containerpkg.definitions.image import ImageFile
from containerpkg.definitions.project import ProjectFile
from docgen import markdown, roff
from docgen.commands import load_commands
from docgen.keys import load_page

FOLDERS = ("reference", "man")
"""What is in them is generated, all of it."""

FILES: Mapping[str, type[BaseModel]] = {"containerpkg.yaml": ProjectFile, "image.yaml": ImageFile}
"""The definition files and their models."""

_MANUALS = {"containerpkg.yaml": "containerpkg.yaml", "image.yaml": "containerpkg-image.yaml"}


def pages(docs: Path) -> dict[str, str]:
    """Every page's text by its path below ``docs``, whose ``examples`` are read."""
    commands = load_commands()
    found = {"reference/commands.md": markdown.render_commands(commands)}
    for command in commands:
        found[f"man/{command.page}.1"] = roff.render_command(command, commands)
    for file, root in FILES.items():
        page = load_page(file, root)
        # Of keys that exclude each other, each file has one.
        names = (docs / "examples").glob(f"{file.removesuffix('.yaml')}*.yaml")
        examples = sorted(names, key=lambda path: (path.name != file, path.name))
        example = "---\n".join(path.read_text() for path in examples)
        found[f"reference/{file}.md"] = markdown.render_keys(page, example)
        found[f"man/{_MANUALS[file]}.5"] = roff.render_keys(page, _MANUALS[file], example)
    return found


def write(docs: Path) -> None:
    """Make the generated folders hold the pages and nothing else."""
    wanted = pages(docs)
    for name in _present(docs) - wanted.keys():
        (docs / name).unlink()
    for name, text in wanted.items():
        (docs / name).parent.mkdir(parents=True, exist_ok=True)
        (docs / name).write_text(text)


def stale(docs: Path) -> list[str]:
    """The names of pages that are missing, different, or no longer wanted."""
    wanted = pages(docs)
    return sorted(
        name
        for name in wanted.keys() | _present(docs)
        if name not in wanted
        or not (docs / name).is_file()
        or (docs / name).read_text() != wanted[name]
    )


def _present(docs: Path) -> set[str]:
    return {
        path.relative_to(docs).as_posix()
        for folder in FOLDERS
        for path in (docs / folder).glob("*")
    }
