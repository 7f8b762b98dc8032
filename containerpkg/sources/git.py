"""git: what a branch is now, commits in a cache of bare repositories, and the files of a commit.

What speaks to a remote has git's own configuration and credentials. What only reads the cache has
neither, so that a commit gives the same files for everybody. https://git-scm.com/docs
"""

from __future__ import annotations

import os
import posixpath
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from containerpkg import process
from containerpkg.definitions.source import check_git_url
from containerpkg.errors import SourceError
from containerpkg.files import locked, sha256_text

# What a remote asks of its client; all other variables of git would lead it to other repositories.
_FOR_REMOTES = re.compile(
    r"GIT_(SSH|SSH_COMMAND|SSH_VARIANT|ASKPASS|PROXY_COMMAND|SSL_\w+|HTTP_\w+|CONFIG_\w+)"
)

_USER_INFO = re.compile(r"//[^/@\s]+@")

_MAX_DEPTH = 20


@dataclass(frozen=True, kw_only=True)
class Submodule:
    """A repository inside another: the commit that belongs at ``path``."""

    path: str
    url: str
    commit: str


class UnreachableError(SourceError):
    """A remote does not answer, or not to us."""


def git_time(seconds: str) -> str:
    """A commit's time, which git gives in seconds, as RFC 3339 in UTC."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def reveal_nothing(text: str) -> str:
    """``text`` without the users and passwords of its URLs, which git's configuration may add."""
    return _USER_INFO.sub("//…@", text)


def ls_remote(url: str, ref: str, *, run: process.Run = process.run) -> str:
    """The commit that ``ref`` (``branch X``, ``tag X``, ``default branch``) is at ``url`` now.

    Raises :class:`UnreachableError` if the remote does not answer, and :class:`SourceError` if it
    has no such ref.
    """
    kind, _, name = ref.partition(" ")
    full = "HEAD" if ref == "default branch" else f"refs/{_FOLDERS[kind]}/{name}"
    try:
        # An annotated tag is an object of its own; the line with ^{} has its commit.
        found = run(
            ["git", "ls-remote", "--", url, full, f"{full}^{{}}"], env=remote_environment(url)
        ).stdout
    except process.CommandFailed as error:
        raise _unreachable(url, error) from error
    commits = {}
    for line in found.splitlines():
        commit, _, listed = line.partition("\t")
        commits[listed] = commit
    if commit := commits.get(f"{full}^{{}}") or commits.get(full) or "":
        return commit
    raise SourceError(
        f"the git repository {url} has no {ref}", hint=f"see what it has: git ls-remote {url}"
    )


_FOLDERS = {"branch": "heads", "tag": "tags"}


