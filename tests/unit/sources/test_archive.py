"""Archives land where they belong or not at all."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from containerpkg.errors import SourceError
from containerpkg.sources import archive

Member = tuple[str, str, str]
"""Name; ``file``, ``folder``, ``link``, ``hard`` or ``device``; content or target."""

KINDS = {
    "file": tarfile.REGTYPE, "folder": tarfile.DIRTYPE, "link": tarfile.SYMTYPE,
    "hard": tarfile.LNKTYPE, "device": tarfile.CHRTYPE,
}  # fmt: skip


def make(path: Path, *members: Member, mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, kind, content in members:
            info = tarfile.TarInfo(name)
            info.type, info.mtime, info.mode = KINDS[kind], 1715000000, 0o755
            if kind == "file":
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content.encode()))
            else:
                info.linkname = content
                tar.addfile(info)
    return path


def unpacked(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): f"-> {path.readlink()}"
        if path.is_symlink()
        else path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_the_top_folder_is_left_away(tmp_path: Path, mode: str) -> None:
    path = make(
        tmp_path / "a",
        ("./shop-1/", "folder", ""),
        ("./shop-1/a", "file", "A"),
        ("./shop-1/b/c", "file", "C"),
        ("./shop-1/hard", "hard", "./shop-1/b/c"),
        ("./shop-1/link", "link", "b/c"),
        mode=mode,
    )
    assert archive.unpack(path, tmp_path / "out", strip=True) == "2024-05-06T12:53:20Z"
    assert unpacked(tmp_path / "out") == {"a": "A", "b/c": "C", "hard": "C", "link": "-> b/c"}


def test_it_is_kept_where_it_is_wanted(tmp_path: Path) -> None:
    path = make(tmp_path / "a", ("a", "file", "A"), ("b/c", "file", "C"))
    archive.unpack(path, tmp_path / "out", strip=False)
    assert unpacked(tmp_path / "out") == {"a": "A", "b/c": "C"}
    with pytest.raises(SourceError) as caught:
        archive.unpack(path, tmp_path / "out", strip=True)
    assert caught.value.message == f"the files of the archive {path} are not all in one folder"


OUT = "has the file {}, which leads out of it"
BEHIND = "has the file {}, which lies behind a symbolic link"


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ([("../x", "file", "")], OUT.format("../x")),
        ([("/etc/x", "file", "")], OUT.format("/etc/x")),
        ([("a/../../x", "file", "")], OUT.format("a/../../x")),
        ([("x", "hard", "../../victim")], OUT.format("x")),
        ([("x", "link", ".."), ("x/y", "file", "")],
         "cannot be unpacked: 'x' would link to '{}', which is outside the destination"),
        ([("d", "folder", ""), ("l", "link", "d"), ("l/y", "file", "")], BEHIND.format("l/y")),
        ([("d/a", "file", ""), ("l", "link", "d"), ("y", "hard", "l/a")], BEHIND.format("l/a")),
        ([("l", "link", "/etc")], "cannot be unpacked: 'l' is a link to an absolute path"),
        ([("n", "device", "")], "cannot be unpacked: 'n' is a special file"),
    ],
)  # fmt: skip
def test_what_would_land_elsewhere_is_refused(
    tmp_path: Path, members: list[Member], expected: str
) -> None:
    path, out = make(tmp_path / "a", *members), tmp_path / "in/out"
    out.mkdir(parents=True)
    (tmp_path / "victim").write_text("v")
    with pytest.raises(SourceError) as caught:
        archive.unpack(path, out, strip=False)
    found = caught.value.message.removeprefix(f"the archive {path} ")
    assert found.replace(str(out.parent), "{}") == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "in", "victim"]


@pytest.mark.parametrize("content", [b"", b"no archive", b"\x1f\x8bcut"])
def test_no_archive(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a"
    path.write_bytes(content)
    with pytest.raises(SourceError, match="cannot be unpacked"):
        archive.unpack(path, tmp_path / "out", strip=False)


def test_a_cut_archive(tmp_path: Path) -> None:
    path = make(tmp_path / "a", ("a", "file", "A" * 100_000), ("b", "file", "B" * 100_000))
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(SourceError, match="cannot be unpacked"):
        archive.unpack(path, tmp_path / "out", strip=False)


@contextmanager
def served(status: int, content: bytes) -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.send_header("Content-Encoding", "gzip")  # as servers wrongly say of .tar.gz
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/a.tar.gz", asked
        finally:
            server.shutdown()
            thread.join()


def test_it_is_fetched_once_and_as_it_is(tmp_path: Path) -> None:
    content = make(tmp_path / "a", ("a", "file", "A")).read_bytes()
    digest, root = hashlib.sha256(content).hexdigest(), tmp_path / "archives"
    with served(200, content) as (url, asked):
        with pytest.raises(SourceError) as caught:
            archive.fetch(root, url, "0" * 64)
        assert caught.value.message == (
            f"the archive {url} has the SHA-256 {digest}, and image.yaml says {'0' * 64}"
        )
        assert list((root / ("0" * 64)).iterdir()) == []
        paths = {archive.fetch(root, url, digest) for _ in range(2)}
    assert [path.read_bytes() for path in paths] == [content]
    assert asked == ["/a.tar.gz"] * 2
    assert paths == {archive.fetch(root, url, digest)}  # the server is gone


def test_it_cannot_be_fetched(tmp_path: Path) -> None:
    with served(404, b"") as (url, _), pytest.raises(SourceError) as caught:
        archive.fetch(tmp_path, url, "0" * 64)
    assert caught.value.message == (
        f"the archive {url} cannot be fetched: its server says 404 Not Found"
    )
    with pytest.raises(SourceError) as caught:
        archive.fetch(tmp_path, url, "0" * 64)
    assert caught.value.message == f"the archive {url} cannot be fetched: Connection refused"
    with pytest.raises(SourceError) as caught:
        archive.fetch(tmp_path, "file:///no/such", "0" * 64)
    assert caught.value.message == (
        "the archive file:///no/such cannot be read: No such file or directory"
    )
