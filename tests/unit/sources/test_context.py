"""Which files a builder gets, and that their digests tell every change and nothing else."""

from __future__ import annotations

import io
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from containerpkg.errors import HostError
from containerpkg.sources.context import Context, load_context

ROOT = Path(__file__).parents[3]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "image"
    path.mkdir()
    (path / "Dockerfile").write_text("FROM scratch\n")
    return path


def fill(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def names(context: Context) -> list[str]:
    return [entry.name for entry in context.entries]


def tar_of(context: Context, generated: Path | None = None) -> bytes:
    file = io.BytesIO()
    context.write_tar(file, generated=generated)
    return file.getvalue()


def members(content: bytes) -> list[tuple[object, ...]]:
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        found = []
        for info in tar:
            assert (info.uid, info.gid, info.uname, info.gname, info.mtime) == (0, 0, "", "", 0)
            file = tar.extractfile(info) if info.isreg() else None
            held = file.read() if file else info.linkname
            found.append((info.name, info.type, oct(info.mode), held))
        return found


def test_the_whole_context(folder: Path) -> None:
    fill(folder, {"image.yaml": "", "sub/image.yaml": "a", "sub/run": "#!", ".hidden": "h"})
    (folder / "sub/run").chmod(0o755)
    (folder / "empty").mkdir()
    (folder / "link").symlink_to("sub")
    (folder / "dangling").symlink_to("/no/such")
    (folder / "sub/up").symlink_to("..")
    context = load_context(folder, "Dockerfile")
    expected = [
        (".hidden", tarfile.REGTYPE, "0o644", b"h"),
        ("Dockerfile", tarfile.REGTYPE, "0o644", b"FROM scratch\n"),
        ("dangling", tarfile.SYMTYPE, "0o755", "/no/such"),
        ("empty", tarfile.DIRTYPE, "0o755", ""),
        ("link", tarfile.SYMTYPE, "0o755", "sub"),
        ("sub", tarfile.DIRTYPE, "0o755", ""),
        ("sub/image.yaml", tarfile.REGTYPE, "0o644", b"a"),
        ("sub/run", tarfile.REGTYPE, "0o755", b"#!"),
        ("sub/up", tarfile.SYMTYPE, "0o755", ".."),
    ]
    assert members(tar_of(context)) == expected
    assert tar_of(context) == tar_of(load_context(folder, "Dockerfile"))
    assert list(context.inputs) == [name for name, *_ in expected]


@pytest.mark.parametrize(
    ("ignore", "kept"),
    [
        ("", ["a.txt", "b.log", "d", "d/a.txt", "d/b.log", "d/e", "d/e/b.log"]),
        ("# *\n\n   \n", ["a.txt", "b.log", "d", "d/a.txt", "d/b.log", "d/e", "d/e/b.log"]),
        ("*.log\n", ["a.txt", "d", "d/a.txt", "d/b.log", "d/e", "d/e/b.log"]),
        ("**/*.log  \n", ["a.txt", "d", "d/a.txt", "d/e"]),
        ("/d/\n", ["a.txt", "b.log"]),
        ("./d/../d\r\n", ["a.txt", "b.log"]),
        ("d\n!d/a.txt\n", ["a.txt", "b.log", "d/a.txt"]),
        ("*\n!d\n", ["d", "d/a.txt", "d/b.log", "d/e", "d/e/b.log"]),
        ("*\n! d/e\nd/e/b*\n", ["d/e"]),
        ("!a.txt\n*.txt\n", ["b.log", "d", "d/a.txt", "d/b.log", "d/e", "d/e/b.log"]),
        ("d/?/\n[ab].*\n", ["d", "d/a.txt", "d/b.log"]),
        ("*\nDockerfile\n.dockerignore\n", []),
    ],
)
def test_what_dockerignore_lets_through(folder: Path, ignore: str, kept: list[str]) -> None:
    """The builder's own two files are always sent: it reads them from there."""
    fill(
        folder,
        {
            ".dockerignore": ignore,
            "image.yaml": "",
            **dict.fromkeys(["a.txt", "b.log", "d/a.txt", "d/b.log", "d/e/b.log"], ""),
        },
    )
    assert names(load_context(folder, "Dockerfile")) == sorted(
        [".dockerignore", "Dockerfile", *kept]
    )


def test_a_dockerfile_may_have_its_own(folder: Path) -> None:
    fill(folder, {"Dockerfile.alpine": "", "Dockerfile.alpine.dockerignore": "*\n!a",
                  ".dockerignore": "a", "a": "", "b": ""})  # fmt: skip
    assert names(load_context(folder, "Dockerfile.alpine")) == [
        ".dockerignore", "Dockerfile.alpine", "a",
    ]  # fmt: skip
    assert "a" not in names(load_context(folder, "Dockerfile"))


def test_an_ignored_pipe_does_no_harm(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    (folder / ".dockerignore").write_text("pipe")
    assert names(load_context(folder, "Dockerfile")) == [".dockerignore", "Dockerfile"]


def test_a_dockerignore_that_is_no_text(folder: Path) -> None:
    (folder / ".dockerignore").write_bytes(b"\xff\n")
    with pytest.raises(HostError, match=re.escape(f"{folder}/.dockerignore cannot be read: ")):
        load_context(folder, "Dockerfile")


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_what_is_no_file_is_refused(folder: Path, kind: str) -> None:
    path = folder / "sub/x"
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        os.mkfifo(path) if kind == "pipe" else server.bind(str(path))
        with pytest.raises(HostError) as caught:
            load_context(folder, "Dockerfile")
    assert caught.value.message == f"{path} is neither a file, a directory nor a symbolic link"
    assert caught.value.hint == "remove it, or name it in .dockerignore"


NOBODY = 65534


@pytest.mark.parametrize("closed", ["file", "sub", "sub/.dockerignore"])
@pytest.mark.parametrize("ignoring", [False, True])
def test_what_may_not_be_read_is_named(folder: Path, closed: str, ignoring: bool) -> None:
    """Permissions do not hold for root, so somebody else looks."""
    fill(folder, {"file": "x", "sub/.dockerignore": "x"})
    if ignoring:
        (folder / ".dockerignore").write_text("nothing")
    place = folder / closed
    script = (
        "import os, sys\nfrom pathlib import Path\n"
        "from containerpkg.errors import HostError\n"
        "from containerpkg.sources.context import load_context\n"
        "import docker.utils.build\n"  # while its files may still be read
        "if os.getuid() == 0:\n    os.setgroups([])\n"
        f"    os.setresgid(*3 * [{NOBODY}])\n    os.setresuid(*3 * [{NOBODY}])\n"
        "try:\n    load_context(Path(sys.argv[1]), 'Dockerfile')\n"
        "except HostError as error:\n    print(error.message)\n    print(error.hint)\n"
    )
    for path in (folder, *folder.parents):
        if path.stat().st_uid == os.getuid() and path.name.startswith(("pytest-", "test_")):
            path.chmod(0o755)
    place.chmod(0)
    try:
        out = subprocess.run(
            [sys.executable, "-c", script, folder],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        ).stdout
    finally:
        place.chmod(0o755)
    assert out == (
        f"{place} cannot be read: Permission denied\ncheck its permissions: ls -ld {place}\n"
    )


def test_a_file_that_vanishes_before_it_is_sent(folder: Path) -> None:
    fill(folder, {"file": "x"})
    context = load_context(folder, "Dockerfile")
    (folder / "file").unlink()
    with pytest.raises(HostError, match=re.escape(f"{folder}/file cannot be read: No such file")):
        tar_of(context)


def test_no_name_is_too_strange(folder: Path) -> None:
    strange = [b"a b", b"c\nd", b"back\\slash", b"\xff\xfe", b"caf\xc3\xa9", b"-o", b"n" * 200]
    for name in strange:
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(name)
    context = load_context(folder, "Dockerfile")
    assert {
        os.fsencode(str(name)): held for name, _, _, held in members(tar_of(context)) if held
    } == {b"Dockerfile": b"FROM scratch\n", **{name: name for name in strange}}
    # The names of inputs are recorded and shown, so they have to be text.
    assert sorted(context.inputs) == sorted(
        ["Dockerfile", "a b", "c\nd", "back\\\\slash", r"\xff\xfe", "café", "-o", "n" * 200]
    )
    "".join(context.inputs).encode()


def unchanged(folder: Path) -> None:
    os.utime(folder / "file", (1, 1))
    os.utime(folder, (1, 1))


def copied(folder: Path) -> None:
    shutil.copytree(folder, folder.parent / "copy", symlinks=True)
    shutil.rmtree(folder)
    (folder.parent / "copy").rename(folder)


def checked_out_elsewhere(folder: Path) -> None:
    for path in folder.rglob("*"):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & ~0o077 if path.is_file() else 0o700)


def group_writable(folder: Path) -> None:
    for path in folder.rglob("*"):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | 0o020)


