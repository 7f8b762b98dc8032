"""The store on disk: what is there is whole, and what is not whole is told or made anew."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest

from containerpkg.definitions.project import Layers
from containerpkg.errors import LockedError, StoreError
from containerpkg.progress import Silent
from containerpkg.store.content import Blob, ContentStore, Layer, StoredImage, hex_of
from containerpkg.store.importer import import_images
from tests.unit.store.saved import archive, described, digest, docker20, image, layer

SAVED = image(layer(1), layer(2))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def stored(root: Path) -> StoredImage:
    return imported(root)


def imported(root: Path) -> StoredImage:
    stream = io.BytesIO(archive(docker20(SAVED)))
    (found,) = import_images(
        ContentStore(root, Layers()),
        stream,
        [described(SAVED, {})],
        progress=Silent(),
        on_layer=lambda _: None,
    )
    return found


def reopened(root: Path) -> ContentStore:
    return ContentStore(root, Layers())


def overwrite(path: Path, content: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(content)


def test_the_layout(root: Path, stored: StoredImage) -> None:
    first, second = stored.layers
    names = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    aliases = {name for name in names if name.startswith("aliases/")}
    assert names - aliases == {
        *(f"blobs/sha256/{hex_of(blob.digest)}" for blob in stored.blobs),
        f"layers/zstd-3/{hex_of(first.diff_id)}.json",
        f"layers/zstd-3/{hex_of(second.diff_id)}.json",
        f"images/zstd-3/{hex_of(SAVED.id)}.json",
    }
    assert {(root / name).read_text() for name in aliases} == {first.diff_id, second.diff_id}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256:",
        "sha256:" + "A" * 64,
        "sha256:" + "a" * 63,
        "md5:" + "a" * 64,
        "sha256:" + "a" * 64 + "\n",
        "sha256:../../../etc/passwd",
    ],
)
def test_what_is_no_digest(text: str) -> None:
    with pytest.raises(StoreError, match="is not a SHA-256 digest"):
        hex_of(text)


class TestVerified:
    def test_a_blob_is_hashed_once_in_a_run(
        self, root: Path, stored: StoredImage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hashed: list[str] = []

        def sha256_file(path: Path) -> str:
            hashed.append(path.name)
            return digest(path.read_bytes())

        monkeypatch.setattr("containerpkg.files.sha256_file", sha256_file)
        store = reopened(root)
        blob = stored.layers[0].blob
        for _ in range(2):
            assert store.verified(blob) == root / "blobs/sha256" / hex_of(blob.digest)
        assert hashed == [hex_of(blob.digest)]

    def test_a_damaged_blob_is_told_and_made_anew(self, root: Path, stored: StoredImage) -> None:
        blob = stored.layers[0].blob
        path = root / "blobs/sha256" / hex_of(blob.digest)
        overwrite(path, bytes(blob.size))
        store = reopened(root)
        with pytest.raises(StoreError) as caught:
            store.verified(blob)
        assert caught.value.message == (
            f"blob {blob.digest} in the store is damaged: its bytes hash to "
            f"sha256:{digest(bytes(blob.size))}; it was moved to {path.name}.damaged"
        )
        assert path.with_name(f"{path.name}.damaged").read_bytes() == bytes(blob.size)
        assert store.image(SAVED.id) is None
        assert imported(root) == stored
        assert reopened(root).verified(blob) == path

    def test_a_missing_blob(self, root: Path, stored: StoredImage) -> None:
        blob = stored.layers[1].blob
        path = root / "blobs/sha256" / hex_of(blob.digest)
        path.unlink()
        store = reopened(root)
        with pytest.raises(StoreError) as caught:
            store.verified(blob)
        assert caught.value.message == f"the store lacks blob {blob.digest} ({path})"
        assert store.image(SAVED.id) is None
        assert imported(root) == stored


@pytest.mark.parametrize("content", [b"", b"{", b"cut"])
def test_a_torn_configuration_is_told_and_made_anew(
    root: Path, stored: StoredImage, content: bytes
) -> None:
    overwrite(root / "blobs/sha256" / hex_of(stored.config.digest), content)
    with pytest.raises(StoreError, match=f"blob {SAVED.id} in the store is damaged"):
        reopened(root).image(SAVED.id)
    assert reopened(root).image(SAVED.id) is None
    assert imported(root) == stored


def test_a_small_blob_that_was_torn_is_written_again(root: Path) -> None:
    blob = reopened(root).add(b"content")
    path = root / "blobs/sha256" / hex_of(blob.digest)
    overwrite(path, b"")
    assert (
        reopened(root).add(b"content")
        == blob
        == Blob(digest=f"sha256:{digest(b'content')}", size=7)
    )
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"content", 0o444)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"{}", b'{"blob": {}}', b"\xff"])
@pytest.mark.parametrize("kind", ["layers", "images"])
def test_a_record_that_was_torn_names_its_file(
    root: Path, stored: StoredImage, content: bytes, kind: str
) -> None:
    name = stored.layers[0].diff_id if kind == "layers" else SAVED.id
    path = root / kind / "zstd-3" / f"{hex_of(name)}.json"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=re.escape(f"{path} in the store is damaged")) as caught:
        reopened(root).image(SAVED.id)
    assert caught.value.hint == f"remove it: rm {path}"
    path.unlink()
    assert imported(root) == stored


@pytest.mark.parametrize("content", [b"", b"sha256:ab", b"\xff"])
def test_an_alias_that_was_torn_is_found_out_anew(
    root: Path, stored: StoredImage, content: bytes
) -> None:
    for path in (root / "aliases").iterdir():
        path.write_bytes(content)
        assert reopened(root).alias(path.name) is None
    assert imported(root) == stored


def test_a_layer_whose_blob_has_another_size_is_not_there(root: Path, stored: StoredImage) -> None:
    first = stored.layers[0]
    overwrite(root / "blobs/sha256" / hex_of(first.blob.digest), b"short")
    assert reopened(root).layer(first.diff_id) is None
    assert imported(root) == stored


def test_a_layer_is_recorded_by_its_compression(root: Path) -> None:
    store = reopened(root)
    blob = store.add(b"packed")
    found = Layer(blob=blob, diff_id=f"sha256:{'a' * 64}", plain_size=9)
    store.add_layer(found)
    assert reopened(root).layer(found.diff_id) == found
    assert ContentStore(root, Layers(level=4)).layer(found.diff_id) is None
    record = root / "layers/zstd-3" / f"{'a' * 64}.json"
    assert json.loads(record.read_text()) == {
        "blob": {"digest": blob.digest, "size": 6},
        "diff_id": found.diff_id,
        "plain_size": 9,
    }


class TestLock:
    def test_one_run_at_a_time(self, root: Path) -> None:
        with (
            reopened(root).locked(),
            pytest.raises(LockedError, match=re.escape(f"the store {root} is in use")),
            reopened(root).locked(),
        ):
            pytest.fail("two have the store")

    def test_what_a_killed_run_left_is_swept(self, root: Path, stored: StoredImage) -> None:
        (root / "tmp/import-x").mkdir(parents=True)
        (root / "tmp/import-x/layer-0").write_bytes(b"half")
        with reopened(root).locked():
            assert not (root / "tmp").exists()
            with reopened(root).workspace("w") as folder:
                assert folder.parent == root / "tmp"
                (folder / "file").touch()
            assert list((root / "tmp").iterdir()) == []
        assert reopened(root).image(SAVED.id) == stored

    def test_a_run_that_is_kept_out_sweeps_nothing(self, root: Path) -> None:
        with reopened(root).locked(), reopened(root).workspace("w") as folder:
            (folder / "file").touch()
            with pytest.raises(LockedError), reopened(root).locked():
                pytest.fail("two have the store")
            assert (folder / "file").exists()
