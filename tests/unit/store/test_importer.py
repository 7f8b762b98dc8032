"""What engines save goes into the store: whole, once, under one manifest digest; or not at all."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import random
import tracemalloc
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil
import pytest
import zstandard

from containerpkg.definitions.project import Layers
from containerpkg.engines.protocol import EngineImage
from containerpkg.errors import StoreError
from containerpkg.progress import Silent
from containerpkg.store import codec
from containerpkg.store.content import Blob, ContentStore, Layer, StoredImage
from containerpkg.store.importer import import_images
from tests.unit.store.saved import (
    FORMS,
    Form,
    Saved,
    archive,
    containerd_gzip,
    described,
    docker20,
    docker25,
    image,
    layer,
    podman,
    unpacked,
)

BASE, MIDDLE, TOP = layer(1), layer(2), layer(3)
ONE, TWO = image(BASE, MIDDLE), image(BASE, MIDDLE, TOP)


@pytest.fixture
def store(tmp_path: Path) -> ContentStore:
    return ContentStore(tmp_path / "store", Layers())


def take(
    store: ContentStore, members: Mapping[str, bytes | str | None], *images: Saved
) -> tuple[tuple[StoredImage, ...], list[Layer]]:
    return take_bytes(store, archive(members), *(described(one, members) for one in images))


def take_bytes(
    store: ContentStore, stream: bytes, *images: EngineImage
) -> tuple[tuple[StoredImage, ...], list[Layer]]:
    told: list[Layer] = []
    stored = import_images(
        store,
        io.BytesIO(stream),
        images,
        progress=Silent(),
        on_layer=told.append,
    )
    assert list((store.root / "tmp").iterdir()) == []
    return stored, told


def packed(content: bytes, form: Layers) -> bytes:
    """A layer as the store has to keep it, by other means than the store's own."""
    if form.compression == "gzip":
        job = zlib.compressobj(form.level, zlib.DEFLATED, 31)
        return job.compress(content) + job.flush()
    parameters = zstandard.ZstdCompressionParameters.from_level(
        form.level, threads=1, job_size=1 << 21
    )
    job = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return job.compress(content) + job.flush()


def expected(saved: Saved, form: Layers) -> tuple[StoredImage, bytes]:
    """The whole image as the store has to give it, and its manifest."""
    layers = []
    for content in saved.layers:
        blob = packed(content, form)
        layers.append(
            Layer(
                blob=Blob(digest=sha256(blob), size=len(blob)),
                diff_id=sha256(content),
                plain_size=len(content),
            )
        )
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": saved.id,
                "size": len(saved.config),
            },
            "layers": [
                {
                    "mediaType": "application/vnd.oci.image.layer.v1.tar+" + form.compression,
                    "digest": one.blob.digest,
                    "size": one.blob.size,
                }
                for one in layers
            ],
        },
        separators=(",", ":"),
    ).encode()
    return (
        StoredImage(
            id=saved.id,
            manifest=Blob(digest=sha256(manifest), size=len(manifest)),
            config=Blob(digest=saved.id, size=len(saved.config)),
            layers=tuple(layers),
            architecture="amd64",
            created="2024-05-06T07:08:09.123456789Z",
        ),
        manifest,
    )


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def blobs(store: ContentStore) -> dict[str, bytes]:
    return {
        f"sha256:{path.name}": path.read_bytes() for path in (store.root / "blobs/sha256").glob("*")
    }


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "layers", [Layers(), Layers(level=19), Layers(compression="gzip", level=6)], ids=str
)
def test_two_images_of_every_form(store: ContentStore, form: Form, layers: Layers) -> None:
    store = ContentStore(store.root, layers)
    (first, manifest), (second, other_manifest) = expected(ONE, layers), expected(TWO, layers)
    stored, told = take(store, form(ONE, TWO), TWO, ONE)
    assert stored == (second, first)
    assert (store.image(ONE.id), store.image(TWO.id)) == (first, second)
    assert store.image(described(ONE, form(ONE, TWO)).id) == first
    assert sorted(told, key=str) == sorted(second.layers, key=str)  # each layer once
    assert blobs(store) == {
        first.manifest.digest: manifest,
        second.manifest.digest: other_manifest,
        ONE.id: ONE.config,
        TWO.id: TWO.config,
        **{sha256(blob): blob for blob in (packed(one, layers) for one in TWO.layers)},
    }
    assert {path.stat().st_mode & 0o777 for path in store.root.glob("blobs/*/*")} == {0o444}


