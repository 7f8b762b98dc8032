"""``source:`` of an image: the program that it is built from, where that lives elsewhere.

A source is a git repository or an archive. What was fetched of it is a :class:`SourceTree`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, model_validator

from containerpkg.definitions.model import Model, RelativePath, matching

# Nothing that a shell, a Dockerfile or a log would take for more than it is.
_URL = re.compile(r"[A-Za-z0-9._~:/@%+=,&?#-]+")
_SCP = re.compile(r"[A-Za-z0-9._-]+@[A-Za-z0-9.-]+:(?!//)[A-Za-z0-9._~/+-]+")

# git-check-ref-format(1)
_BAD_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|^[-/.]|/\.|[/.]$|\.lock(/|$)|^@$")


def check_git_url(value: str) -> str:
    """``value``, if git may be given it; raises ValueError.

    ``https://``, ``ssh://`` and ``file://``, and ``USER@HOST:PATH``, which is ssh too.
    """
    if _SCP.fullmatch(value):
        return value
    return _check_url(value, ("https", "ssh", "file"))


def _check_url(value: str, schemes: tuple[str, ...]) -> str:
    scheme, found, rest = value.partition("://")
    if not found or scheme not in schemes:
        raise ValueError(f"must begin with {', '.join(f'{name}://' for name in schemes)}")
    if not _URL.fullmatch(rest):
        raise ValueError("has a character that is none of a URL; write it as %XX")
    parts = urlsplit(value)
    user = parts.netloc.rpartition("@")[0]
    if ":" in user or (user and scheme != "ssh"):
        raise ValueError(
            "must not have a user or a password, which would end up in logs and images; "
            "git asks its credential helper and ~/.netrc"
        )
    if parts.netloc.startswith("-") or not (parts.netloc or scheme == "file"):
        raise ValueError("has no host")
    if scheme == "file" and (parts.netloc or not parts.path.startswith("/")):
        raise ValueError("must be file:// and an absolute path")
    return value


def _archive(value: str) -> str:
    if "://" in value:
        return _check_url(value, ("https", "http", "file"))
    if value.startswith("/") or ".." in value.split("/") or not _URL.fullmatch(value):
        raise ValueError(
            "must be a URL, or the path of a file inside the image's folder, in characters that "
            "a URL may have"
        )
    return value


def _ref(value: str) -> str:
    if not value or _BAD_REF.search(value):
        raise ValueError("is not a name that git allows for a branch or a tag")
    return value


def _inner(value: str) -> str:
    if not value or value.startswith("/") or ".." in value.split("/"):
        raise ValueError("must be a path inside the source")
    if any(ord(character) < 32 or ord(character) == 127 for character in value):
        raise ValueError("must be one line without control characters")
    return value


GitUrl = Annotated[str, AfterValidator(check_git_url)]
"""https://…, ssh://…, file://… or USER@HOST:PATH, without a password."""

ArchivePlace = Annotated[str, AfterValidator(_archive)]
"""https://…, http://… or file://…, or the path of a file in the image's folder."""

GitRef = Annotated[str, AfterValidator(_ref)]
"""The name of a branch or a tag, without refs/heads/ or refs/tags/."""

CommitId = Annotated[
    str,
    matching(
        r"^([0-9a-f]{40}|[0-9a-f]{64})$",
        "must be a whole commit ID of 40 (or 64) hexadecimal digits",
    ),
]
"""A commit, by all of its digits."""

Sha256 = Annotated[
    str, matching(r"^[0-9a-f]{64}$", "must be a SHA-256 of 64 lower-case hexadecimal digits")
]
"""The SHA-256 of a file."""

InnerPath = Annotated[str, AfterValidator(_inner)]
"""A path inside the source."""


class Source(Model):
    """The program that the image is built from: a git repository or an archive."""

    git: GitUrl | None = None
    """The repository; git's own credentials are used."""

    branch: GitRef | None = None
    """The branch whose newest commit is taken; without branch, tag and commit the default one."""

    tag: GitRef | None = None
    """The tag that is taken."""

    commit: CommitId | None = None
    """The commit that is taken."""

    submodules: bool = False
    """Whether submodules are fetched too, and theirs."""

    archive: ArchivePlace | None = None
    """A tar archive, plain or compressed by gzip, bzip2 or xz."""

    sha256: Sha256 | None = None
    """What the archive's bytes have to be; needed with 'archive'."""

    strip: bool = True
    """Whether the one folder that everything in the archive is in is left away."""

    patches: tuple[RelativePath, ...] = ()
    """Files in the image's folder that 'git apply' applies, in this order, to the whole source."""

    folder: InnerPath | None = None
    """The folder of the source that is taken; by default all of it."""

    dockerfile: InnerPath | None = None
    """The Dockerfile, where it lives in the source; a path below 'folder'. By default the one in
    the image's folder."""

    into: RelativePath | None = None
    """The folder of the build context that the source becomes, '.' for the context's top. By
    default '.' with 'dockerfile', else 'source'."""

    @model_validator(mode="after")
    def _one_origin(self) -> Source:
        if (self.git is None) == (self.archive is None):
            raise ValueError("must have either 'git' or 'archive'")
        if self.git:
            if sum(bool(ref) for ref in (self.branch, self.tag, self.commit)) > 1:
                raise ValueError("can have one of 'branch', 'tag' and 'commit' only")
            if self.sha256:
                raise ValueError("has 'sha256', which belongs to 'archive'; name a 'commit'")
            if not self.strip:
                raise ValueError("has 'strip', which belongs to 'archive'")
        else:
            if not self.sha256:
                raise ValueError("needs the 'sha256' of the archive")
            for key in ("branch", "tag", "commit", "submodules"):
                if getattr(self, key):
                    raise ValueError(f"has '{key}', which belongs to 'git'")
        return self

    @property
    def origin(self) -> str:
        """Where it comes from, as written."""
        origin = self.git or self.archive
        assert origin
        return origin

    @property
    def ref(self) -> str:
        """What is asked for, in words: ``branch main``, ``tag v1``, ``default branch``."""
        if self.archive:
            return "archive"
        for word in ("branch", "tag"):
            if name := getattr(self, word):
                return f"{word} {name}"
        return "commit" if self.commit else "default branch"

    @property
    def fixed(self) -> str:
        """The revision that the definition itself names: a commit, or an archive's SHA-256."""
        return self.commit or self.sha256 or ""

    @property
    def place(self) -> str:
        """The folder of the context that it becomes; empty for the top."""
        into = self.into or ("." if self.dockerfile else "source")
        return "/".join(part for part in into.split("/") if part not in {"", "."})

    @property
    def own_files(self) -> frozenset[str]:
        """Files of the image's folder that are read here and are none of the build context."""
        archive = {self.archive} if self.archive and "://" not in self.archive else set()
        return frozenset({*self.patches, *archive})


@dataclass(frozen=True, kw_only=True)
class SourceTree:
    """A source as it lies on this machine: fetched, patched, whole."""

    folder: Path
    """What joins the build context; with the sub-folder that is asked for."""

    origin: str
    ref: str
    """As :attr:`Source.ref`, or the folder of a local tree."""

    revision: str
    """The commit, an archive's ``sha256:HEX``, or what is known of a local tree."""

    created: str = ""
    """When that was committed or packed, RFC 3339 in UTC; empty if it is unknown."""

    local: bool = False
    """Whether it is a folder of the developer's, taken as it is."""

    names: tuple[str, ...] = ()
    """Of a local tree, the files and folders that are taken, sorted."""
