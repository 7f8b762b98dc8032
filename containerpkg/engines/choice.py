"""Which engine a project's images are built by."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager

from containerpkg.definitions.project import ProjectBuild
from containerpkg.engines.buildah import BuildahEngine
from containerpkg.engines.docker import DockerEngine
from containerpkg.engines.podman import PodmanEngine
from containerpkg.engines.protocol import BuildRequest, ByteStream, Engine, EngineImage
from containerpkg.errors import EngineError, ToolError

Makers = Mapping[str, Callable[[ProjectBuild], Engine]]

# In the order in which they are tried.
_ENGINES: Makers = {
    "docker": lambda settings: DockerEngine(builder=settings.builder),
    "podman": lambda settings: PodmanEngine(isolation=settings.isolation),
    "buildah": lambda settings: BuildahEngine(isolation=settings.isolation),
}


def choose_engine(settings: ProjectBuild, *, engines: Makers = _ENGINES) -> Engine:
    """The engine for ``settings``; whether it answers shows when it is first asked."""
    if settings.engine != "auto":
        return engines[settings.engine](settings)
    if "DOCKER_HOST" in os.environ:
        return engines["docker"](settings)  # whoever says where it is wants no other
    return _FirstThatWorks({name: make(settings) for name, make in engines.items()})


class _FirstThatWorks:
    """The first of several engines that works; it is found when something is asked of it."""

    def __init__(self, engines: Mapping[str, Engine]) -> None:
        self._engines = engines
        self._guard = threading.Lock()
        self._found: tuple[Engine, str] | None = None

    def check(self) -> None:
        """See :meth:`containerpkg.engines.protocol.Engine.check`."""
        self._choose()

    def builder(self) -> str:
        """What the engine says, and why it is this one."""
        engine, why = self._choose()
        return f"{engine.builder()}; {why}"

    def build(self, request: BuildRequest, on_line: Callable[[str], None]) -> str:
        """See :meth:`containerpkg.engines.protocol.Engine.build`."""
        return self._engine.build(request, on_line)

    def inspect(self, reference: str) -> EngineImage | None:
        """See :meth:`containerpkg.engines.protocol.Engine.inspect`."""
        return self._engine.inspect(reference)

    def save(self, image_ids: Sequence[str]) -> AbstractContextManager[ByteStream]:
        """See :meth:`containerpkg.engines.protocol.Engine.save`."""
        return self._engine.save(image_ids)

    def load(self, chunks: AbstractContextManager[ByteStream]) -> None:
        """See :meth:`containerpkg.engines.protocol.Engine.load`."""
        self._engine.load(chunks)

    def tag(self, image_id: str, reference: str) -> None:
        """See :meth:`containerpkg.engines.protocol.Engine.tag`."""
        self._engine.tag(image_id, reference)

    @property
    def _engine(self) -> Engine:
        return self._choose()[0]

    def _choose(self) -> tuple[Engine, str]:
        with self._guard:
            if self._found is None:
                self._found = self._first()
            return self._found

    def _first(self) -> tuple[Engine, str]:
        refused: list[str] = []
        for name, engine in self._engines.items():
            try:
                engine.check()
            except (EngineError, ToolError) as error:
                refused.append(f"{name}: {error.message}")
            else:
                why = f"{name} is the first engine that works"
                return engine, f"{why} ({'; '.join(refused)})" if refused else why
        raise EngineError(
            f"no container engine works: {'; '.join(refused)}",
            hint="start docker ('systemctl start docker', or scripts/bootstrap), "
            "or install podman or buildah",
        )