class Cache:
    """Bare repositories in a folder, one for each URL, shared by all runs."""

    def __init__(self, root: Path, *, run: process.Run = process.run) -> None:
        self._root, self._run = root, run

    def repository(self, url: str) -> Path:
        """Where the repository of ``url`` is, or would be."""
        return self._root / f"{sha256_text(url)[:32]}.git"

    def has(self, url: str, commit: str) -> bool:
        """Whether all of ``commit`` is here."""
        path = self.repository(url)
        return path.is_dir() and self._has(path, commit)

    def fetch(self, url: str, commit: str) -> None:
        """See that all of ``commit`` is here, from ``url`` if it is not yet; without its history.

        Raises :class:`SourceError` if the remote does not answer or has no such commit.
        """
        path = self.repository(url)
        with locked(path.with_suffix(".lock"), what=f"the copy of {url}", wait=True):
            for left in self._root.glob(f".{path.name}.*"):
                shutil.rmtree(left, ignore_errors=True)
            if not path.is_dir():
                new = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=self._root))
                try:
                    self._run(
                        ["git", "init", "--quiet", "--bare", "--template=", str(new)],
                        env=local_environment(),
                    )
                    self._fetch(new, url, commit)
                    new.rename(path)
                finally:
                    shutil.rmtree(new, ignore_errors=True)
            elif not self._has(path, commit):
                self._sweep(path)
                self._fetch(path, url, commit)

    def _has(self, path: Path, commit: str) -> bool:
        # An object may be there before all that it needs is; this name comes last.
        return self._ask(path, "rev-parse", "--verify", "--quiet", _kept(commit)) is not None

    def _fetch(self, path: Path, url: str, commit: str) -> None:
        argv = [
            "git", "-c", "gc.auto=0", "-c", "maintenance.auto=false",
            "-c", "core.hooksPath=/dev/null", "fetch",
            "--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head",
        ]  # fmt: skip
        env = {**remote_environment(url), "GIT_DIR": str(path)}
        name = f"{commit}:{_kept(commit)}"
        try:
            self._run([*argv, "--depth=1", "--", url, name], env=env)
            return
        except process.CommandFailed as error:
            first = error
        # Some servers give only what has a name; then all of that is asked for.
        everything = ["+refs/heads/*:refs/all/heads/*", "+refs/tags/*:refs/all/tags/*"]
        unshallow = ["--unshallow"] if (path / "shallow").exists() else []
        try:
            self._run([*argv, "--prune", *unshallow, "--", url, *everything], env=env)
        except process.CommandFailed as error:
            raise _unreachable(url, error) from error
        if self._ask(path, "cat-file", "-e", f"{commit}^{{commit}}") is None:
            raise SourceError(
                f"the git repository {url} has no commit {commit}: {_last(first)}",
                hint="has its branch been rewritten? name another commit, or run "
                "'containerpkg lock'",
            )
        self._git(path, "update-ref", _kept(commit), commit)

    @staticmethod
    def _sweep(path: Path) -> None:
        """Remove what a killed fetch left; the caller has the lock of the repository."""
        for left in (*path.glob("*.lock"), *path.glob("refs/**/*.lock")):
            left.unlink(missing_ok=True)
        for left in path.glob("objects/**/tmp_*"):
            left.unlink(missing_ok=True)

    def committed(self, url: str, commit: str) -> str:
        """When ``commit`` was made, RFC 3339 in UTC."""
        path = self.repository(url)
        out = self._git(path, "show", "--no-patch", "--no-show-signature", "--format=%ct", commit)
        return git_time(out)

    def export(self, url: str, commit: str, target: Path) -> None:
        """Write the files of ``commit`` into the folder ``target``; submodules stay empty."""
        path = self.repository(url)
        with tempfile.TemporaryDirectory(prefix="containerpkg-") as folder:
            more = {"GIT_INDEX_FILE": f"{folder}/index", "GIT_WORK_TREE": str(target)}
            try:
                self._git(path, "read-tree", commit, env=more)
                self._git(path, "checkout-index", "--all", "--force", cwd=target, env=more)
            except process.CommandFailed as error:
                raise SourceError(
                    f"the files of {url} at {commit[:12]} cannot be written: {_last(error)}"
                ) from error

    def submodules(self, url: str, commit: str) -> tuple[Submodule, ...]:
        """The submodules of ``commit``, by path; raises :class:`SourceError` for a bad one."""
        path = self.repository(url)
        listed = self._git(path, "ls-tree", "-r", "-z", "--full-tree", commit)
        links = {}
        for entry in listed.split("\0"):
            about, _, name = entry.partition("\t")
            if about.startswith("160000 "):
                links[name] = about.split()[2]
        if not links:
            return ()
        config = self._ask(
            path, "config", f"--blob={commit}:.gitmodules", "--null", "--get-regexp",
            r"^submodule\..*\.(path|url)$",
        )  # fmt: skip
        places: dict[str, dict[str, str]] = {}
        for item in (config or "").split("\0"):
            key, _, value = item.partition("\n")
            section, _, what = key.rpartition(".")
            places.setdefault(section, {})[what] = value
        urls = {place["path"]: place.get("url", "") for place in places.values() if "path" in place}
        return tuple(
            Submodule(
                path=name, commit=links[name], url=submodule_url(url, name, urls.get(name, ""))
            )
            for name in sorted(links)
        )

    def _ask(self, path: Path, *arguments: str) -> str | None:
        """What git prints, or None if it fails."""
        try:
            return self._git(path, *arguments)
        except process.CommandFailed:
            return None

    def _git(
        self,
        path: Path,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> str:
        variables = {**local_environment(), "GIT_DIR": str(path), **(env or {})}
        argv = ["git", "-c", "core.attributesFile=/dev/null", *arguments]
        return self._run(argv, env=variables, cwd=cwd).stdout


def export_all(
    cache: Cache, url: str, commit: str, target: Path, *, submodules: bool, offline: bool = False
) -> tuple[str, ...]:
    """Write the files of ``commit`` into ``target``, with ``submodules`` theirs too.

    What the cache lacks is fetched, unless ``offline``. Gives the paths of submodules that were
    left out. Raises :class:`SourceError`.
    """
    return _export(cache, url, commit, target, submodules, offline, ())


def _export(
    cache: Cache, url: str, commit: str, target: Path, submodules: bool, offline: bool,
    outer: Sequence[str],
) -> tuple[str, ...]:  # fmt: skip
    if not offline:
        cache.fetch(url, commit)
    elif not cache.has(url, commit):
        raise SourceError(f"the commit {commit} of {url} has not been fetched")
    cache.export(url, commit, target)
    found = cache.submodules(url, commit)
    if not submodules:
        return tuple(submodule.path for submodule in found)
    if found and (len(outer) >= _MAX_DEPTH or url in outer):
        raise SourceError(f"the submodules of {url} contain each other, or are nested too deeply")
    for submodule in found:
        below = target / submodule.path
        if not below.resolve().is_relative_to(target.resolve()):
            raise SourceError(f"the submodule {submodule.path} of {url} leads out of it")
        below.mkdir(parents=True, exist_ok=True)
        _export(
            cache, submodule.url, submodule.commit, below, submodules, offline, (*outer, url)
        )  # fmt: skip
    return ()


def submodule_url(outer: str, path: str, url: str) -> str:
    """The URL of a submodule, which may be relative to that of its repository.

    A repository from elsewhere must not reach for this machine's own files. Raises
    :class:`SourceError` for one that does, and for one that git must not be given.
    """
    if url.startswith(("./", "../")):
        split = re.fullmatch(r"(\w+://[^/]*|[^/:]+:)(.*)", outer)
        assert split, "it was checked before"
        host, place = split.groups()
        joined = posixpath.normpath(f"/{place.lstrip('/')}/{url}")
        url = host + (joined if place.startswith("/") else joined[1:])
    try:
        check_git_url(url)
    except ValueError as error:
        raise SourceError(
            f"the submodule {path} of {outer} has the URL '{reveal_nothing(url)}', "
            f"which is not allowed: it {error}"
        ) from error
    if url.startswith("file://") and not outer.startswith("file://"):
        raise SourceError(f"the submodule {path} of {outer} is a folder of this machine: {url}")
    return url


def remote_environment(url: str) -> dict[str, str | None]:
    """The environment of a git that speaks to ``url``: with the user's configuration."""
    variables = _without(lambda name: not _FOR_REMOTES.fullmatch(name))
    return {
        **variables,
        "GIT_ALLOW_PROTOCOL": "file" if url.startswith("file://") else "https:ssh",
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C",
    }


def local_environment() -> dict[str, str | None]:
    """The environment of a git that does not: without anybody's configuration."""
    return {
        **_without(lambda _: True),
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_SYSTEM": os.devnull,
        "GIT_NO_REPLACE_OBJECTS": "1",
        "LC_ALL": "C",
    }


def _without(unwanted: Callable[[str], bool]) -> dict[str, str | None]:
    return {name: None for name in os.environ if name.startswith("GIT_") and unwanted(name)}


def _kept(commit: str) -> str:
    return f"refs/containerpkg/{commit}"


def _last(error: process.CommandFailed) -> str:
    """What git said in its last line that says anything."""
    lines = [
        line for line in error.tail.splitlines() if line.startswith(("fatal:", "error:", "ERROR:"))
    ] or error.tail.splitlines()
    return reveal_nothing(lines[0] if lines else f"status {error.status}")


def _unreachable(url: str, error: process.CommandFailed) -> UnreachableError:
    return UnreachableError(
        f"the git repository {url} cannot be read: {_last(error)}",
        hint=f"try it by hand: git ls-remote {url}",
    )
