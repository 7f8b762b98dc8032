# ruff: noqa: E501, ISC004 - the tables hold whole messages
"""Which revision is taken when a remote answers, and when it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from containerpkg.definitions.lock import LockedSource
from containerpkg.definitions.source import Source, SourceTree
from containerpkg.errors import DriftError, SourceError
from containerpkg.sources.checkout import Sources, Wanted, abbreviated, locked_revision
from tests.unit.sources.test_git import COMMIT, OTHER, Git, failed

URL = "https://h.example/a.git"
THIRD = "c" * 40
UNREACHABLE = f"image 'shop': the git repository {URL} cannot be read: fatal: unable to access it"
SAID = f"source of shop: the git repository {URL} cannot be read: fatal: unable to access it; "


def wanted(**ref: str) -> Wanted:
    return Wanted(image="shop", folder=Path("/none"), source=Source(git=URL, **ref))  # type: ignore[arg-type]


def locked(ref: str, revision: str = COMMIT, origin: str = URL) -> LockedSource:
    return LockedSource(origin=origin, ref=ref, revision=revision)


@pytest.mark.parametrize(
    ("ref", "lock", "expected", "told"),
    [
        ({"branch": "main"}, locked("branch main"), COMMIT,
         SAID + f"branch main is taken as in containerpkg.lock: {COMMIT[:12]}"),
        ({}, locked("default branch"), COMMIT,
         SAID + f"default branch is taken as in containerpkg.lock: {COMMIT[:12]}"),
        ({"branch": "main"}, locked("branch other"), None, ""),
        ({"branch": "main"}, locked("branch main", origin="https://h/b"), None, ""),
        ({"branch": "main"}, None, None, ""),
        # A tag is not expected to move.
        ({"tag": "v1"}, None, OTHER, SAID + f"tag v1 is taken as it was the last time: {OTHER[:12]}"),
        ({"tag": "v1"}, locked("tag v1"), COMMIT,
         SAID + f"tag v1 is taken as in containerpkg.lock: {COMMIT[:12]}"),
        ({"tag": "v2"}, None, None, ""),
    ],
)  # fmt: skip
def test_a_remote_that_does_not_answer(
    tmp_path: Path,
    ref: dict[str, str],
    lock: LockedSource | None,
    expected: str | None,
    told: str,
) -> None:
    notes: list[str] = []
    run = Git(failed("fatal: unable to access it"))
    sources = Sources(tmp_path, tell=notes.append, run=run)
    for name in ("main", "v1"):
        kind = {"v1": "tag"}.get(name, "branch")
        tree = SourceTree(folder=tmp_path, origin=URL, ref=f"{kind} {name}", revision=OTHER)
        sources.keep_current(wanted(**{kind: name}), tree)
    if expected is None:
        with pytest.raises(SourceError) as caught:
            sources.resolve(wanted(**ref), lock)
        assert caught.value.message == UNREACHABLE
    else:
        assert sources.resolve(wanted(**ref), lock) == expected
    assert notes == ([told] if told else [])


def test_a_branch_that_is_gone_is_not_taken_from_the_lock(tmp_path: Path) -> None:
    sources = Sources(tmp_path, tell=print, run=Git(""))
    with pytest.raises(SourceError) as caught:
        sources.resolve(wanted(branch="main"), locked("branch main"))
    assert caught.value.message == f"image 'shop': the git repository {URL} has no branch main"


def test_what_needs_no_question(tmp_path: Path) -> None:
    sources = Sources(tmp_path, tell=print, run=Git())
    assert sources.resolve(wanted(commit=THIRD), locked("commit")) == THIRD
    source = Source(archive="a.tar", sha256="a" * 64)
    one = Wanted(image="shop", folder=tmp_path, source=source)
    assert sources.resolve(one, None) == f"sha256:{'a' * 64}"


@pytest.mark.parametrize(
    ("ref", "lock", "expected"),
    [
        ({"branch": "main"}, None,
         "containerpkg.lock has nothing of the source of image 'shop'"),
        ({"branch": "main"}, locked("tag main"),
         f"image 'shop': image.yaml wants branch main of {URL}, and containerpkg.lock has "
         f"tag main of {URL} ({COMMIT[:12]})"),
        ({"commit": THIRD}, locked("commit"),
         f"image 'shop': image.yaml wants commit of {URL} ({THIRD[:12]}), and containerpkg.lock "
         f"has commit of {URL} ({COMMIT[:12]})"),
    ],
)  # fmt: skip
def test_drift(ref: dict[str, str], lock: LockedSource | None, expected: str) -> None:
    with pytest.raises(DriftError) as caught:
        locked_revision(wanted(**ref), lock)
    assert (caught.value.message, caught.value.hint) == (expected, "containerpkg lock shop")


def test_short_revisions() -> None:
    known = (COMMIT, f"{COMMIT}-dirty", f"sha256:{'a' * 64}", "local")
    assert [abbreviated(text) for text in known] == [
        "3f786850e387", "3f786850e387-dirty", "aaaaaaaaaaaa", "local",
    ]  # fmt: skip
