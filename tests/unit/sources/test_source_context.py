"""How an image's source, its own files and the ignore files make one context."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from containerpkg.definitions.load import load_project
from containerpkg.definitions.project import Image
from containerpkg.definitions.source import SourceTree
from containerpkg.errors import DefinitionError
from containerpkg.sources.context import Context, load_image_context

Make = Callable[[Mapping[str, str | None]], Path]

IMAGE = "summary: x\nlicense: MIT\nsource: {git: 'https://h/a.git', %s}\n"
COMMIT = "3f786850e387550fdab836ed7e6dc881de23001b"
OWN = {
    "images/shop/container-assets/a": "mine",
    "images/shop/patches/1": "",
    "containerpkg.yaml": "registry: quay.io/example\nvendor: x\nversion: 3.19.0~rc1\n",
}
SOURCE = {
    "Dockerfile": "FROM scratch\nRUN x \\",
    "container-assets/a": "theirs",
    "container-assets/b": "b",
    "image.yaml": "theirs",
    "lib/x": "x",
    "spec/y": "y",
}


def tree(folder: Path, files: Mapping[str, str] = SOURCE, *, local: bool = False) -> SourceTree:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return SourceTree(
        folder=folder,
        origin="https://h/a.git",
        ref="branch main",
        revision=COMMIT,
        created="2024-05-06T07:08:09Z",
        local=local,
        names=tuple(sorted(files)) if local else (),
    )


def load(root: Path, found: SourceTree) -> Image:
    return load_project(root, {"shop": found}).image("shop")


def held(context: Context) -> dict[str, str]:
    file = io.BytesIO()
    context.write_tar(file)
    file.seek(0)
    with tarfile.open(fileobj=file) as tar:
        return {
            member.name: tar.extractfile(member).read().decode() if member.isreg() else ""  # type: ignore[union-attr]
            for member in tar
        }


LABEL = (
    'LABEL org.opencontainers.image.created="2024-05-06T07:08:09Z" '
    f'org.opencontainers.image.revision="{COMMIT}" '
    'org.opencontainers.image.source="https://h/a.git" '
    'org.opencontainers.image.version="3.19.0~rc1"\n'
)
TOP = {
    "Dockerfile": f"FROM scratch\nRUN x \n{LABEL}",
    "container-assets": "",
    "container-assets/a": "mine",
    "container-assets/b": "b",
    "image.yaml": "theirs",
    "lib": "",
    "lib/x": "x",
    "spec": "",
    "spec/y": "y",
}


def without(*names: str, **more: str) -> dict[str, str]:
    changed = {**TOP, **{name.replace("_", "."): text for name, text in more.items()}}
    return {name: text for name, text in changed.items() if not name.startswith(names or ("?",))}


@pytest.mark.parametrize(
    ("own", "theirs", "expected"),
    [
        ({}, {}, TOP),
        # The source's own ignore file is no business of what the image's folder adds.
        ({}, {".dockerignore": "*\n!lib\n"}, {
            ".dockerignore": "*\n!lib\n", "Dockerfile": TOP["Dockerfile"], "lib": "", "lib/x": "x",
            "container-assets": "", "container-assets/a": "mine",
        }),
        ({"images/shop/.dockerignore": "spec\ncontainer-assets\n"}, {".dockerignore": "lib\n"},
         {".dockerignore": "spec\ncontainer-assets\n", **without("spec", "container-assets")}),
        ({"images/shop/lib": "a file"}, {}, {**without("lib/"), "lib": "a file"}),
    ],
)  # fmt: skip
def test_the_source_is_the_top(
    make_project: Make,
    tmp_path: Path,
    own: dict[str, str],
    theirs: dict[str, str],
    expected: dict[str, str],
) -> None:
    text = IMAGE % "dockerfile: Dockerfile, patches: [patches/1]"
    root = make_project({**OWN, "images/shop/image.yaml": text, **own})
    image = load(root, tree(tmp_path / "tree", {**SOURCE, **theirs}))
    context = load_image_context(image)
    assert held(context) == expected
    assert sorted(context.inputs) == sorted(
        name for name in held(context) if (image.folder / name).exists() and name != "image.yaml"
    )


def test_the_source_is_a_folder(make_project: Make, tmp_path: Path) -> None:
    root = make_project(
        {
            **OWN,
            "images/shop/image.yaml": IMAGE % "branch: main, into: a/src",
            "images/shop/Dockerfile": "FROM scratch\n",
            "images/shop/.dockerignore": "a/src/spec\na/src/container-assets\n",
        }
    )
    image = load(root, tree(tmp_path / "tree", {**SOURCE, ".dockerignore": "*\n"}))
    assert held(load_image_context(image)) == {
        ".dockerignore": "a/src/spec\na/src/container-assets\n",
        "Dockerfile": f"FROM scratch\n{LABEL}",
        "a": "",
        "a/src": "",
        "a/src/.dockerignore": "*\n",
        "a/src/Dockerfile": SOURCE["Dockerfile"],
        "a/src/image.yaml": "theirs",
        "a/src/lib": "",
        "a/src/lib/x": "x",
        "container-assets": "",
        "container-assets/a": "mine",
        "patches": "",
        "patches/1": "",
    }


def test_changes_are_told_by_revision_or_by_file(make_project: Make, tmp_path: Path) -> None:
    root = make_project({"images/shop/image.yaml": IMAGE % "dockerfile: Dockerfile"})
    fetched = load(root, tree(tmp_path / "tree"))
    before = load_image_context(fetched)
    (tmp_path / "tree/lib/x").write_text("changed")
    same = load_image_context(fetched)
    assert (before.inputs, before.source_names) == (same.inputs, same.source_names)
    (tmp_path / "tree/new").write_text("")
    assert load_image_context(fetched).source_names != before.source_names

    assert fetched.tree
    mine = replace(fetched, tree=replace(fetched.tree, local=True, names=("Dockerfile", "lib/x")))
    before = load_image_context(mine)
    assert sorted(before.inputs) == ["Dockerfile", "lib/x"]
    (tmp_path / "tree/lib/x").write_text("again")
    after = load_image_context(mine)
    assert {n for n in after.inputs if after.inputs[n] != before.inputs[n]} == {"lib/x"}


@pytest.mark.parametrize(
    ("files", "link", "expected"),
    [
        ({}, None, "the source, which has the Dockerfile, has not been fetched yet"),
        ({}, "/etc/passwd", "Dockerfile leads out of the source"),
        ({"x": ""}, None,
         "there is no file Dockerfile in the source (branch main of https://h/a.git)"),
        ({"Dockerfile": "FROM"}, None, None),
    ],
)  # fmt: skip
def test_a_dockerfile_that_cannot_be_read(
    make_project: Make,
    tmp_path: Path,
    files: dict[str, str],
    link: str | None,
    expected: str | None,
) -> None:
    root = make_project({"images/shop/image.yaml": IMAGE % "dockerfile: Dockerfile"})
    trees = {"shop": tree(tmp_path / "tree", files)} if files or link else {}
    if link:
        (tmp_path / "tree").mkdir()
        (tmp_path / "tree/Dockerfile").symlink_to(link)
    with pytest.raises(DefinitionError) as caught:
        load_project(root, trees)
    place = "images/shop/image.yaml:3: source.dockerfile: "
    if expected:
        assert caught.value.message == place + expected
    else:
        assert caught.value.problems[0].path == tmp_path / "tree/Dockerfile"


def test_a_dockerfile_that_is_a_link(make_project: Make, tmp_path: Path) -> None:
    root = make_project({"images/shop/image.yaml": IMAGE % "dockerfile: Dockerfile"})
    found = tree(tmp_path / "tree", {"docker/main": "FROM scratch\n"})
    (tmp_path / "tree/Dockerfile").symlink_to("docker/main")
    assert held(load_image_context(load(root, found))) == {
        "Dockerfile": f"FROM scratch\n{LABEL.replace('3.19.0~rc1', '1.0')}",
        "docker": "",
        "docker/main": "FROM scratch\n",
    }


def test_an_ignore_file_that_leads_out_is_not_read(make_project: Make, tmp_path: Path) -> None:
    root = make_project({"images/shop/image.yaml": IMAGE % "dockerfile: Dockerfile"})
    (tmp_path / "outside").write_text("lib\n")
    found = tree(tmp_path / "tree")
    (tmp_path / "tree/.dockerignore").symlink_to("../outside")
    assert "lib/x" in held(load_image_context(load(root, found)))
