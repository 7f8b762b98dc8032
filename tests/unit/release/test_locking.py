# ruff: noqa: E501, ISC004 - the tables hold whole messages
"""What the lock says, and what is drift."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO

import pytest

from containerpkg import process
from containerpkg.definitions.load import load_project
from containerpkg.definitions.lock import LockedSource, LockFile
from containerpkg.definitions.project import Project
from containerpkg.definitions.source import SourceTree
from containerpkg.errors import DriftError
from containerpkg.release.locking import check_bases, find_digest, plan_lock

Make = Callable[[Mapping[str, str | None]], Path]

A, B, C = (f"sha256:{digit * 64}" for digit in "abc")
COMMIT = "3f786850e387550fdab836ed7e6dc881de23001b"
SOURCE = "summary: x\nlicense: MIT\nsource: {git: 'https://h/a.git', branch: main}\n"


class Programs:
    """Engines and registries: what each reference is there."""

    def __init__(self, engine: Mapping[str, str], registry: Mapping[str, str] = {}) -> None:
        self._engine, self._registry = engine, registry
        self.calls: list[list[str]] = []

    def __call__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str | None] | None = None,
        cwd: Path | None = None,
        stdin: Callable[[IO[bytes]], None] | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> process.Result:
        self.calls.append(list(argv))
        found = self._registry if argv[0] == "skopeo" else self._engine
        answer = found.get(argv[-1].removeprefix("docker://"))
        if answer is None:
            raise process.CommandFailed(argv, 1, "no such image")
        return process.Result(stdout=f"{answer}\n")


@pytest.fixture(autouse=True)
def _engines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: name if name == "docker" else None)


INSPECT = ["docker", "image", "inspect", "--format={{json .RepoDigests}}"]
SKOPEO = ["skopeo", "inspect", "--no-tags", "--format={{.Digest}}"]


@pytest.mark.parametrize(
    ("reference", "programs", "expected", "calls"),
    [
        (f"debian:12@{A}", Programs({}), A, []),
        (
            "debian:12",
            Programs({"debian:12": f'["other@{B}","debian@{A}"]'}, {"debian:12": C}),
            A,
            [[*INSPECT, "debian:12"]],
        ),
        ("debian:12", Programs({"debian:12": "[]"}, {"debian:12": C}), None, [[*INSPECT, "debian:12"]]),
        ("debian:12", Programs({"debian:12": "null"}), None, [[*INSPECT, "debian:12"]]),
        (
            "debian:12",
            Programs({}, {"debian:12": C}),
            C,
            [[*INSPECT, "debian:12"], [*SKOPEO, "docker://debian:12"]],
        ),
        (
            "debian:12",
            Programs({}),
            None,
            [[*INSPECT, "debian:12"], [*SKOPEO, "docker://debian:12"]],
        ),
    ],
)  # fmt: skip
def test_a_digest(
    reference: str, programs: Programs, expected: str | None, calls: list[list[str]]
) -> None:
    assert find_digest(reference, run=programs) == expected
    assert programs.calls == calls


@pytest.fixture
def project(make_project: Make) -> Project:
    root = make_project(
        {
            "images/base/Dockerfile": "FROM debian:12\nCOPY --from=docker.io/tools:1 a b\n",
            "images/shop/Dockerfile": "FROM quay.io/example/base\nCOPY --from=alpine:3 a b\n",
            "images/shop/image.yaml": SOURCE,
            "images/old/Dockerfile": "FROM scratch\n",
            "images/old/image.yaml": SOURCE,
        }
    )
    tree = SourceTree(folder=root, origin="https://h/a.git", ref="branch main", revision=COMMIT)
    return load_project(root, {"shop": tree, "old": replace(tree, revision="b" * 40)})


def test_a_lock_of_some_images_keeps_the_entries_of_the_others(project: Project) -> None:
    other = LockedSource(origin="https://h/b", ref="tag 1", revision="a" * 40)
    old = LockFile(
        sources={"old": other, "gone": other, "shop": other},
        bases={"debian:12": A, "alpine:3": A, "gone:1": A},
    )
    shop = (project.image("shop"),)
    registry = Programs({}, {"alpine:3": B, "debian:12": C, "docker.io/tools:1": C})
    locked = LockedSource(origin="https://h/a.git", ref="branch main", revision=COMMIT)
    assert plan_lock(project, shop, old, run=registry) == LockFile(
        sources={"old": other, "shop": locked}, bases={"debian:12": A, "alpine:3": B}
    )
    assert plan_lock(project, project.images, None, run=registry) == LockFile(
        sources={"old": locked.model_copy(update={"revision": "b" * 40}), "shop": locked},
        bases={"debian:12": C, "alpine:3": B, "docker.io/tools:1": C},
    )


def test_bases_that_are_as_they_were(project: Project) -> None:
    lock = LockFile(bases={"debian:12": A, "docker.io/tools:1": None, "alpine:3": B})
    found = Programs({}, {"debian:12": A, "alpine:3": B})
    assert list(check_bases(lock, project, project.images, run=found)) == [
        "docker.io/tools:1: its digest was not known when containerpkg.lock was written, so nobody "
        "checks that it is the same image"
    ]


@pytest.mark.parametrize(
    ("bases", "now", "expected"),
    [
        ({}, {}, "containerpkg.lock has nothing of the image debian:12"),
        ({"debian:12": A}, {"debian:12": B},
         f"the image debian:12 is {B} now, and containerpkg.lock has {A}"),
        ({"debian:12": A}, {},
         f"the image debian:12 is locked to {A}, and neither an engine nor skopeo can say what it "
         "is now"),
    ],
)  # fmt: skip
def test_drift(
    project: Project, bases: dict[str, str | None], now: dict[str, str], expected: str
) -> None:
    lock = LockFile(bases={"docker.io/tools:1": None, **bases})
    with pytest.raises(DriftError) as caught:
        list(check_bases(lock, project, [project.image("base")], run=Programs({}, now)))
    assert caught.value.message == expected
