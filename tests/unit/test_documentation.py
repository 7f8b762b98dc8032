"""The documentation says what the code does: generated pages, examples, commands and links."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from pydantic import BaseModel

from containerpkg.cli.root import cli
from containerpkg.definitions.image import ImageFile
from containerpkg.definitions.project import ProjectFile
from containerpkg.definitions.yaml import load_model, parse_located

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
WRITTEN = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md")])

sys.path.insert(0, str(ROOT / "scripts"))

from docgen import keys, pages, roff  # noqa: E402 - the path comes first


class Inner(BaseModel):
    """What is inside."""


class Outer(BaseModel):
    """What is outside."""

    inner: dict[str, tuple[Inner, ...]] = {}


def test_generated_pages_are_what_the_code_says() -> None:
    assert pages.stale(DOCS) == [], "run scripts/generate-docs"


def test_stale_pages_are_found(tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(DOCS / "examples")
    pages.write(tmp_path)
    assert pages.stale(tmp_path) == []
    (tmp_path / "man" / "containerpkg-gone.1").write_text("")
    (tmp_path / "man" / "containerpkg.1").write_text("old")
    (tmp_path / "reference" / "commands.md").unlink()
    assert pages.stale(tmp_path) == [
        "man/containerpkg-gone.1",
        "man/containerpkg.1",
        "reference/commands.md",
    ]
    pages.write(tmp_path)
    assert pages.stale(tmp_path) == []


@pytest.mark.parametrize(("file", "root"), pages.FILES.items())
def test_examples_use_every_key(file: str, root: type[BaseModel]) -> None:
    examples = (DOCS / "examples").glob(f"{Path(file).stem}*.yaml")
    given = {key for path in examples for key in _given(load_model(path, root))}
    known = {
        f"{section.place}.{key.name}".lstrip(".")
        for section in keys.load_page(file, root).sections
        for key in section.keys
    }
    assert given == known


def _given(model: BaseModel, place: str = "") -> Iterator[str]:
    for name in model.model_fields_set:
        key = f"{place}.{name}".lstrip(".")
        yield key
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from _given(value, key)
        for item in value if isinstance(value, tuple) else ():
            if isinstance(item, BaseModel):
                yield from _given(item, f"{key}[]")
        for item in value.values() if isinstance(value, dict) else ():
            if isinstance(item, BaseModel):
                yield from _given(item, f"{key}.NAME")


def test_roff_says_what_the_text_says() -> None:
    table = {
        ".so /etc/shadow": r"\&.so /etc/shadow",
        "'quoted' \"twice\"": r"\&\(aqquoted\(aq \(dqtwice\(dq",
        "back\\slash --option": r"back\(rsslash \-\-option",
        "two\n.lines": "two .lines",
    }
    assert {text: roff.escaped(text) for text in table} == table
    assert roff.prose("see ``-o FILE`` first") == r"see \fB\-o FILE\fR first"


def test_a_key_is_described_in_words() -> None:
    assert keys.load_page("image.yaml", Outer).sections == (
        keys.Section(
            place="",
            meaning="What is outside.",
            keys=(
                keys.Key(
                    name="inner",
                    kind="mapping of text to list of mapping",
                    default="",
                    required=False,
                    meaning="",
                ),
            ),
        ),
        keys.Section(place="inner.NAME[]", meaning="What is inside.", keys=()),
    )


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.name)
def test_documents_are_right(path: Path) -> None:
    text = path.read_text()
    for block in re.findall(r"^```yaml\n(# \S+\.yaml\n.*?)^```", text, re.MULTILINE | re.DOTALL):
        name = block.split()[1]
        parse_located(block, Path(name), ImageFile if "image" in name else ProjectFile)
    for line in re.findall(r"^\$ containerpkg (.*)$", text, re.MULTILINE):
        _parse(shlex.split(line, comments=True))
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", text)
    assert [link for link in links if not (path.parent / link).exists()] == []


def _parse(arguments: list[str]) -> None:
    """Raise click's UsageError for a command line that containerpkg does not take."""
    with cli.make_context("containerpkg", list(arguments)) as context:
        name, command, rest = cli.resolve_command(context, context._protected_args + context.args)
        assert name
        assert command
        command.make_context(name, rest, parent=context)
        assert isinstance(command, click.Command)
