"""Patches apply or say where they do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from containerpkg.errors import SourceError
from containerpkg.sources import patches
from containerpkg.sources.patches import Hunk, parse_hunks

PATCH = """\
From 3f786850 Mon Sep 17 00:00:00 2001
Subject: [PATCH] Two files

diff --git a/lib/a b/lib/a
--- a/lib/a\t2024-01-01
+++ b/lib/a
@@ -1,2 +1,2 @@ def x
-1
+one
 2
@@ -9 +9 @@
-9
+nine
diff --git a/new b/new
new file mode 100644
--- /dev/null
+++ b/new
@@ -0,0 +1 @@
+new
"""
LINES = "".join(f"{number}\n" for number in range(1, 10))


def test_hunks() -> None:
    assert parse_hunks(PATCH) == (
        Hunk(file="lib/a", number=1, line=1, header="@@ -1,2 +1,2 @@"),
        Hunk(file="lib/a", number=2, line=9, header="@@ -9 +9 @@"),
        Hunk(file="new", number=1, line=0, header="@@ -0,0 +1 @@"),
    )


def tree(folder: Path, text: str) -> Path:
    # Inside another repository, as a project mostly is.
    (folder / "project/.git").mkdir(parents=True)
    (folder / "project/.git/HEAD").write_text("ref: refs/heads/main\n")
    for name in ("objects", "refs"):
        (folder / "project/.git" / name).mkdir()
    path = folder / "project/tree"
    (path / "lib").mkdir(parents=True)
    (path / "lib/a").write_text(text)
    return path


def test_a_patch_is_applied_to_its_tree(tmp_path: Path) -> None:
    folder, patch = tree(tmp_path, LINES), tmp_path / "-1.patch"
    patch.write_text(PATCH)
    patches.apply([patch], folder, image="shop")
    assert (folder / "lib/a").read_text() == "one\n2\n3\n4\n5\n6\n7\n8\nnine\n"
    assert (folder / "new").read_text() == "new\n"


@pytest.mark.parametrize(
    ("patch", "text", "expected"),
    [
        (PATCH, LINES.replace("9", "X"), "hunk 2 of lib/a (@@ -9 +9 @@)"),
        (PATCH.replace("lib/a", "lib/b"), LINES, "lib/b: No such file or directory"),
        (PATCH.replace("b/new", "b/../../new"), LINES, "invalid path '../../new'"),
        ("text\n", LINES, 'No valid patches in input (allow with "--allow-empty")'),
    ],
)
def test_one_that_does_not_apply(tmp_path: Path, patch: str, text: str, expected: str) -> None:
    folder, path = tree(tmp_path, text), tmp_path / "1.patch"
    path.write_text(patch)
    with pytest.raises(SourceError) as caught:
        patches.apply([path], folder, image="shop")
    assert caught.value.message == f"image 'shop': the patch 1.patch does not apply: {expected}"
    assert [p.name for p in folder.rglob("*")] == ["lib", "a"]
    assert (folder / "lib/a").read_text() == text
