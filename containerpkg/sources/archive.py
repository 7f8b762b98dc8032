"""Archives as sources: fetched once, checked against their SHA-256, unpacked with suspicion."""

from __future__ import annotations

import contextlib
import hashlib
import lzma
import posixpath
import tarfile
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, cast
from urllib.parse import unquote, urlsplit

from containerpkg.errors import HostError, SourceError
from containerpkg.files import CHUNK, atomic, locked, sha256_file, sweep

_CONNECT_SECONDS, _READ_SECONDS = 15, 120


def fetch(root: Path, url: str, sha256: str, *, offline: bool = False) -> Path:
    """The archive at ``url``, kept below ``root`` by its SHA-256.

    Raises :class:`SourceError` if it cannot be had or is another one.
    """
    folder = root / sha256
    path = folder / "archive"
    if path.is_file():
        return path
    if offline:
        raise SourceError(f"the archive {url} has not been fetched")
    with locked(root / f"{sha256}.lock", what=f"the copy of {url}", wait=True):
        if not path.is_file():
            sweep(folder)
            with _opened(url) as stream, atomic(path) as file:
                digest = hashlib.sha256()
                while chunk := stream.read(CHUNK):
                    digest.update(chunk)
                    file.write(chunk)
                _compare(url, digest.hexdigest(), sha256)
    return path


def check(path: Path, sha256: str) -> None:
    """Raise :class:`SourceError` unless the file has this SHA-256."""
    _compare(str(path), sha256_file(path), sha256)


def _compare(place: str, found: str, wanted: str) -> None:
    if found != wanted:
        raise SourceError(
            f"the archive {place} has the SHA-256 {found}, and image.yaml says {wanted}",
            hint="find out why it changed before you write the new one down",
        )


@contextlib.contextmanager
def _opened(url: str) -> Iterator[IO[bytes]]:
    if url.startswith("file://"):
        path = Path(unquote(urlsplit(url).path))
        try:
            file = path.open("rb")
        except OSError as error:
            raise SourceError(f"the archive {url} cannot be read: {error.strerror}") from error
        with file:
            yield file
        return
    # Imported here: it costs a tenth of a second, and most projects have no archive.
    import requests
    import urllib3.exceptions

    try:
        with requests.get(
            url,
            stream=True,
            timeout=(_CONNECT_SECONDS, _READ_SECONDS),
            headers={"Accept-Encoding": "identity"},  # the digest is that of the file as it is
        ) as answer:
            if answer.status_code != requests.codes.ok:
                raise SourceError(
                    f"the archive {url} cannot be fetched: its server says "
                    f"{answer.status_code} {answer.reason}"
                )
            yield cast("IO[bytes]", answer.raw)
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise SourceError(
            f"the archive {url} cannot be fetched: {_reason(error)}",
            hint=f"try it by hand: curl --location --remote-name {url}",
        ) from error


def _reason(error: BaseException) -> str:
    """The innermost cause: the outer ones only repeat where the call was made."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__ or error
    return str(getattr(error, "strerror", None) or error or type(error).__name__).splitlines()[0]


def unpack(path: Path, target: Path, *, strip: bool) -> str:
    """Unpack the tar archive into the folder ``target``; gives the newest time in it, RFC 3339.

    With ``strip`` the one folder that everything is in is left away. Raises :class:`SourceError`
    for what is no tar archive, is cut, or has a member that would land outside ``target``.
    """
    if not hasattr(tarfile, "data_filter"):
        raise HostError(
            "this Python unpacks archives without looking where their files would land",
            hint="use Python 3.11.4 or newer",
        )
    try:
        with tarfile.open(path) as tar:
            members = tar.getmembers()
            top = _top(path, members) if strip else ""
            links: set[str] = set()
            for member in members:
                if moved := _moved(path, member, top):
                    _refuse_links(path, moved, links)
                    tar.extract(moved, target, filter="data")
            newest = max((int(member.mtime) for member in members), default=0)
    except (tarfile.TarError, EOFError, KeyError, ValueError, lzma.LZMAError, zlib.error) as error:
        raise SourceError(f"the archive {path} cannot be unpacked: {error}") from error
    except OSError as error:
        if error.errno is not None and error.filename:
            raise
        raise SourceError(f"the archive {path} cannot be unpacked: {error}") from error
    return datetime.fromtimestamp(newest, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if newest else ""


def _top(path: Path, members: list[tarfile.TarInfo]) -> str:
    tops = {_clean(member.name).partition("/")[0] for member in members} - {""}
    files = [m for m in members if not m.isdir() and "/" not in _clean(m.name)]
    if len(tops) != 1 or files:
        raise SourceError(
            f"the files of the archive {path} are not all in one folder",
            hint="write 'strip: false' to take them as they are",
        )
    return tops.pop()


def _moved(path: Path, member: tarfile.TarInfo, top: str) -> tarfile.TarInfo | None:
    """``member`` as it is called below ``top``; None for that folder itself."""
    name = _below(member.name, top)
    linkname = _below(member.linkname, top) if member.islnk() else member.linkname
    if not name:
        return None
    if name.startswith(("/", "../")) or (member.islnk() and linkname.startswith(("/", "../"))):
        raise SourceError(f"the archive {path} has the file {member.name}, which leads out of it")
    return member.replace(name=name, linkname=linkname, deep=False)


def _below(name: str, top: str) -> str:
    name = _clean(name)
    if not top:
        return name
    return "" if name == top else name.removeprefix(f"{top}/")


def _clean(name: str) -> str:
    name = posixpath.normpath(name)
    return "" if name == "." else name


def _refuse_links(path: Path, member: tarfile.TarInfo, links: set[str]) -> None:
    """Nothing goes through a link that the archive itself has: where it leads can be hidden."""
    for name in (member.name, member.linkname) if member.islnk() else (member.name,):
        parts = name.split("/")
        for length in range(1, len(parts)):
            if "/".join(parts[:length]) in links:
                raise SourceError(
                    f"the archive {path} has the file {name}, which lies behind a symbolic link"
                )
    if member.issym():
        links.add(member.name)