def test_layers_of_many_pieces_come_out_equal_from_every_form(tmp_path: Path) -> None:
    """Pieces end where each form's decoder ends them, which must not show in the blob."""
    saved = image(layer(1, 9 << 20), layer(2, (4 << 20) + 1))
    found = set()
    for form in FORMS:
        store = ContentStore(tmp_path / form.__name__, Layers())
        found.add(take(store, form(saved), saved)[0])
    assert found == {(expected(saved, Layers())[0],)}


@pytest.mark.parametrize("form", FORMS)
def test_a_layer_that_the_store_has_is_not_compressed_again(
    store: ContentStore, form: Form, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(store, form(ONE), ONE)
    compressed: list[bytes] = []
    real = codec.encoder

    class Counting:
        def __init__(self, form: Layers) -> None:
            self._encoder = real(form)
            self._all = b""

        def compress(self, data: bytes) -> bytes:
            self._all += data
            return self._encoder.compress(data)

        def flush(self) -> bytes:
            compressed.append(self._all)
            return self._encoder.flush()

    monkeypatch.setattr(codec, "encoder", Counting)
    stored, told = take(store, form(TWO), TWO)
    assert compressed == [TOP]
    assert stored == (expected(TWO, Layers())[0],)
    assert sorted(told, key=str) == sorted(stored[0].layers, key=str)


def test_another_compression_is_another_blob_of_the_same_layer(store: ContentStore) -> None:
    take(store, docker20(ONE), ONE)
    other = ContentStore(store.root, Layers(compression="gzip", level=1))
    assert other.image(ONE.id) is None
    stored, _ = take(other, docker20(ONE), ONE)
    assert stored == (expected(ONE, Layers(compression="gzip", level=1))[0],)
    assert store.image(ONE.id) == expected(ONE, Layers())[0]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "saved",
    [
        image(),
        image(rootfs={"type": "layers"}),  # as Docker writes an empty list
        image(rootfs={"type": "layers", "diff_ids": None}),
        image(b""),
        image(archive({})),
        image(BASE, BASE),
        image(BASE, MIDDLE, BASE, archive({})),
        image(archive({"{": b"{}"})),
    ],
    ids=["none", "absent", "null", "zero bytes", "no files", "same", "same again", "brace"],
)
def test_unusual_layers(store: ContentStore, form: Form, saved: Saved) -> None:
    stored, _ = take(store, form(saved), saved)
    assert stored == (expected(saved, Layers())[0],)


@pytest.mark.parametrize(
    ("changes", "architecture", "created"),
    [
        ({"architecture": "arm", "variant": "v7"}, "arm/v7", "2024-05-06T07:08:09.123456789Z"),
        ({"created": None}, "amd64", "1970-01-01T00:00:00Z"),
    ],
)
def test_what_the_configuration_says(
    store: ContentStore, changes: dict[str, object], architecture: str, created: str
) -> None:
    saved = image(BASE, **changes)
    ((stored,), _) = take(store, docker25(saved), saved)
    assert (stored.architecture, stored.created) == (architecture, created)


def test_names_that_are_no_digests_mean_nothing_in_the_next_stream(store: ContentStore) -> None:
    for saved in (ONE, TWO):
        members: dict[str, bytes | str | None] = {
            f"./layers/{number}.tar": content for number, content in enumerate(saved.layers[::-1])
        }
        members[f"./{saved.id.removeprefix('sha256:')}.json"] = saved.config
        assert take(store, members, saved)[0] == (expected(saved, Layers())[0],)


def test_what_nobody_asked_for_is_not_kept(store: ContentStore) -> None:
    stored, told = take(store, docker20(ONE, TWO), ONE)
    assert stored == (expected(ONE, Layers())[0],)
    assert sha256(TOP) not in [one.diff_id for one in told]
    assert sha256(packed(TOP, Layers())) not in blobs(store)


