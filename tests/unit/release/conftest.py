"""An engine that keeps its images in memory, and projects that it builds."""

from __future__ import annotations

import io
import json
import random
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import pytest

from containerpkg.definitions.load import load_project
from containerpkg.engines.protocol import BuildRequest, ByteStream, EngineImage
from containerpkg.progress import Silent
from containerpkg.release.make import Options, Workshop

OnBuild = Callable[[BuildRequest, Callable[[str], None]], None]


@dataclass
class FakeEngine:
    """Builds an image of the files in its context, on the layers of what is after FROM.

    The Dockerfile itself leaves no trace in the image. ``calls`` holds builds, tags, loads and
    saves in order; ``on_build`` is what else the build of an image does.
    """

    calls: list[tuple[str, ...]] = field(default_factory=list)
    on_build: dict[str, OnBuild] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    """Bytes of an image's own layer; 0 stands for as few as will do."""

    volumes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """What the Dockerfile of an image declares as VOLUME."""

    images: dict[str, tuple[bytes, tuple[bytes, ...]]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    name: str = "fake"

    def builder(self) -> str:
        return "fake"

    def build(self, request: BuildRequest, on_line: Callable[[str], None]) -> str:
        self.calls.append(("build", request.image))
        if request.image in self.on_build:
            self.on_build[request.image](request, on_line)
        dockerfile = (request.context.entries[0].path.parent / "Dockerfile").read_text()
        layers: tuple[bytes, ...] = ()
        for line in dockerfile.splitlines():
            if line.startswith("FROM ") and line != "FROM scratch":
                layers += self.images[self.tags[line.removeprefix("FROM ")]][1]
        inputs = {n: d for n, d in request.context.inputs.items() if n != "Dockerfile"}
        own = json.dumps([request.image, inputs, dict(request.args)]).encode()
        if size := self.sizes.get(request.image):
            # Bytes that no compressor makes smaller.
            own = random.Random(own).randbytes(size)
        image_id = self.add((*layers, own), self.volumes.get(request.image, ()))
        for tag in request.tags:
            self.tags[tag] = image_id
        return image_id

    def add(self, layers: tuple[bytes, ...], volumes: Sequence[str] = ()) -> str:
        config = json.dumps(
            {
                "architecture": "amd64",
                "os": "linux",
                **({"config": {"Volumes": {path: {} for path in volumes}}} if volumes else {}),
                "created": "2024-05-06T07:08:09.123456789Z",
                "rootfs": {"type": "layers", "diff_ids": [_digest(layer) for layer in layers]},
            }
        ).encode()
        self.images[_digest(config)] = (config, layers)
        return _digest(config)

    def inspect(self, reference: str) -> EngineImage | None:
        image_id = self.tags.get(reference, reference)
        if image_id not in self.images:
            return None
        layers = self.images[image_id][1]
        return EngineImage(
            id=image_id,
            diff_ids=tuple(_digest(layer) for layer in layers),
            size=sum(len(layer) for layer in layers),
        )

    @contextmanager
    def save(self, image_ids: Sequence[str]) -> Iterator[ByteStream]:
        self.calls.append(("save", *image_ids))
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            for image_id in image_ids:
                config, layers = self.images[image_id]
                _add(tar, f"{image_id[7:]}.json", config)
                for layer in layers:
                    _add(tar, f"{_digest(layer)[7:]}/layer.tar", layer)
            _add(tar, "manifest.json", b"[]")
        out.seek(0)
        yield out

    def load(self, chunks: AbstractContextManager[ByteStream]) -> None:
        with chunks as stream, tarfile.open(fileobj=stream, mode="r|") as tar:  # type: ignore[arg-type]
            held = {m.name: tar.extractfile(m).read() for m in tar}  # type: ignore[union-attr]
        for entry in json.loads(held["manifest.json"]):
            config = held[entry["Config"]]
            self.images[_digest(config)] = (config, tuple(held[n] for n in entry["Layers"]))
            self.tags |= dict.fromkeys(entry["RepoTags"], _digest(config))
            self.calls.append(("load", *entry["RepoTags"]))

    def tag(self, image_id: str, reference: str) -> None:
        self.calls.append(("tag", image_id, reference))
        self.tags[reference] = image_id

    def built(self) -> list[str]:
        """The images that were built since this was asked last."""
        names = [call[1] for call in self.calls if call[0] == "build"]
        self.calls.clear()
        return names


def _digest(content: bytes) -> str:
    return f"sha256:{sha256(content).hexdigest()}"


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


Open = Callable[[Path], Workshop]


@pytest.fixture
def workshop() -> Open:
    """The project in a folder as its files are now."""
    return lambda root: Workshop(load_project(root), progress=Silent())


OPTIONS = Options(jobs=2)
