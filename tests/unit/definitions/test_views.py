# ruff: noqa: E501 - the tables hold whole messages
"""What a loaded project looks like: order, selection, table and graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from containerpkg.definitions import graph_views
from containerpkg.definitions.listing import list_data
from containerpkg.definitions.load import load_project
from containerpkg.definitions.project import Project
from containerpkg.definitions.selection import select
from containerpkg.errors import UsageError

MakeProject = Callable[[Mapping[str, str | None]], Path]


@pytest.fixture
def project(make_project: MakeProject) -> Project:
    return load_project(
        make_project(
            {
                "containerpkg.yaml": "registry: quay.io/example\nvendor: Example\nversion: 3.19~rc1\n",
                "images/base/Dockerfile": "FROM debian:12\n",
                "images/base/image.yaml": "summary: Base\nlicense: MIT\npackaged: false\n",
                "images/tools/Dockerfile": "FROM scratch\nONBUILD COPY --from=quay.io/example/base a b",
                "images/app/Dockerfile": (
                    "ARG V=3.19-rc1\nFROM quay.io/example/tools:$V AS t\n"
                    "FROM quay.io/example/base:$V\nCOPY --from=t a b\n"
                    "COPY --from=quay.io/other/thing:1 a b\n"
                ),
                "images/app/image.yaml": (
                    "summary: App\nlicense: MIT\nversion: 7.1+git^2\npackage: application\n"
                    "services: {worker: {}, app: {}}\n"
                ),
                "images/app-debug/Containerfile": (
                    "FROM quay.io/example/app\nRUN --mount=from=quay.io/example/tools,target=/t x\n"
                ),
            }
        )
    )


def test_images_are_in_build_order_with_their_parents(project: Project) -> None:
    assert [(image.name, image.parents, image.parent_references) for image in project.images] == [
        ("base", (), ()),
        ("tools", (), ()),
        (
            "app",
            ("base", "tools"),
            ("quay.io/example/base", "quay.io/example/base:3.19-rc1", "quay.io/example/tools:3.19-rc1"),
        ),
        ("app-debug", ("app", "tools"), ("quay.io/example/app", "quay.io/example/tools")),
    ]  # fmt: skip
    assert project.image("app-debug").dockerfile.path == (
        project.root / "images/app-debug/Containerfile"
    )


@pytest.mark.parametrize(
    ("names", "parents", "children", "expected"),
    [
        ((), False, False, "base tools app app-debug"),
        (("app",), False, False, "app"),
        (("app-debug", "base"), False, False, "base app-debug"),
        (("app*",), False, False, "app app-debug"),
        (("app-debug",), True, False, "base tools app app-debug"),
        (("base",), False, True, "base app app-debug"),
        (("app",), True, True, "base tools app app-debug"),
    ],
)
def test_selection(
    project: Project, names: tuple[str, ...], parents: bool, children: bool, expected: str
) -> None:
    found = select(project, names, with_parents=parents, with_children=children)
    assert " ".join(image.name for image in found) == expected


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("apps", "there is no image 'apps'", "did you mean 'app'?"),
        ("zzz", "there is no image 'zzz'", "images: app, app-debug, base, tools"),
        ("z*", "no image matches 'z*'", "'containerpkg list' shows every image"),
    ],
)
def test_selecting_what_does_not_exist(
    project: Project, name: str, message: str, hint: str
) -> None:
    with pytest.raises(UsageError) as caught:
        select(project, ["base", name])
    assert (caught.value.message, caught.value.hint) == (message, hint)


def test_list(project: Project) -> None:
    assert list_data(project.images)[2] == {
        "name": "app",
        "version": "7.1+git^2",
        "reference": "quay.io/example/app:7.1-git-2",
        "parents": ["base", "tools"],
        "services": ["app", "worker"],
        "package": "application",
    }
    assert list_data(project.images)[0]["package"] is None


def test_tree(project: Project) -> None:
    assert graph_views.render_tree(project.images) == (
        "base [debian:12]\n"
        "└── app [quay.io/other/thing:1]\n"
        "    └── app-debug\n"
        "tools\n"
        "├── app [quay.io/other/thing:1] …\n"
        "└── app-debug\n"
    )
    assert graph_views.render_tree(select(project, ["app*"])) == (
        "app [quay.io/example/base:3.19-rc1, quay.io/example/tools:3.19-rc1, "
        "quay.io/other/thing:1]\n"
        "└── app-debug [quay.io/example/tools]\n"
    )


def test_dot(project: Project) -> None:
    assert (
        graph_views.render_dot(project.images)
        == """\
digraph containerpkg {
  rankdir = BT;
  node [shape = box];
  "app";
  "app-debug";
  "base";
  "tools";
  "app" -> "base" [label = "FROM, ONBUILD COPY"];
  "app" -> "tools" [label = "FROM"];
  "app-debug" -> "app" [label = "FROM"];
  "app-debug" -> "tools" [label = "RUN", style = dashed];
}
"""
    )


def test_mermaid(project: Project) -> None:
    assert (
        graph_views.render_mermaid(project.images)
        == """\
flowchart BT
  i0["app"]
  i1["app-debug"]
  i2["base"]
  i3["tools"]
  i0 -->|FROM, ONBUILD COPY| i2
  i0 -->|FROM| i3
  i1 -->|FROM| i0
  i1 -.->|RUN| i3
"""
    )


def test_graph_data(project: Project) -> None:
    data = graph_views.graph_data(project.images, project.root)
    assert data["images"] == [
        {"name": "base", "reference": "quay.io/example/base:3.19-rc1", "level": 0,
         "parents": [], "external": ["debian:12"]},
        {"name": "tools", "reference": "quay.io/example/tools:3.19-rc1", "level": 0,
         "parents": [], "external": []},
        {"name": "app", "reference": "quay.io/example/app:7.1-git-2", "level": 1,
         "parents": ["base", "tools"], "external": ["quay.io/other/thing:1"]},
        {"name": "app-debug", "reference": "quay.io/example/app-debug:3.19-rc1", "level": 2,
         "parents": ["app", "tools"], "external": []},
    ]  # fmt: skip
    assert [tuple(edge.values()) for edge in data["edges"]] == [
        ("app", "tools", "FROM", "quay.io/example/tools:3.19-rc1", "images/app/Dockerfile", 2),
        ("app", "base", "FROM", "quay.io/example/base:3.19-rc1", "images/app/Dockerfile", 3),
        ("app", "base", "ONBUILD COPY", "quay.io/example/base", "images/tools/Dockerfile", 2),
        ("app-debug", "app", "FROM", "quay.io/example/app", "images/app-debug/Containerfile", 1),
        ("app-debug", "tools", "RUN", "quay.io/example/tools", "images/app-debug/Containerfile", 2),
    ]
