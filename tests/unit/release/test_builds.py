"""What is built, and why, as whole plans."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from containerpkg.errors import UsageError
from containerpkg.release.builds import BuildStep
from containerpkg.release.make import Options

PROJECT = "registry: quay.io/example\nvendor: Example\n"
IMAGE = "summary: An image\nlicense: MIT\n"

FILES = {
    "images/base/Dockerfile": "FROM scratch\nARG LEVEL=1\nCOPY a b /\n",
    "images/base/a": "a",
    "images/base/b": "b",
    "images/middle/Dockerfile": "FROM quay.io/example/base:1.0\n",
    "images/top/Dockerfile": "FROM quay.io/example/middle:1.0\n",
    "images/other/Dockerfile": "FROM scratch\nCOPY make /\n",
    "images/other/.dockerignore": "make\n",
    "images/other/make": "#!/bin/sh\n",
    "images/other/image.yaml": f"{IMAGE}prepare: make\n",
}

KEEP = ("keep", "unchanged since TIME")
CHILDREN = {
    "middle": ("build", "its parent base is built"),
    "top": ("build", "its parent middle is built"),
}

Change = Callable[[Path], object]


def shown(steps: tuple[BuildStep, ...]) -> dict[str, tuple[str, str]]:
    return {
        step.image.name: (
            step.action,
            re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "TIME", step.reason),
        )
        for step in steps
    }


def write(name: str, text: str) -> Change:
    return lambda root: (root / name).write_text(text)


def several(root: Path) -> None:
    (root / "images/base/a").write_text("A")
    (root / "images/base/b").unlink()
    (root / "images/base/sub").mkdir()


CHANGES: dict[str, tuple[Change, dict[str, tuple[str, str]]]] = {
    "nothing": (lambda root: None, {}),
    "touched": (lambda root: (root / "images/base/a").touch(), {}),
    "changed": (
        write("images/base/a", "A"),
        {"base": ("build", "a changed"), **CHILDREN},
    ),
    "mode": (
        lambda root: (root / "images/base/a").chmod(0o755),
        {"base": ("build", "a changed"), **CHILDREN},
    ),
    "gone": (
        lambda root: (root / "images/base/b").unlink(),
        {"base": ("build", "b is gone"), **CHILDREN},
    ),
    "new": (
        write("images/base/c", ""),
        {"base": ("build", "c is new"), **CHILDREN},
    ),
    "several": (
        several,
        {"base": ("build", "a changed, b is gone and 1 more"), **CHILDREN},
    ),
    "argument": (
        write("containerpkg.yaml", f"{PROJECT}build: {{args: {{LEVEL: '2', UNUSED: x}}}}\n"),
        {"base": ("build", "argument LEVEL is new"), **CHILDREN},
    ),
    "network": (
        write("images/middle/image.yaml", f"{IMAGE}build: {{network: host}}\n"),
        {"middle": ("build", "network changed"), "top": CHILDREN["top"]},
    ),
    "both": (
        lambda root: several(root) or (root / "images/middle/x").touch(),
        {
            "base": ("build", "a changed, b is gone and 1 more"),
            "middle": ("build", "x is new; its parent base is built"),
            "top": CHILDREN["top"],
        },
    ),
    "renamed": (
        lambda root: (root / "images/top/Dockerfile").rename(root / "images/top/Containerfile"),
        {"top": ("build", "dockerfile changed, Containerfile is new and 1 more")},
    ),
    "image.yaml": (
        write("images/base/image.yaml", "summary: Another\nlicense: MIT\nversion: '2'\n"),
        {},
    ),
    "prepare, outside the context": (
        write("images/other/make", "#!/bin/sh\n# another\n"),
        {"other": ("build", "prepare changed")},
    ),
    "no blobs": (
        lambda root: shutil.rmtree(root / ".containerpkg/blobs"),
        {
            "base": ("build", "not in the store"),
            "middle": ("build", "not in the store; its parent base is built"),
            "top": ("build", "not in the store; its parent middle is built"),
            "other": ("build", "not in the store"),
        },
    ),
    "another compression": (
        write("containerpkg.yaml", f"{PROJECT}layers: {{level: 4}}\n"),
        {
            "base": ("build", "not in the store"),
            "middle": ("build", "not in the store; its parent base is built"),
            "top": ("build", "not in the store; its parent middle is built"),
            "other": ("build", "not in the store"),
        },
    ),
}


@pytest.mark.parametrize(("change", "expected"), CHANGES.values(), ids=CHANGES)
def test_reasons(change, expected, make_project, workshop, engine):
    root = make_project(FILES)
    before = workshop(root)
    before.build(before.project.images, engine, Options(jobs=2))
    change(root)
    after = workshop(root)
    plan = after.plan(after.project.images)
    assert shown(plan) == {name: expected.get(name, KEEP) for name in FOUR}
    assert [step.image.name for step in plan] == [image.name for image in after.project.images]


def test_another_platform_is_another_image(make_project, workshop, engine, monkeypatch):
    root = make_project(FILES)
    monkeypatch.delenv("DOCKER_DEFAULT_PLATFORM", raising=False)
    state = workshop(root)
    state.build(state.project.images, engine, Options(jobs=2))
    monkeypatch.setenv("DOCKER_DEFAULT_PLATFORM", "linux/arm64")
    assert shown(state.plan(state.project.images)) == {
        "base": ("build", "platform is new"),
        "middle": ("build", "platform is new; its parent base is built"),
        "top": ("build", "platform is new; its parent middle is built"),
        "other": ("build", "platform is new"),
    }
    monkeypatch.setenv("DOCKER_DEFAULT_PLATFORM", "")
    assert shown(state.plan(state.project.images)) == dict.fromkeys(FOUR, KEEP)


FOUR = ["base", "middle", "other", "top"]


def test_never_built(make_project, workshop):
    root = make_project(FILES)
    first = workshop(root)
    assert shown(first.plan(first.project.images)) == {
        "base": ("build", "never built"),
        "middle": ("build", "never built; its parent base is built"),
        "other": ("build", "never built"),
        "top": ("build", "never built; its parent middle is built"),
    }
    assert not (root / ".containerpkg").exists(), "a plan writes nothing"
    with pytest.raises(UsageError) as caught:
        first.plan([first.project.image("top")])
    assert (caught.value.message, caught.value.hint) == (
        "image 'top' is built from 'middle', which has not been built",
        "containerpkg build top --with-parents",
    )


def test_forced(make_project, workshop, engine):
    root = make_project(FILES)
    forced = workshop(root)
    forced.build(forced.project.images, engine, Options(jobs=2))
    assert shown(forced.plan(forced.project.images, force=True)) == dict.fromkeys(
        FOUR, ("build", "asked for by --force")
    )
    engine.built()
    (root / "images/base/a").write_text("A")
    again = workshop(root)
    again.build(again.project.images, engine, Options(jobs=2, force=True))
    assert sorted(engine.built()) == FOUR
    # What was built by force counts like any other build.
    assert shown(workshop(root).plan(again.project.images)) == dict.fromkeys(FOUR, KEEP)


def test_a_parent_that_is_not_selected_is_the_one_that_is_defined(make_project, workshop, engine):
    root = make_project(FILES)
    for text in ("a", "A", "a"):
        (root / "images/base/a").write_text(text)
        state = workshop(root)
        state.build(state.project.images, engine, Options(jobs=2))
    assert shown(state.plan([state.project.image("middle")])) == {"middle": KEEP}
    # While it is changed and not built, it is the last that was.
    (root / "images/base/a").write_text("x")
    state.build([state.project.image("middle")], engine, Options(jobs=2))
    assert state.records.last_build("middle").inputs["parent base"] == (
        state.records.last_build("base").image_id
    )


_opened: list[str] | None = None


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    if _opened is not None and event == "open":
        _opened.append(str(arguments[0]))


def test_three_hundred_images_read_each_file_once(make_project, workshop, engine):
    global _opened
    files = {"images/i0-0/Dockerfile": "FROM scratch\n"}
    for number in range(1, 300):
        level, column = divmod(number, 50)
        parent = "scratch" if not level else f"quay.io/example/i{level - 1}-{column // 2}:1.0"
        files[f"images/i{level}-{column}/Dockerfile"] = f"FROM {parent}\n"
        files[f"images/i{level}-{column}/file"] = f"{number}"
    root = make_project(files)
    state = workshop(root)
    state.build(state.project.images, engine, Options(jobs=2))
    sys.addaudithook(_audit)
    _opened = []
    try:
        plan = state.plan(state.project.images)
    finally:
        opened, _opened = _opened, None
    assert len(plan) == 300
    assert {step.action for step in plan} == {"keep"}
    contexts = sorted(
        name for name in opened if name.startswith(f"{root}/images/") and Path(name).exists()
    )
    assert contexts == sorted(
        str(path) for path in (root / "images").rglob("*") if path.name in {"Dockerfile", "file"}
    )
