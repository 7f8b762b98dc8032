"""Buildah, through its command line: builds without any daemon, also without an OCI runtime.

https://github.com/containers/buildah/tree/main/docs
"""

from __future__ import annotations

import json
import re
import tarfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from pathlib import Path
from typing import IO

from containerpkg import process
from containerpkg.engines import bud
from containerpkg.engines.protocol import BuildRequest, ByteStream, EngineImage
from containerpkg.files import CHUNK, piped

# What buildah calls a blob in a folder; manifests have another ending.
_BLOB = re.compile(r"[0-9a-f]{64}")


class BuildahEngine:
    """Buildah with the storage of whoever runs it, which podman shares."""

    def __init__(
        self, *, isolation: bud.Isolation = "auto", run: process.Run = process.run
    ) -> None:
        self._isolation = bud.isolation(isolation)
        self._run = run

    @cached_property
    def _version(self) -> bud.Version:
        return bud.version("buildah", run=self._run)

    def check(self) -> None:
        """See :meth:`containerpkg.engines.protocol.Engine.check`."""
        bud.check("buildah", run=self._run)

    def builder(self) -> str:
        """``buildah VERSION`` and how it confines what it runs."""
        chroot = " with chroot isolation" if self._isolation == "chroot" else ""
        return f"{self._version.text}{chroot}"

    def build(self, request: BuildRequest, on_line: Callable[[str], None]) -> str:
        """See :meth:`containerpkg.engines.protocol.Engine.build`."""
        return bud.build(
            request, on_line, said=self._version, confined=self._isolation, run=self._run
        )

    def inspect(self, reference: str) -> EngineImage | None:
        """See :meth:`containerpkg.engines.protocol.Engine.inspect`."""
        with bud.answering("buildah"):
            try:
                said = self._run(["buildah", "inspect", "--type=image", reference]).stdout
            except process.CommandFailed as error:
                if bud.unknown(error):
                    return None
                raise
        found = json.loads(said)
        config = json.loads(found["Config"])
        return EngineImage(
            id=bud.full_id(found["FromImageID"]),
            diff_ids=tuple(config["rootfs"].get("diff_ids") or ()),
            # Of an image that was pulled these are the compressed ones.
            size=sum(layer["size"] for layer in json.loads(found["Manifest"])["layers"]),
            architecture=config["architecture"],
        )

    @contextmanager
    def save(self, image_ids: Sequence[str]) -> Iterator[ByteStream]:
        """See :meth:`containerpkg.engines.protocol.Engine.save`.

        Buildah pushes one image at a time, and what they share with each; but a manifest list it
        pushes as a whole, with each layer once and as it is. The stream is that of its blobs.
        """
        name = f"localhost/containerpkg-{uuid.uuid4().hex}"
        with bud.scratch() as folder:
            with bud.answering("buildah"):
                self._run(["buildah", "manifest", "create", name])
                try:
                    for image_id in image_ids:
                        place = f"containers-storage:{image_id.removeprefix('sha256:')}"
                        self._run(["buildah", "manifest", "add", name, place])
                    self._run(
                        ["buildah", "manifest", "push", "--all", "--quiet", name, f"dir:{folder}"]
                    )
                finally:
                    self._run(["buildah", "manifest", "rm", name])
            with piped(lambda pipe: _write_blobs(folder, pipe)) as stream:
                yield stream

    def load(self, chunks: AbstractContextManager[ByteStream]) -> None:
        """See :meth:`containerpkg.engines.protocol.Engine.load`."""
        with bud.answering("buildah"), bud.scratch() as folder:
            archive = folder / "image.tar"
            with chunks as stream, archive.open("wb") as file:
                bud.pour(stream, file)
            self._run(["buildah", "pull", "--quiet", f"docker-archive:{archive}"])

    def tag(self, image_id: str, reference: str) -> None:
        """See :meth:`containerpkg.engines.protocol.Engine.tag`."""
        with bud.answering("buildah"):
            self._run(["buildah", "tag", image_id, reference])


def _write_blobs(folder: Path, pipe: IO[bytes]) -> None:
    """The blobs of a ``dir:`` folder as an OCI layout has them.

    https://github.com/containers/image/blob/main/docs/containers-transports.5.md
    """
    with tarfile.open(fileobj=pipe, mode="w|", format=tarfile.GNU_FORMAT, bufsize=CHUNK) as tar:
        for path in sorted(folder.iterdir()):
            if _BLOB.fullmatch(path.name):
                tar.add(path, arcname=f"blobs/sha256/{path.name}")
