# ruff: noqa: ISC004 - the tables hold whole messages
"""A project with sources: what is fetched for a command, and why images of it are built."""

from __future__ import annotations

import json
import os
import re
import tarfile
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path

import pytest

from containerpkg.definitions.lock import LockedSource, LockFile, write_lock
from containerpkg.errors import DriftError, SourceError, UsageError
from containerpkg.progress import Silent
from containerpkg.release.make import Options, Workshop
from containerpkg.release.opening import Sourcing, find_trees, open_images, open_project
from tests.unit.release.conftest import FakeEngine

Make = Callable[[Mapping[str, str | None]], Path]

HEAD = "summary: x\nlicense: MIT\n"
PATCH = "--- a/a\n+++ b/a\n@@ -1 +1 @@\n-one\n+two\n"


def pack(path: Path, files: Mapping[str, str]) -> str:
    """Write an archive; gives its SHA-256."""
    source = path.parent / f".{path.name}"
    for name, text in files.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(text)
    with tarfile.open(path, "w") as tar:
        tar.add(source, "shop-1")
    for top, folders, names in os.walk(source, topdown=False):
        for name in names:
            (Path(top) / name).unlink()
        for name in folders:
            (Path(top) / name).rmdir()
    source.rmdir()
    return sha256(path.read_bytes()).hexdigest()


class Shop:
    """A project whose one image is built from an archive in its folder."""

    def __init__(self, root: Path, engine: FakeEngine) -> None:
        self.root, self.engine = root, engine
        self.folder = root / "images/shop"
        self.digest = pack(self.folder / "a.tar", {"a": "one\n", "docs/x": "x"})
        self.declare()

    def declare(self, more: str = "patches: [1.patch]", head: str = HEAD) -> None:
        text = f"{head}source: {{archive: a.tar, sha256: {self.digest}, {more}}}\n"
        (self.folder / "image.yaml").write_text(text)

    def open(self, sourcing: Sourcing = Sourcing()) -> Workshop:  # noqa: B008 - it is frozen
        project, self.images = open_images(
            self.root, lambda project: project.images, sourcing, progress=Silent()
        )
        return Workshop(project, progress=Silent())

    def build(self, sourcing: Sourcing = Sourcing()) -> None:  # noqa: B008
        report = self.open(sourcing).build(self.images, self.engine, Options(jobs=1))
        assert report.failure is None

    def reason(self, sourcing: Sourcing = Sourcing()) -> str:  # noqa: B008
        (step,) = self.open(sourcing).plan(self.images)
        return re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "TIME", step.reason)

    def record(self) -> object:
        folder = self.root / ".containerpkg/builds/shop"
        found = [json.loads(path.read_text()) for path in folder.iterdir()]
        return max(found, key=lambda record: record["built"])["source"]


@pytest.fixture
def shop(make_project: Make, engine: FakeEngine) -> Shop:
    files = {"images/shop/Dockerfile": "FROM scratch\n", "images/shop/1.patch": PATCH}
    return Shop(make_project(files), engine)


def test_what_is_a_reason_to_build(shop: Shop) -> None:
    assert shop.reason() == "never built"
    shop.build()
    assert shop.record() == {
        "origin": "a.tar",
        "ref": "archive",
        "revision": f"sha256:{shop.digest}",
        "local": False,
    }
    assert shop.reason() == "unchanged since TIME"
    changes: dict[str, Callable[[], object]] = {
        "source patch 1 1.patch changed": lambda: (shop.folder / "1.patch").write_text(
            PATCH.replace("two", "three")
        ),
        "source patch 1 1.patch is gone": lambda: shop.declare(""),
        "source files changed, source place changed": lambda: shop.declare(
            "patches: [1.patch], into: app"
        ),
        "version changed": lambda: shop.declare(head=f"{HEAD}version: '2'\n"),
        ".dockerignore is new, source files changed": lambda: (
            shop.folder / ".dockerignore"
        ).write_text("source/docs\n"),
    }
    for reason, change in changes.items():
        (shop.folder / "1.patch").write_text(PATCH)
        shop.declare()
        change()
        if reason.startswith("source patch 1 1.patch is gone"):
            # The file is then one of the context.
            assert shop.reason() == "1.patch is new, source patch 1 1.patch is gone"
        else:
            assert shop.reason() == reason


