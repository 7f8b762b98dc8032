"""The docker-archive that comes out: the same bytes each time, and the same images again."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest

from containerpkg import files
from containerpkg.definitions.project import Layers
from containerpkg.errors import StoreError
from containerpkg.progress import Silent
from containerpkg.store.content import ContentStore, StoredImage
from containerpkg.store.export import write_archive
from containerpkg.store.importer import import_images
from tests.unit.store.saved import Saved, archive, described, digest, docker20, image, layer

BASE, TOP = layer(1, 3 << 20), layer(2)
ONE, TWO, NONE = image(BASE), image(BASE, TOP, BASE), image(rootfs={"type": "layers"})


def filled(root: Path, *images: Saved, layers: Layers | None = None) -> ContentStore:
    store = ContentStore(root, layers or Layers())
    taken_in(store, archive(docker20(*images)), *images)
    return store


def taken_in(store: ContentStore, stream: bytes, *images: Saved) -> tuple[StoredImage, ...]:
    return import_images(
        store,
        io.BytesIO(stream),
        [described(saved, {}) for saved in images],
        progress=Silent(),
        on_layer=lambda _: None,
    )


def held(store: ContentStore, saved: Saved) -> StoredImage:
    found = store.image(saved.id)
    assert found is not None
    return found


def written(store: ContentStore, *images: tuple[str, Saved]) -> bytes:
    file = io.BytesIO()
    write_archive(store, {name: held(store, saved) for name, saved in images}, file)
    return file.getvalue()


IMAGES = (("x/two:1", TWO), ("x/one:1", ONE), ("x/none:1", NONE), ("x/also-one:2", ONE))


def test_the_whole_archive(tmp_path: Path) -> None:
    out = written(filled(tmp_path, ONE, TWO, NONE), *IMAGES)
    base, top = digest(BASE), digest(TOP)
    entries = [
        {
            "Config": f"{digest(ONE.config)}.json",
            "RepoTags": ["x/also-one:2", "x/one:1"],
            "Layers": [f"{base}.tar"],
        },
        {
            "Config": f"{digest(TWO.config)}.json",
            "RepoTags": ["x/two:1"],
            "Layers": [f"{base}.tar", f"{top}.tar", f"{base}.tar"],
        },
        {"Config": f"{digest(NONE.config)}.json", "RepoTags": ["x/none:1"], "Layers": []},
    ]
    manifest = sorted(entries, key=lambda entry: entry["Config"])
    expected = [
        ("manifest.json", json.dumps(manifest, separators=(",", ":")).encode()),
        *sorted((f"{digest(one.config)}.json", one.config) for one in (ONE, TWO, NONE)),
        *sorted([(f"{base}.tar", BASE), (f"{top}.tar", TOP)]),
    ]
    with tarfile.open(fileobj=io.BytesIO(out)) as tar:
        members = [(info, tar.extractfile(info)) for info in tar]
        assert [(info.name, file and file.read()) for info, file in members] == expected
        assert {
            (info.type, info.mode, info.mtime, info.uid, info.gid, info.uname, info.gname)
            for info, _ in members
        } == {(tarfile.REGTYPE, 0o444, 0, 0, 0, "", "")}


@pytest.mark.parametrize("layers", [Layers(), Layers(compression="gzip")], ids=str)
def test_the_same_bytes_from_every_store(tmp_path: Path, layers: Layers) -> None:
    out = written(filled(tmp_path / "a", ONE, TWO, NONE), *IMAGES)
    again = written(filled(tmp_path / "b", NONE, TWO, ONE, layers=layers), *reversed(IMAGES))
    assert hashlib.sha256(out).hexdigest() == hashlib.sha256(again).hexdigest()


def test_read_back_it_is_the_same_images(tmp_path: Path) -> None:
    store = filled(tmp_path / "a", ONE, TWO, NONE)
    other = ContentStore(tmp_path / "b", Layers())
    found = taken_in(other, written(store, *IMAGES), ONE, TWO, NONE)
    assert found == (held(store, ONE), held(store, TWO), held(store, NONE))


def test_progress_counts_the_bytes_of_layers(tmp_path: Path) -> None:
    store = filled(tmp_path, TWO)
    told: list[int] = []
    write_archive(store, {"x:1": held(store, TWO)}, io.BytesIO(), advance=told.append)
    assert sum(told) == len(BASE) + len(TOP)


def test_a_layer_that_unpacks_to_much_does_not_fill_the_memory(tmp_path: Path) -> None:
    saved = image(archive({"sparse": bytes(100 << 20)}))
    store = filled(tmp_path, saved)
    tracemalloc.start()
    with (tmp_path / "out.tar").open("wb") as file:
        write_archive(store, {"x:1": held(store, saved)}, file)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 24 << 20


@pytest.mark.parametrize("layers", [Layers(), Layers(compression="gzip")], ids=str)
@pytest.mark.parametrize("damage", ["zeros", "first byte", "last byte", "another layer", "config"])
def test_a_damaged_blob_leaves_no_file(tmp_path: Path, layers: Layers, damage: str) -> None:
    store = filled(tmp_path / "store", TWO, layers=layers)
    found = held(store, TWO)
    blob = found.config if damage == "config" else found.layers[0].blob
    path = store.blob_path(blob.digest)
    content = bytearray(path.read_bytes())
    if damage in {"zeros", "config"}:
        content = bytearray(len(content))
    elif damage == "another layer":
        content = bytearray(store.blob_path(found.layers[1].blob.digest).read_bytes())
    else:
        content[0 if damage == "first byte" else -1] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    store = ContentStore(store.root, layers)
    with (
        pytest.raises(StoreError, match=f"^blob {blob.digest} in the store is damaged: ") as caught,
        files.atomic(tmp_path / "out.tar") as file,
    ):
        write_archive(store, {"x:1": found}, file)
    assert caught.value.hint
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_a_layer_larger_than_old_tar_can_say(tmp_path: Path) -> None:
    """Its header is written; its bytes are not there, which is the only complaint."""
    store = filled(tmp_path, ONE)
    found = held(store, ONE)
    huge = replace(found.layers[0], plain_size=9 << 30)

    with pytest.raises(StoreError, match=f"it unpacks to less than {9 << 30} bytes"):
        write_archive(store, {"x:1": replace(found, layers=(huge,))}, io.BytesIO())
