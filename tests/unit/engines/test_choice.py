"""Which engine is taken, and what is said of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from containerpkg.definitions.project import ProjectBuild
from containerpkg.engines.buildah import BuildahEngine
from containerpkg.engines.choice import choose_engine
from containerpkg.engines.docker import DockerEngine
from containerpkg.engines.podman import PodmanEngine
from containerpkg.errors import ContainerpkgError, EngineError, ToolError


class Played:
    """An engine that works, or refuses with an error; it counts how often it is asked."""

    def __init__(self, name: str, error: ContainerpkgError | None = None) -> None:
        self.name, self.error = name, error
        self.checks = 0

    def check(self) -> None:
        self.checks += 1
        if self.error:
            raise self.error

    def builder(self) -> str:
        return f"{self.name} 1.0"

    def inspect(self, reference: str) -> str:
        return f"{self.name} has {reference}"


def choose(engines: Mapping[str, Played], **settings: Any) -> Any:
    makers: Any = {name: lambda _, e=engine: e for name, engine in engines.items()}
    return choose_engine(ProjectBuild(**settings), engines=makers)


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("docker", DockerEngine), ("podman", PodmanEngine), ("buildah", BuildahEngine)],
)
def test_the_engine_that_is_named_is_taken(name: Any, kind: type) -> None:
    assert isinstance(choose_engine(ProjectBuild(engine=name)), kind)


def test_auto_takes_the_first_that_works_and_says_why() -> None:
    engines = {
        "docker": Played("docker", EngineError("it does not answer")),
        "podman": Played("podman", ToolError("it is not installed")),
        "buildah": Played("buildah"),
    }
    chosen = choose(engines)
    assert [engine.checks for engine in engines.values()] == [0, 0, 0]
    assert chosen.inspect("x") == "buildah has x"
    assert chosen.builder() == (
        "buildah 1.0; buildah is the first engine that works "
        "(docker: it does not answer; podman: it is not installed)"
    )
    assert [engine.checks for engine in engines.values()] == [1, 1, 1]

    both = {"docker": Played("docker"), "podman": Played("podman")}
    assert choose(both).builder() == "docker 1.0; docker is the first engine that works"
    assert both["podman"].checks == 0


def test_none_that_works_is_one_error_with_every_reason() -> None:
    engines = {
        "docker": Played("docker", EngineError("it does not answer")),
        "podman": Played("podman", ToolError("it is not installed")),
    }
    with pytest.raises(EngineError) as caught:
        choose(engines).check()
    assert caught.value.message == (
        "no container engine works: docker: it does not answer; podman: it is not installed"
    )
    assert caught.value.hint


def test_who_says_where_docker_is_wants_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere")
    engines = {"docker": Played("docker", EngineError("no answer")), "podman": Played("podman")}
    assert choose(engines) is engines["docker"]
