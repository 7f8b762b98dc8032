"""Which engine a project's images are built by."""

from __future__ import annotations

from containerpkg.definitions.project import ProjectBuild
from containerpkg.engines.docker import DockerEngine
from containerpkg.engines.protocol import Engine


def choose_engine(settings: ProjectBuild) -> Engine:
    """The engine for ``settings``; whether it answers shows when it is first asked."""
    return DockerEngine(builder=settings.builder)
