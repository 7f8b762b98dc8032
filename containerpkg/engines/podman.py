"""Podman, through its command line; no service of it has to run.

https://docs.podman.io/en/latest/Commands.html
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property

from containerpkg import process
from containerpkg.engines import bud
from containerpkg.engines.protocol import BuildRequest, ByteStream, EngineImage
from containerpkg.errors import EngineError

# To find an image's parent, podman reads all images, and stumbles over one that another process
# is just writing.
_HALF_WRITTEN = "locating item named"
_PAUSES = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
"""Seconds to wait until the other one is through."""


class PodmanEngine:
    """Podman with the storage of whoever runs it."""

    def __init__(
        self,
        *,
        isolation: bud.Isolation = "auto",
        run: process.Run = process.run,
        stream: process.Stream = process.stream,
    ) -> None:
        self._isolation = bud.isolation(isolation)
        self._run, self._stream = run, stream

    @cached_property
    def _version(self) -> bud.Version:
        return bud.version("podman", run=self._run)

    def check(self) -> None:
        """See :meth:`containerpkg.engines.protocol.Engine.check`."""
        bud.check("podman", run=self._run)

    def builder(self) -> str:
        """``podman VERSION``"""
        chroot = " with chroot isolation" if self._isolation == "chroot" else ""
        return f"{self._version.text}{chroot}"

    def build(self, request: BuildRequest, on_line: Callable[[str], None]) -> str:
        """See :meth:`containerpkg.engines.protocol.Engine.build`."""
        return bud.build(
            request, on_line, said=self._version, confined=self._isolation, run=self._run
        )

    def inspect(self, reference: str) -> EngineImage | None:
        """See :meth:`containerpkg.engines.protocol.Engine.inspect`."""
        with bud.answering("podman"):
            try:
                said = self._described(reference)
            except process.CommandFailed as error:
                if bud.unknown(error):
                    return None
                raise
        (found,) = json.loads(said)
        return EngineImage(
            id=bud.full_id(found["Id"]),
            diff_ids=tuple(found["RootFS"].get("Layers") or ()),
            size=found["Size"],
            architecture=found["Architecture"],
        )

    def _described(self, reference: str) -> str:
        argv = ["podman", "image", "inspect", "--format=json", reference]
        for pause in _PAUSES:
            try:
                return self._run(argv).stdout
            except process.CommandFailed as error:
                if _HALF_WRITTEN not in error.tail:
                    raise
                time.sleep(pause)
        return self._run(argv).stdout

    @contextmanager
    def save(self, image_ids: Sequence[str]) -> Iterator[ByteStream]:
        """See :meth:`containerpkg.engines.protocol.Engine.save`."""
        argv = ["podman", "save", "--quiet", "--format=docker-archive", "--multi-image-archive"]
        try:
            with self._stream([*argv, *image_ids]) as stream:
                yield stream
        except process.CommandFailed as error:
            raise EngineError(
                f"podman does not save {', '.join(image_ids)}: {bud.reason(error)}",
                hint="see which it has: podman images --no-trunc",
            ) from error

    def load(self, chunks: AbstractContextManager[ByteStream]) -> None:
        """See :meth:`containerpkg.engines.protocol.Engine.load`."""
        with bud.answering("podman"), chunks as stream:
            self._run(["podman", "load", "--quiet"], stdin=lambda pipe: bud.pour(stream, pipe))

    def tag(self, image_id: str, reference: str) -> None:
        """See :meth:`containerpkg.engines.protocol.Engine.tag`."""
        with bud.answering("podman"):
            self._run(["podman", "tag", image_id, reference])