def cuts(form: Form) -> list[int]:
    """Where a stream may end before the image is there: in and beside headers and contents."""
    stream = archive(form(ONE))
    places = {0, 1, 511}
    for content in (*ONE.layers, ONE.config):
        blob = next(value for value in _holding(form(ONE), content))
        start = stream.index(blob)
        end = start + len(blob)
        places |= {start - 512, start - 1, start, start + 1, end - 1}
    return sorted(places)


def _holding(members: Mapping[str, bytes | str | None], content: bytes) -> list[bytes]:
    """The member that holds ``content``, packed in whichever way."""
    return [
        value
        for value in members.values()
        if isinstance(value, bytes) and value and content in (value, unpacked(value))
    ]


@pytest.mark.parametrize(
    ("form", "place"), [(form, place) for form in FORMS for place in cuts(form)]
)
def test_a_stream_that_ends_early(store: ContentStore, form: Form, place: int) -> None:
    stream = archive(form(ONE))
    with pytest.raises(StoreError, match=r"^the engine's stream") as caught:
        take_bytes(store, stream[:place], described(ONE, form(ONE)))
    assert caught.value.hint
    assert store.image(ONE.id) is None
    whole = {sha256(blob): blob for blob in (packed(one, Layers()) for one in ONE.layers)}
    kept = blobs(store)
    assert {name: whole.get(name) for name in kept} == kept
    assert list((store.root / "tmp").iterdir()) == []
    assert take_bytes(store, stream, described(ONE, form(ONE)))[0] == (expected(ONE, Layers())[0],)


@pytest.mark.parametrize("error", [ConnectionResetError(), KeyboardInterrupt()])
def test_an_engine_that_dies_or_a_person_who_interrupts(
    store: ContentStore, error: BaseException
) -> None:
    """In the middle of a layer that is larger than what may wait: nobody may wait for ever."""
    saved = image(layer(1, 12 << 20))
    stream = io.BytesIO(archive(docker20(saved))[: 11 << 20])

    class Dying:
        def read(self, amount: int) -> bytes:
            data = stream.read(amount)
            if not data:
                raise error
            return data

    with pytest.raises(type(error)):
        import_images(
            store, Dying(), [described(saved, {})], progress=Silent(), on_layer=lambda _: None
        )
    assert blobs(store) == {}
    assert list((store.root / "tmp").iterdir()) == []


def garbled(members: dict[str, bytes | str | None], content: bytes) -> None:
    (name,) = [name for name, value in members.items() if value in _holding(members, content)]
    value = members[name]
    assert isinstance(value, bytes)
    half = len(value) // 2
    members[name] = value[:half] + bytes([value[half] ^ 0xFF]) + value[half + 1 :]


def shortened(members: dict[str, bytes | str | None], content: bytes) -> None:
    (name,) = [name for name, value in members.items() if value in _holding(members, content)]
    value = members[name]
    assert isinstance(value, bytes)
    members[name] = value[:-9]


def absent(members: dict[str, bytes | str | None], content: bytes) -> None:
    (name,) = [name for name, value in members.items() if value in _holding(members, content)]
    del members[name]


@pytest.mark.parametrize("damage", [garbled, shortened, absent])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("part", [MIDDLE, ONE.config], ids=["layer", "config"])
def test_a_damaged_or_missing_part(
    store: ContentStore,
    form: Form,
    damage: Callable[[dict[str, bytes | str | None], bytes], None],
    part: bytes,
) -> None:
    members = form(ONE)
    damage(members, part)
    told: list[Layer] = []
    with pytest.raises(StoreError) as caught:
        import_images(
            store,
            io.BytesIO(archive(members)),
            [described(ONE, members)],
            progress=Silent(),
            on_layer=told.append,
        )
    missing = sha256(MIDDLE) if part is MIDDLE else described(ONE, members).id
    assert caught.value.hint
    assert missing in caught.value.message or " is damaged: " in caught.value.message
    assert store.image(ONE.id) is None
    # Nothing that is not one of the image's layers becomes a blob, or a package.
    good = {sha256(blob) for blob in (packed(one, Layers()) for one in ONE.layers)}
    assert set(blobs(store)) <= good
    assert {one.blob.digest for one in told} <= good


