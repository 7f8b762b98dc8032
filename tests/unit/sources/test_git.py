# ruff: noqa: ISC004 - the tables hold whole messages
"""How git is started, and what it is not told or believed."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

import pytest

from containerpkg import process
from containerpkg.errors import SourceError
from containerpkg.sources import git

URL = "https://h.example/a.git"
COMMIT = "3f786850e387550fdab836ed7e6dc881de23001b"
OTHER = "89e6c98d92887913cadf06b2adb97f26cde4849b"
LISTED = f"{OTHER}\trefs/tags/v1\n{COMMIT}\trefs/tags/v1^{{}}\n{OTHER}\trefs/heads/main\n"


class Git:
    """Stands at the door; each answer is what one call prints, or how it fails."""

    def __init__(self, *answers: str | process.CommandFailed | BaseException) -> None:
        self.answers = list(answers)
        self.calls: list[list[str]] = []
        self.environments: list[Mapping[str, str | None]] = []

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
        self.environments.append(env or {})
        answer = self.answers.pop(0)
        if isinstance(answer, str):
            return process.Result(stdout=answer)
        raise answer


def failed(said: str) -> process.CommandFailed:
    return process.CommandFailed(["git"], 128, said)


@pytest.mark.parametrize(
    ("ref", "asked", "expected"),
    [
        ("tag v1", "refs/tags/v1", COMMIT),
        ("branch main", "refs/heads/main", OTHER),
    ],
)
def test_a_ref_is_asked_for_by_its_whole_name(ref: str, asked: str, expected: str) -> None:
    run = Git(LISTED)
    assert git.ls_remote(URL, ref, run=run) == expected
    assert run.calls == [["git", "ls-remote", "--", URL, asked, f"{asked}^{{}}"]]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("", f"the git repository {URL} has no branch main"),
        (
            failed(
                f"warning: x\nfatal: unable to access 'https://u:secret@h.example/a.git': {'no'}"
            ),
            f"the git repository {URL} cannot be read: "
            "fatal: unable to access 'https://…@h.example/a.git': no",
        ),
    ],
)
def test_a_remote_that_has_it_not(answer: str | process.CommandFailed, expected: str) -> None:
    with pytest.raises(SourceError) as caught:
        git.ls_remote(URL, "branch main", run=Git(answer))
    assert caught.value.message == expected


def test_a_remote_gets_the_credentials_and_the_cache_gets_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    for name in ("GIT_DIR", "GIT_TRACE_CURL", "GIT_SSH_COMMAND", "GIT_CONFIG_COUNT"):
        monkeypatch.setenv(name, "x")
    assert git.remote_environment(URL) == {
        "GIT_ALLOW_PROTOCOL": "https:ssh",
        "GIT_DIR": None,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_TRACE_CURL": None,
        "LC_ALL": "C",
    }
    assert git.remote_environment("file:///a")["GIT_ALLOW_PROTOCOL"] == "file"
    assert git.local_environment() == {
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_CONFIG_COUNT": None,
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_SYSTEM": "/dev/null",
        "GIT_DIR": None,
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_SSH_COMMAND": None,
        "GIT_TRACE_CURL": None,
        "LC_ALL": "C",
    }


FETCH = [
    "git", "-c", "gc.auto=0", "-c", "maintenance.auto=false", "-c", "core.hooksPath=/dev/null",
    "fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head",
]  # fmt: skip
ALL = ["+refs/heads/*:refs/all/heads/*", "+refs/tags/*:refs/all/tags/*"]
READ = ["git", "-c", "core.attributesFile=/dev/null"]


def test_one_commit_is_fetched_and_all_if_the_server_does_not_give_one(tmp_path: Path) -> None:
    run = Git("", failed("error: Server does not allow it"), "", "", "")
    cache = git.Cache(tmp_path, run=run)
    cache.fetch(URL, COMMIT)
    path = cache.repository(URL)
    assert run.calls == [
        ["git", "init", "--quiet", "--bare", "--template=", run.calls[0][-1]],
        [*FETCH, "--depth=1", "--", URL, f"{COMMIT}:refs/containerpkg/{COMMIT}"],
        [*FETCH, "--prune", "--", URL, *ALL],
        [*READ, "cat-file", "-e", f"{COMMIT}^{{commit}}"],
        [*READ, "update-ref", f"refs/containerpkg/{COMMIT}", COMMIT],
    ]
    assert {env.get("GIT_DIR") for env in run.environments[1:]} == {run.calls[0][-1]}
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [
        path.name,
        f"{path.stem}.lock",
    ]


@pytest.mark.parametrize("end", [KeyboardInterrupt(), OSError(28, "No space left")])
def test_what_is_broken_off_leaves_nothing(tmp_path: Path, end: BaseException) -> None:
    cache = git.Cache(tmp_path, run=Git("", end))
    with pytest.raises(type(end)):
        cache.fetch(URL, COMMIT)
    assert [entry.name for entry in tmp_path.iterdir()] == [f"{cache.repository(URL).stem}.lock"]
    assert not cache.has(URL, COMMIT)


@pytest.mark.parametrize(
    ("outer", "url", "expected"),
    [
        ("https://h/a/b.git", "../c.git", "https://h/a/c.git"),
        ("https://h/a/b.git", "../../../../c", "https://h/c"),
        ("git@h:a/b.git", "../c.git", "git@h:a/c.git"),
        ("git@h:/a/b.git", "./c.git", "git@h:/a/b.git/c.git"),
        ("file:///srv/b", "../c", "file:///srv/c"),
        ("file:///srv/b", "file:///c", "file:///c"),
        ("https://h/a", "ssh://git@h/c", "ssh://git@h/c"),
    ],
)
def test_submodules(outer: str, url: str, expected: str) -> None:
    assert git.submodule_url(outer, "x", url) == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (
            "file:///etc",
            "the submodule x of https://h/a is a folder of this machine: file:///etc",
        ),
        (
            "/etc",
            "the submodule x of https://h/a has the URL '/etc', which is not allowed: "
            "it must begin with https://, ssh://, file://",
        ),
        (
            "",
            "the submodule x of https://h/a has the URL '', which is not allowed: "
            "it must begin with https://, ssh://, file://",
        ),
        (
            "-u./x",
            "the submodule x of https://h/a has the URL '-u./x', which is not allowed: "
            "it must begin with https://, ssh://, file://",
        ),
    ],
)
def test_submodules_that_are_refused(url: str, expected: str) -> None:
    with pytest.raises(SourceError) as caught:
        git.submodule_url("https://h/a", "x", url)
    assert caught.value.message == expected