def test_a_new_archive_and_the_old_tree(shop: Shop) -> None:
    shop.build()
    old = shop.images[0].tree
    shop.digest = pack(shop.folder / "a.tar", {"a": "one\n", "docs/y": "y"})
    shop.declare()
    assert shop.reason() == f"source: archive is now {shop.digest[:12]}"
    shop.build()
    new = shop.images[0].tree
    assert old
    assert new
    assert not old.folder.exists()
    assert sorted(path.name for path in new.folder.rglob("*")) == ["a", "docs", "y"]


def test_a_folder_instead_of_the_source(shop: Shop, tmp_path: Path) -> None:
    shop.build()
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "a").write_text("mine")
    mine = Sourcing(folders={"shop": folder})
    assert shop.reason(mine) == f"source: {folder} is now local"
    shop.build(mine)
    assert shop.record() == {
        "origin": "a.tar",
        "ref": str(folder),
        "revision": "local",
        "local": True,
    }
    assert shop.reason(mine) == "unchanged since TIME"
    (folder / "a").write_text("changed")
    assert shop.reason(mine) == "source/a changed"
    assert shop.reason() == "unchanged since TIME"


def test_a_project_in_its_own_source(shop: Shop) -> None:
    shop.build()
    (shop.root / "out").mkdir()
    (shop.root / "out/package").write_text("")
    shop.open(Sourcing(folders={"shop": shop.root}))
    assert shop.images[0].tree
    assert shop.images[0].tree.names == (
        "containerpkg.yaml",
        "images",
        "images/shop",
        "images/shop/1.patch",
        "images/shop/Dockerfile",
        "images/shop/a.tar",
        "images/shop/image.yaml",
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("shpo", "--source shpo={}: there is no image 'shpo' with a 'source:'"),
        ("shop", "--source shop={}: there is no folder {}"),
    ],
)
def test_a_folder_that_is_not_there(shop: Shop, tmp_path: Path, name: str, expected: str) -> None:
    folder = tmp_path / "none"
    with pytest.raises(UsageError) as caught:
        shop.open(Sourcing(folders={name: folder}))
    assert caught.value.message == expected.replace("{}", str(folder))


def test_commands_that_ask_nobody_take_what_was_taken_last(shop: Shop) -> None:
    shop.build()
    taken = shop.images[0].tree
    assert open_project(shop.root).image("shop").tree == taken
    (shop.folder / "1.patch").write_text(PATCH.replace("one", "1"))
    assert find_trees(shop.root) == {}
    workshop = Workshop(open_project(shop.root), progress=Silent())
    with pytest.raises(UsageError) as caught:
        workshop.stored(workshop.project.images)
    assert caught.value.message == (
        "the source of image 'shop' has not been fetched as it is defined now"
    )


@pytest.mark.parametrize(
    ("lock", "expected"),
    [
        (None, "there is no containerpkg.lock in {}"),
        (LockFile(), "containerpkg.lock has nothing of the source of image 'shop'"),
        (
            LockFile(
                sources={
                    "shop": LockedSource(
                        origin="a.tar", ref="archive", revision=f"sha256:{'0' * 64}"
                    )
                }
            ),
            "image 'shop': image.yaml wants archive of a.tar (DIGEST), and containerpkg.lock has "
            "archive of a.tar (000000000000)",
        ),
    ],
)
def test_drift(shop: Shop, lock: LockFile | None, expected: str) -> None:
    if lock:
        write_lock(shop.root, lock)
    with pytest.raises(DriftError) as caught:
        shop.open(Sourcing(locked=True))
    wanted = expected.replace("{}", str(shop.root)).replace("DIGEST", shop.digest[:12])
    assert caught.value.message == wanted


def test_an_archive_that_is_not_what_was_written_down(shop: Shop) -> None:
    found, shop.digest = shop.digest, "f" * 64
    shop.declare()
    with pytest.raises(SourceError) as caught:
        shop.open()
    assert caught.value.message == (
        f"the archive {shop.folder / 'a.tar'} has the SHA-256 {found}, and image.yaml says "
        f"{'f' * 64}"
    )
