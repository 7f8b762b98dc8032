# ruff: noqa: E501, ISC004 - the tables hold whole messages
"""What may stand below ``source:``, and what is refused with a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from containerpkg.definitions.lock import LockedSource, LockFile, load_lock, render_lock, write_lock
from containerpkg.definitions.source import Source
from containerpkg.definitions.yaml import parse_located
from containerpkg.errors import DefinitionError

COMMIT = "3f786850e387550fdab836ed7e6dc881de23001b"
SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
SCHEMES = "must begin with https://, ssh://, file://"
PASSWORD = (
    "must not have a user or a password, which would end up in logs and images; "
    "git asks its credential helper and ~/.netrc"
)
NO_REF = "is not a name that git allows for a branch or a tag"
WHOLE = "must be a whole commit ID of 40 (or 64) hexadecimal digits, not"


def parse(text: str) -> Source:
    return parse_located(text, Path("s.yaml"), Source).model


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("git: https://h/a.git", ("default branch", "", "source")),
        (
            "{git: 'git@h.example:a/b.git', branch: feature/x-1}",
            ("branch feature/x-1", "", "source"),
        ),
        ("{git: 'ssh://git@h:22/~u/a', tag: v1.0, dockerfile: d/Dockerfile}", ("tag v1.0", "", "")),
        (f"{{git: file:///srv/a.git, commit: {COMMIT}, into: ./a/}}", ("commit", COMMIT, "a")),
        (f"{{archive: a.tar.gz, sha256: {SHA256}, into: .}}", ("archive", SHA256, "")),
        (f"{{archive: 'http://h/a?b=c', sha256: {SHA256}}}", ("archive", SHA256, "source")),
    ],
)
def test_sources(text: str, expected: tuple[str, str, str]) -> None:
    source = parse(text)
    assert (source.ref, source.fixed, source.place) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{branch: main}", "must have either 'git' or 'archive'"),
        (f"{{git: https://h/a, archive: b, sha256: {SHA256}}}", "must have either 'git' or 'archive'"),
        ("{git: http://h/a}", f"git: {SCHEMES}"),
        ("{git: /srv/a}", f"git: {SCHEMES}"),
        ("{git: '--upload-pack=touch /x'}", f"git: {SCHEMES}"),
        ("{git: 'ext::sh -c true'}", f"git: {SCHEMES}"),
        ("{git: 'ssh://-oProxyCommand=x/a'}", "git: has no host"),
        ("{git: 'https:///a'}", "git: has no host"),
        ("{git: 'file://host/a'}", "git: must be file:// and an absolute path"),
        ("{git: 'https://u:p@h/a'}", f"git: {PASSWORD}"),
        ("{git: 'https://token@h/a'}", f"git: {PASSWORD}"),
        ("{git: 'ssh://u:p@h/a'}", f"git: {PASSWORD}"),
        ("{git: 'https://h/$(x)'}", "git: has a character that is none of a URL; write it as %XX"),
        ("{git: https://h/a, branch: '-x'}", f"branch: {NO_REF}"),
        ("{git: https://h/a, branch: 'a..b'}", f"branch: {NO_REF}"),
        ("{git: https://h/a, tag: 'a b'}", f"tag: {NO_REF}"),
        ("{git: https://h/a, tag: 'x.lock'}", f"tag: {NO_REF}"),
        ("{git: https://h/a, commit: abc1234}", f"commit: {WHOLE} 'abc1234'"),
        ("{git: https://h/a, branch: a, tag: b}",
         "can have one of 'branch', 'tag' and 'commit' only"),
        (f"{{git: https://h/a, sha256: {SHA256}}}",
         "has 'sha256', which belongs to 'archive'; name a 'commit'"),
        ("{archive: a.tar}", "needs the 'sha256' of the archive"),
        (f"{{archive: a.tar, sha256: {SHA256}, tag: b}}", "has 'tag', which belongs to 'git'"),
        (f"{{archive: ../a.tar, sha256: {SHA256}}}",
         "archive: must be a URL, or the path of a file inside the image's folder, in characters "
         "that a URL may have"),
        ("{git: https://h/a, folder: ../x}", "folder: must be a path inside the source"),
        ("{git: https://h/a, dockerfile: /etc/passwd}",
         "dockerfile: must be a path inside the source"),
        ("{git: https://h/a, patches: [../x]}", "patches[0]: must be a path inside the image's folder"),
    ],
)  # fmt: skip
def test_what_is_refused(text: str, expected: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        parse(text)
    place = "s.yaml:1: " if ": " in expected.split(" ")[0] + " " else "s.yaml: "
    assert str(caught.value.problems[0]).removeprefix(place) == expected


def test_a_lock_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert load_lock(tmp_path) is None
    lock = LockFile(
        sources={"shop": LockedSource(origin="https://h/a", ref="branch main", revision=COMMIT)},
        bases={"debian:12": f"sha256:{SHA256}", "local:1": None},
    )
    write_lock(tmp_path, lock)
    assert load_lock(tmp_path) == lock
    assert render_lock(lock) == (
        "{\n"
        '  "bases": {\n'
        f'    "debian:12": "sha256:{SHA256}",\n'
        '    "local:1": null\n'
        "  },\n"
        '  "sources": {\n'
        '    "shop": {\n'
        '      "origin": "https://h/a",\n'
        '      "ref": "branch main",\n'
        f'      "revision": "{COMMIT}"\n'
        "    }\n"
        "  },\n"
        '  "version": 1\n'
        "}\n"
    )
    (tmp_path / "containerpkg.lock").write_text('{\n  "version": 2\n}\n')
    with pytest.raises(DefinitionError) as caught:
        load_lock(tmp_path)
    assert (
        str(caught.value) == f"{tmp_path}/containerpkg.lock:2: version: must be 1, not the number 2"
    )
