import gzip
import io
import json
import re
import tarfile
import tracemalloc
from pathlib import Path

import pytest
import zstandard

from containerpkg.definitions.project import Layers
from containerpkg.files import sha256_bytes
from containerpkg.packages.unpacking import ArchivedImage, read_archive
from containerpkg.store.content import ContentStore, Layer, StoredImage
from containerpkg.store.export import write_archive

LAYER = b"layer"
DIFF_ID = f"sha256:{sha256_bytes(LAYER)}"


def archive(*members: tuple[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


def document(value: object) -> bytes:
    return json.dumps(value).encode()


CONFIG = document({"rootfs": {"diff_ids": [DIFF_ID]}})
ENTRY = {"Config": "c.json", "RepoTags": ["a.example/b:1"], "Layers": ["l.tar"]}
GOOD = [("manifest.json", document([ENTRY])), ("c.json", CONFIG), ("l.tar", LAYER)]
IMAGE = ArchivedImage(
    id=f"sha256:{sha256_bytes(CONFIG)}",
    layers=(DIFF_ID,),
    declared=(DIFF_ID,),
    references=("a.example/b:1",),
)


@pytest.mark.parametrize(
    "compress",
    [bytes, gzip.compress, zstandard.ZstdCompressor().compress],
    ids=["", "gzip", "zstd"],
)
def test_digests_are_those_of_the_bytes(compress) -> None:
    for members in (GOOD, GOOD[::-1]):
        assert read_archive(io.BytesIO(compress(archive(*members)))) == (IMAGE,)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    store = ContentStore(tmp_path, Layers())
    blob = store.add(gzip.compress(LAYER))
    config = store.add(CONFIG)
    image = StoredImage(
        id=config.digest,
        manifest=blob,
        config=config,
        layers=(Layer(blob=blob, diff_id=DIFF_ID, plain_size=len(LAYER)),),
        architecture="amd64",
        created="2023-11-14T22:13:20Z",
    )
    file = io.BytesIO()
    write_archive(store, {"a.example/b:1": image}, file)
    file.seek(0)
    assert read_archive(file) == (IMAGE,)


LINK = tarfile.TarInfo("l.tar")
LINK.type, LINK.linkname = tarfile.SYMTYPE, "/etc/shadow"
WHOLE = archive(*GOOD)
HEADER = tarfile.TarInfo("x" * 200)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is cut short"),
        (WHOLE[:700], "it is cut short"),
        (zstandard.ZstdCompressor().compress(WHOLE)[:-9], "it is cut short"),
        (gzip.compress(WHOLE)[:20] + 300 * b"\xff", "it cannot be unpacked: "),
        (b"\1" * 1024, "it cannot be unpacked: "),
        (WHOLE + b"more", "it goes on behind its end"),
        (archive(*GOOD, GOOD[2]), "it has an entry that no image needs: l.tar"),
        (LINK.tobuf() + bytes(1024), "it has an entry that no image needs: l.tar"),
        (HEADER.tobuf(tarfile.GNU_FORMAT), "it has an entry that no image needs: ././@LongLink"),
        (archive(*((f"{n}", b"") for n in range(5000))), "it has an entry that no image needs: "),
        (archive(*GOOD[1:]), "it lacks 'manifest.json', or that is something else"),
        (archive(*GOOD[:2]), "it lacks 'l.tar', or that is something else"),
        (archive(("manifest.json", b"[")), "Expecting value"),
        (archive(("manifest.json", b"[1]")), "it lacks "),
        (archive(("manifest.json", b"[" * 500_000)), "it has a description that is nest"),
    ],
)
def test_anything_else_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        read_archive(io.BytesIO(content))


def test_memory_does_not_grow_with_a_layer() -> None:
    large = archive(*GOOD[:2], ("l.tar", bytes(64 << 20)))
    packed = zstandard.ZstdCompressor().compress(large)
    del large
    tracemalloc.start()
    read_archive(io.BytesIO(packed))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 16 << 20
