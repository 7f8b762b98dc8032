"""Reads every file of a project and keeps what could be read beside what is wrong with the rest."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from containerpkg.definitions.dockerfile import Dockerfile, parse_dockerfile
from containerpkg.definitions.edges import Uses, plan_uses
from containerpkg.definitions.image import ImageFile
from containerpkg.definitions.project import ProjectFile
from containerpkg.definitions.source import Source, SourceTree
from containerpkg.definitions.text import load_text
from containerpkg.definitions.yaml import Located, load_located
from containerpkg.errors import DefinitionError, Problem

PROJECT_FILE = "containerpkg.yaml"
IMAGE_FILE = "image.yaml"
IMAGES = "images"
DOCKERFILES = ("Dockerfile", "Containerfile")

_IMAGE_NAME = re.compile(r"[a-z0-9]+([._-][a-z0-9]+)*")
_MAX_NAME = 63


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a project's files say, each by the name of its image; a file that is wrong is absent."""

    root: Path
    project: Located[ProjectFile] | None
    folders: Mapping[str, Path]
    """Every folder of ``images/`` whose name can be an image's."""

    files: Mapping[str, Located[ImageFile]]
    dockerfiles: Mapping[str, Dockerfile]
    problems: tuple[Problem, ...]
    """What is wrong with single files, with absolute paths."""

    trees: Mapping[str, SourceTree]
    """The sources that are on this machine."""

    @property
    def sources(self) -> dict[str, Source]:
        """What the images say of their sources."""
        return {name: file.model.source for name, file in self.files.items() if file.model.source}

    @property
    def uses(self) -> dict[str, Uses]:
        """What each image is built from; nothing while the project's registry is unknown."""
        if self.project is None:
            return {}
        registry = self.project.model.registry
        return plan_uses(self.dockerfiles, {f"{registry}/{name}": name for name in self.folders})

    def relative(self, problem: Problem) -> Problem:
        """``problem`` with its path relative to the project's folder."""
        if not problem.path.is_relative_to(self.root):
            return problem
        return replace(problem, path=problem.path.relative_to(self.root))


def read_project(root: Path, trees: Mapping[str, SourceTree] | None = None) -> Reading:
    """Read ``containerpkg.yaml`` and all of ``images/`` below ``root``; raises nothing.

    ``trees`` are the sources that have been fetched, whose Dockerfiles are read where images are
    built from those.
    """
    problems: list[Problem] = []
    project: Located[ProjectFile] | None = None
    try:
        project = load_located(root / PROJECT_FILE, ProjectFile)
    except DefinitionError as error:
        problems += error.problems
    folders = _image_folders(root, problems)
    files: dict[str, Located[ImageFile]] = {}
    dockerfiles: dict[str, Dockerfile] = {}
    for name, folder in folders.items():
        try:
            files[name] = _load_image_file(folder)
        except DefinitionError as error:
            problems += error.problems
        args = dict(project.model.build.args) if project else {}
        args |= files[name].model.build.args if name in files else {}
        source = files[name].model.source if name in files else None
        try:
            if source and source.dockerfile:
                path = _source_dockerfile(files[name], source.dockerfile, (trees or {}).get(name))
                dockerfiles[name] = parse_dockerfile(load_text(path), path, args)
            else:
                dockerfiles[name] = _load_dockerfile(folder, args)
        except DefinitionError as error:
            problems += error.problems
    return Reading(
        root=root,
        project=project,
        folders=folders,
        files=files,
        dockerfiles=dockerfiles,
        problems=tuple(problems),
        trees=trees or {},
    )


def _image_folders(root: Path, problems: list[Problem]) -> dict[str, Path]:
    images = root / IMAGES
    hint = f"an image is a folder in it with a Dockerfile and an {IMAGE_FILE}"
    try:
        entries = sorted(images.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        problems.append(Problem(path=images, message="there is no folder of images", hint=hint))
        return {}
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        problems.append(Problem(path=images, message=f"cannot be read: {reason}"))
        return {}
    folders = [entry for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
    if not folders:
        problems.append(Problem(path=images, message="has no images", hint=hint))
    names = {folder.name for folder in folders}
    found: dict[str, Path] = {}
    for folder in folders:
        if _IMAGE_NAME.fullmatch(folder.name) and len(folder.name) <= _MAX_NAME:
            found[folder.name] = folder
            continue
        # The name may hold anything, a line break too, and must not break the message.
        shown = folder.name.encode("unicode_escape", "backslashreplace").decode()
        message = "cannot be the name of an image"
        if folder.name.casefold() in names - {folder.name}:
            message = f"is a second image of the name '{folder.name.casefold()}'"
        problems.append(
            Problem(
                path=images / shown,
                message=message,
                hint="use at most 63 lower-case letters and digits, with single . _ or - between",
            )
        )
    return found


def _load_image_file(folder: Path) -> Located[ImageFile]:
    path = folder / IMAGE_FILE
    if path.exists() or path.is_symlink():
        return load_located(path, ImageFile)
    hint = "write one with at least 'summary:' and 'license:'"
    if (folder / "image.yml").exists():
        hint = f"rename image.yml to {IMAGE_FILE}"
    raise DefinitionError([Problem(path=path, message="does not exist", hint=hint)])


def _source_dockerfile(file: Located[ImageFile], dockerfile: str, tree: SourceTree | None) -> Path:
    """Where the Dockerfile is that lives in an image's source."""
    folder = file.path.parent
    keys = ("source", "dockerfile")
    for name in DOCKERFILES:
        if (folder / name).exists():
            message = f"there is also a {name} in the image's folder"
            hint = "remove the one that is not meant"
            raise DefinitionError([file.problem(keys, message, hint=hint)])
    if tree is None:
        problem = file.problem(
            keys,
            "the source, which has the Dockerfile, has not been fetched yet",
            hint=f"fetch it: containerpkg lock {folder.name}",
        )
        raise DefinitionError([problem])
    path = tree.folder / dockerfile
    if not path.resolve().is_relative_to(tree.folder.resolve()):
        raise DefinitionError([file.problem(keys, f"{dockerfile} leads out of the source")])
    if not path.is_file():
        message = f"there is no file {dockerfile} in the source ({tree.ref} of {tree.origin})"
        raise DefinitionError([file.problem(keys, message)])
    return path


def _load_dockerfile(folder: Path, args: Mapping[str, str]) -> Dockerfile:
    present = [folder / name for name in DOCKERFILES if (folder / name).exists()]
    if not present:
        problem = Problem(
            path=folder / DOCKERFILES[0],
            message="does not exist",
            hint="an image's folder needs a Dockerfile or a Containerfile",
        )
        raise DefinitionError([problem])
    if len(present) > 1:
        problem = Problem(
            path=folder,
            message="has both a Dockerfile and a Containerfile",
            hint="remove the one that is not meant",
        )
        raise DefinitionError([problem])
    return parse_dockerfile(load_text(present[0]), present[0], args)