@pytest.mark.parametrize("manifest", [b"", b"{", b"[1]", b"null", b"[{}]", b'{"a":1}', b"\xff"])
def test_a_manifest_that_makes_no_sense(store: ContentStore, manifest: bytes) -> None:
    with pytest.raises(StoreError, match=r"lacks image .*; it holds a manifest.json that cannot"):
        take(store, docker20(TWO) | {"manifest.json": manifest}, ONE)


def test_the_images_of_a_wrong_stream_are_named(store: ContentStore) -> None:
    with pytest.raises(StoreError) as caught:
        take(store, podman(TWO), ONE)
    assert caught.value.message == (
        f"the engine's stream lacks image {ONE.id}; it holds {TWO.id.removeprefix('sha256:')}.json"
    )


def test_a_layer_is_on_disk_before_it_has_its_name(
    store: ContentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its record is written to disk, and must not outlive it."""
    written: set[int] = set()
    fsync, rename = os.fsync, Path.rename

    def written_out(handle: int) -> None:
        written.add(os.fstat(handle).st_ino)
        fsync(handle)

    def named(path: Path, target: Path) -> Path:
        assert path.stat().st_ino in written
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", written_out)
    monkeypatch.setattr(Path, "rename", named)
    take(store, docker20(TWO), TWO)
    assert {path.stat().st_ino for path in store.root.glob("blobs/*/*")} <= written


def test_a_full_disk_ends_the_import_and_keeps_what_was_complete(
    store: ContentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second layer goes to a file on which the kernel itself says that there is no room."""
    saved = image(layer(1, 1 << 20), layer(2, 12 << 20), layer(3, 12 << 20))
    real = Path.open

    def opened(path: Path, mode: str = "r", *args: int, **options: int) -> object:
        full = path.name == "layer-1" and mode == "wb"
        return real(Path("/dev/full") if full else path, mode, *args, **options)

    monkeypatch.setattr(Path, "open", opened)
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        take(store, docker20(saved), saved)
    monkeypatch.undo()
    first, second, _ = (sha256(packed(one, Layers())) for one in saved.layers)
    assert first in blobs(store)
    assert second not in blobs(store)
    assert list((store.root / "tmp").iterdir()) == []
    assert take(store, docker20(saved), saved)[0] == (expected(saved, Layers())[0],)


def test_what_a_few_bytes_unpack_to_does_not_fill_the_memory(store: ContentStore) -> None:
    saved = image(archive({"sparse": bytes(100 << 20)}))
    members = containerd_gzip(saved)
    stream, told = archive(members), described(saved, members)
    del members
    tracemalloc.start()
    (stored,) = import_images(
        store, io.BytesIO(stream), [told], progress=Silent(), on_layer=lambda _: None
    )
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert tuple(one.diff_id for one in stored.layers) == told.diff_ids
    assert peak < 24 << 20


class TestEncoder:
    CONTENT = random.Random(7).randbytes(5 << 20) + bytes(5 << 20)

    @pytest.mark.parametrize("form", [Layers(), Layers(level=12), Layers(compression="gzip")])
    def test_neither_processors_nor_pieces_show(
        self, form: Layers, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        found = set()
        for processors in (1, 2, 64):
            for piece in (1 << 20, 77_777, len(self.CONTENT)):
                monkeypatch.setattr(os, "sched_getaffinity", lambda _, n=processors: set(range(n)))
                encoder = codec.encoder(form)
                out = b"".join(
                    encoder.compress(self.CONTENT[start : start + piece])
                    for start in range(0, len(self.CONTENT), piece)
                )
                found.add(out + encoder.flush())
        (out,) = found
        assert unpacked(out) == self.CONTENT

    def test_memory_does_not_grow_with_the_processors(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
        before = psutil.Process().num_threads()
        encoder = codec.encoder(Layers())
        encoder.compress(self.CONTENT)
        assert psutil.Process().num_threads() - before == 4

    def test_gzip_carries_neither_time_nor_name(self) -> None:
        encoder = codec.encoder(Layers(compression="gzip"))
        out = encoder.compress(b"x") + encoder.flush()
        assert out[:4] == b"\x1f\x8b\x08\x00"  # no flags: no name, no comment
        assert out[4:8] == bytes(4)  # no time