@pytest.mark.parametrize("change", [unchanged, copied, checked_out_elsewhere, group_writable])
def test_what_changes_nothing(folder: Path, change: Callable[[Path], None]) -> None:
    fill(folder, {"file": "x", "sub/run": "#!"})
    (folder / "sub/run").chmod(0o755)
    (folder / "link").symlink_to("file")
    before = load_context(folder, "Dockerfile")
    tar = tar_of(before)
    change(folder)
    after = load_context(folder, "Dockerfile")
    assert (after.inputs, tar_of(after)) == (before.inputs, tar)


def replaced(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


@pytest.mark.parametrize(
    ("change", "changed"),
    [
        (lambda folder: (folder / "file").write_text("y"), {"file"}),
        (lambda folder: (folder / "file").chmod(0o755), {"file"}),
        (lambda folder: replaced(folder / "file", Path.mkdir), {"file"}),
        (lambda folder: replaced(folder / "file", lambda p: p.symlink_to("x")), {"file"}),
        (lambda folder: replaced(folder / "link", lambda p: p.symlink_to("other")), {"link"}),
        # A file that holds what the link pointed to has the link's digest, but is none.
        (lambda folder: replaced(folder / "link", lambda p: p.write_text("file")), {"link"}),
        (lambda folder: (folder / "new").touch(), {"new"}),
        (lambda folder: (folder / "new").mkdir(), {"new"}),
        (lambda folder: (folder / "empty").rmdir(), {"empty"}),
        (lambda folder: (folder / "file").rename(folder / "other"), {"file", "other"}),
        (lambda folder: (folder / "image.yaml").write_text("x"), set()),
    ],
)  # fmt: skip
def test_what_changes_something(
    folder: Path, change: Callable[[Path], object], changed: set[str]
) -> None:
    fill(folder, {"file": "x"})
    (folder / "empty").mkdir()
    (folder / "link").symlink_to("file")
    before = load_context(folder, "Dockerfile").inputs
    change(folder)
    after = load_context(folder, "Dockerfile").inputs
    assert {name for name in {*before, *after} if before.get(name) != after.get(name)} == changed


def test_generated_files_join(folder: Path, tmp_path: Path) -> None:
    generated = tmp_path / "generated"
    fill(generated, {"root.tar": "r", "bin/tool": "t"})
    (generated / "bin/tool").chmod(0o4775)
    (generated / "secret").touch(0o600)
    (folder / ".dockerignore").write_text("*")
    context = load_context(folder, "Dockerfile")
    assert members(tar_of(context, generated)) == [
        (".dockerignore", tarfile.REGTYPE, "0o644", b"*"),
        ("Dockerfile", tarfile.REGTYPE, "0o644", b"FROM scratch\n"),
        ("bin", tarfile.DIRTYPE, "0o755", ""),
        ("bin/tool", tarfile.REGTYPE, "0o4755", b"t"),
        ("root.tar", tarfile.REGTYPE, "0o644", b"r"),
        ("secret", tarfile.REGTYPE, "0o600", b""),
    ]
    assert stat.S_IMODE((generated / "bin/tool").stat().st_mode) == 0o4775
    os.mkfifo(generated / "pipe")
    with pytest.raises(HostError, match=f"{generated}/pipe is neither"):
        tar_of(context, generated)
