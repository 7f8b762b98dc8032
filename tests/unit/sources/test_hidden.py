"""The builder's own files, which COPY sees unless they are ignored."""

from __future__ import annotations

from pathlib import Path

import pytest

from containerpkg.sources.context import Context, load_context
from containerpkg.sources.hidden import hidden_names


@pytest.mark.parametrize(
    ("ignore", "hidden"),
    [
        ("*.log\n", ()),
        ("Dockerfile\n", ("Dockerfile",)),
        ("*\n!a\n", (".dockerignore", "Dockerfile")),
        ("**/Dockerfile\n!Dockerfile\n.docker*\n", (".dockerignore",)),
        ("# Dockerfile\n\n!.dockerignore\n", ()),
    ],
)
def test_what_the_builder_reads_and_copy_does_not_see(
    tmp_path: Path, ignore: str, hidden: tuple[str, ...]
) -> None:
    for name, text in ((".dockerignore", ignore), ("Dockerfile", ""), ("a", "")):
        (tmp_path / name).write_text(text)
    assert hidden_names(load_context(tmp_path, "Dockerfile")) == hidden
    (tmp_path / ".dockerignore").rename(tmp_path / "Dockerfile.dockerignore")
    found = hidden_names(load_context(tmp_path, "Dockerfile"))
    assert found == tuple(name for name in hidden if name == "Dockerfile")


def test_a_dockerfile_in_an_ignored_folder_and_no_patterns_at_all(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/Dockerfile").write_text("")
    assert hidden_names(load_context(tmp_path, "sub/Dockerfile")) == ()
    (tmp_path / ".dockerignore").write_text("sub\n")
    assert hidden_names(load_context(tmp_path, "sub/Dockerfile")) == ("sub/Dockerfile",)
    assert hidden_names(Context(dockerfile="Dockerfile", entries=())) == ()
