"""Whole or not there, held by one, and no bytes lost on the way."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

import pytest

from containerpkg import files
from containerpkg.errors import LockedError

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_folders_for_everyone_whatever_the_umask(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    before = os.umask(0o077)
    try:
        files.make_public(tmp_path / "a/b")
    finally:
        os.umask(before)
    modes = {p.name: p.stat().st_mode & 0o777 for p in (tmp_path, tmp_path / "a", tmp_path / "a/b")}
    assert modes == {tmp_path.name: 0o700, "a": 0o755, "b": 0o755}, "what was there stays"
    files.make_public(tmp_path / "a/b")


def test_digests(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes("ä".encode())
    assert files.sha256_bytes(b"") == EMPTY
    assert (
        files.sha256_text("ä")
        == files.sha256_bytes(b"\xc3\xa4")
        == files.sha256_file(tmp_path / "file")
    )


class TestAtomic:
    def test_folders_are_made_and_the_mode_is_set_whatever_the_umask(self, tmp_path: Path) -> None:
        old = os.umask(0o077)
        try:
            files.write_atomic(tmp_path / "a/b/text", "ä\n")
            files.write_atomic(tmp_path / "a/b/bytes", b"\xff", mode=0o444)
        finally:
            os.umask(old)
        assert {
            path.name: (path.read_bytes(), path.stat().st_mode & 0o7777)
            for path in (tmp_path / "a/b").iterdir()
        } == {"text": ("ä\n".encode(), 0o644), "bytes": (b"\xff", 0o444)}

    def test_nothing_is_seen_before_the_end(self, tmp_path: Path) -> None:
        path = tmp_path / "file"
        path.write_text("old")
        with files.atomic(path) as file:
            file.write(b"new")
            file.flush()
            assert path.read_text() == "old"
        assert path.read_text() == "new"

    @pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), SystemExit(1)])
    @pytest.mark.parametrize("before", ["old", None])
    def test_an_exception_leaves_all_as_it_was(
        self, tmp_path: Path, error: BaseException, before: str | None
    ) -> None:
        path = tmp_path / "file"
        if before is not None:
            path.write_text(before)
        with pytest.raises(type(error)), files.atomic(path) as file:
            file.write(b"half")
            raise error
        assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == (
            [("file", before)] if before is not None else []
        )

    def test_a_full_disk_leaves_all_as_it_was(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(descriptor: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            files.write_atomic(tmp_path / "file", "new")
        assert list(tmp_path.iterdir()) == []

    def test_names_as_long_as_the_file_system_takes(self, tmp_path: Path) -> None:
        files.write_atomic(tmp_path / ("n" * 255), "x")
        assert [path.name for path in tmp_path.iterdir()] == ["n" * 255]

    def test_writers_side_by_side_leave_one_whole_file(self, tmp_path: Path) -> None:
        contents = [bytes([number]) * 200_000 for number in range(8)]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda c: files.write_atomic(tmp_path / "file", c), contents))
        assert [path.name for path in tmp_path.iterdir()] == ["file"]
        assert (tmp_path / "file").read_bytes() in contents


class TestLock:
    def test_another_process_is_named_and_its_death_frees_the_lock(self, tmp_path: Path) -> None:
        script = (
            "import sys, pathlib\nfrom containerpkg.files import locked\n"
            "with locked(pathlib.Path(sys.argv[1]), what='the store'):\n"
            "    print('held', flush=True)\n    sys.stdin.read()\n"
        )
        path = tmp_path / "new/lock"
        with subprocess.Popen(
            [sys.executable, "-c", script, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as other:
            assert other.stdout
            assert other.stdout.readline() == b"held\n"
            with pytest.raises(LockedError) as caught, files.locked(path, what="the store"):
                pytest.fail("two have the lock")
            assert caught.value.message == (
                f"the store is in use by another containerpkg (process {other.pid})"
            )
            other.kill()
        with files.locked(path, what="the store"):
            assert path.read_text() == f"{os.getpid()}\n"

    def test_a_lock_is_free_after_its_block_and_after_an_exception(self, tmp_path: Path) -> None:
        for _ in range(2):
            with pytest.raises(ValueError, match="x"), files.locked(tmp_path / "l", what="it"):
                raise ValueError("x")

    def test_who_waits_gets_the_lock_when_it_is_free(self, tmp_path: Path) -> None:
        path = tmp_path / "l"
        order: list[str] = []

        def wait() -> None:
            with files.locked(path, what="it", wait=True):
                order.append("second")

        with files.locked(path, what="it"):
            thread = threading.Thread(target=wait)
            thread.start()
            with pytest.raises(LockedError), files.locked(path, what="it"):
                pytest.fail("two have the lock")
            order.append("first")
        thread.join()
        assert order == ["first", "second"]

    def test_a_child_does_not_inherit_the_lock(self, tmp_path: Path) -> None:
        with files.locked(tmp_path / "l", what="it"):
            child = subprocess.Popen(["sleep", "600"])
        try:
            with files.locked(tmp_path / "l", what="it"):
                pass
        finally:
            child.kill()
            child.wait()


class TestLink:
    def test_a_link_where_one_can_be(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_text("x")
        files.link_or_copy(tmp_path / "a", tmp_path / "b")
        assert (tmp_path / "a").samefile(tmp_path / "b")

    @pytest.mark.parametrize("number", [errno.EXDEV, errno.EPERM, errno.EMLINK])
    def test_else_a_copy(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
    ) -> None:
        def refuse(*_: object) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(Path, "hardlink_to", refuse)
        (tmp_path / "a").write_text("x")
        files.link_or_copy(tmp_path / "a", tmp_path / "b")
        assert (tmp_path / "b").read_text() == "x"
        assert not (tmp_path / "a").samefile(tmp_path / "b")

    def test_what_a_copy_would_not_mend_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            files.link_or_copy(tmp_path / "a", tmp_path / "b")
        (tmp_path / "a").touch()
        (tmp_path / "b").touch()
        with pytest.raises(FileExistsError):
            files.link_or_copy(tmp_path / "a", tmp_path / "b")


class TestPiped:
    def test_all_bytes_arrive(self) -> None:
        content = os.urandom(3 << 20)
        with files.piped(lambda pipe: give(pipe, content)) as stream:
            received = b"".join(iter(lambda: stream.read(1 << 16), b""))
        assert received == content

    def test_the_writers_error_comes_out_at_the_end(self) -> None:
        def write(pipe: IO[bytes]) -> None:
            pipe.write(b"half")
            raise ValueError("broken")

        seen = []
        with pytest.raises(ValueError, match="broken"), files.piped(write) as stream:
            seen.append(stream.read())
        assert seen == [b"half"]

    def test_the_writers_error_wins_over_its_echo_in_the_reader(self) -> None:
        def write(pipe: IO[bytes]) -> None:
            raise ValueError("cause")

        with pytest.raises(ValueError, match="cause") as caught, files.piped(write) as stream:
            assert stream.read() == b""
            raise RuntimeError("cut stream")
        assert isinstance(caught.value.__context__, RuntimeError)

    @pytest.mark.parametrize("fails", [False, True])
    def test_a_reader_that_stops_ends_the_writer(self, fails: bool) -> None:
        ended = threading.Event()

        def write(pipe: IO[bytes]) -> None:
            try:
                while True:
                    pipe.write(bytes(1 << 16))
            finally:
                ended.set()

        def read_a_little() -> None:
            with files.piped(write) as stream:
                assert stream.read(10) == bytes(10)
                if fails:
                    raise RuntimeError("no more")

        if fails:
            with pytest.raises(RuntimeError, match="no more"):
                read_a_little()
        else:
            read_a_little()
        assert ended.is_set()


def give(pipe: IO[bytes], content: bytes) -> None:
    pipe.write(content)
