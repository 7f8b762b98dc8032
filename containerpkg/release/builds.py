"""Which images have to be built, and why: decided from their inputs and the store's records."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from containerpkg.definitions.consistency import CA_SECRET
from containerpkg.definitions.project import Image, Project, Secret
from containerpkg.errors import HostError, UsageError
from containerpkg.files import sha256_file, sha256_text
from containerpkg.sources.checkout import abbreviated
from containerpkg.sources.context import Context, load_image_context
from containerpkg.store.content import ContentStore
from containerpkg.store.records import BuildRecord, Records

# How many of the inputs that changed are told by name.
_TOLD = 2

_KEY_FORM = "1"


@dataclass(frozen=True, kw_only=True)
class BuildStep:
    """What is to be done for one image."""

    image: Image
    context: Context
    action: Literal["build", "keep"]
    """``keep`` means that the store has the image that these inputs give."""

    reason: str
    inputs: Mapping[str, str]
    key: str
    """Digest of the inputs; of a child whose parent is built first it is not final."""

    image_id: str = ""
    """The image, where it is known."""

    forced: bool = False
    """Whether it is built whatever the records say."""


def plan_builds(
    project: Project,
    images: Sequence[Image],
    *,
    store: ContentStore,
    records: Records,
    force: bool = False,
) -> tuple[BuildStep, ...]:
    """The steps for ``images`` (parents first), each with its reason.

    With ``force`` every image is built. Raises :class:`UsageError` for an image whose parent is
    neither among ``images`` nor built.
    """
    steps: dict[str, BuildStep] = {}
    standing = _Standing(project, store, records)
    for image in images:
        parents, rebuilt = _parent_ids(image, steps, standing, records)
        step = plan_image(project, image, parents, store=store, records=records, force=force)
        if rebuilt and step.action == "keep":
            step = replace(step, action="build", reason=f"its parent {rebuilt[0]} is built")
        elif rebuilt and not force:
            step = replace(step, reason=f"{step.reason}; its parent {rebuilt[0]} is built")
        steps[image.name] = step
    return tuple(steps.values())


def plan_image(
    project: Project,
    image: Image,
    parents: Mapping[str, str],
    *,
    store: ContentStore,
    records: Records,
    force: bool = False,
    context: Context | None = None,
) -> BuildStep:
    """The step for one image whose parents (name → image ID) are what they are now."""
    if image.file.source and image.tree is None:
        raise UsageError(
            f"the source of image '{image.name}' has not been fetched as it is defined now",
            hint=f"containerpkg build {image.name}",
        )
    context = context or load_image_context(image)
    inputs = image_inputs(project, image, context, parents)
    key = sha256_text(json.dumps([_KEY_FORM, sorted(inputs.items())]))
    record = records.build(image.name, key)
    step = BuildStep(
        image=image, context=context, action="build", reason="", inputs=inputs, key=key
    )
    if force:
        return replace(step, reason="asked for by --force", forced=True)
    if record is None:
        last = records.last_build(image.name)
        return replace(step, reason=_difference(last, inputs, image) if last else "never built")
    if store.image(record.image_id) is None:
        return replace(step, reason="not in the store", image_id=record.image_id)
    built = f"{record.built:%Y-%m-%d %H:%M} UTC"
    return replace(step, action="keep", reason=f"unchanged since {built}", image_id=record.image_id)


def image_inputs(
    project: Project, image: Image, context: Context, parents: Mapping[str, str]
) -> dict[str, str]:
    """Everything that decides what a build gives, by name; values are digests or identifiers."""
    inputs = {f"file {name}": digest for name, digest in context.inputs.items()}
    inputs |= {f"argument {n}": sha256_text(v) for n, v in build_arguments(project, image).items()}
    inputs |= {f"parent {name}": image_id for name, image_id in parents.items()}
    inputs["dockerfile"] = context.dockerfile
    if platform := os.environ.get("DOCKER_DEFAULT_PLATFORM"):
        inputs["platform"] = platform
    inputs["network"] = image.file.build.network or project.file.build.network
    inputs |= _source_inputs(image, context)
    if image.file.prepare:
        # .dockerignore may well keep it out of the context.
        digest = context.inputs.get(image.file.prepare) or _executable(image)
        inputs["prepare"] = f"{image.file.prepare} {digest}"
    return inputs


def _source_inputs(image: Image, context: Context) -> dict[str, str]:
    source, tree = image.file.source, image.tree
    if source is None or tree is None:
        return {}
    inputs = {
        "source": tree.revision,
        "source address": tree.origin,
        "source place": source.place or ".",
        "version": image.version,  # of which there is a label
    }
    if names := context.source_names:
        inputs["source files"] = names
    if not tree.local:
        inputs |= {
            f"source patch {number} {name}": sha256_file(image.folder / name)
            for number, name in enumerate(source.patches, 1)
        }
        inputs["source submodules"] = str(source.submodules)
    return inputs


def build_arguments(project: Project, image: Image) -> dict[str, str]:
    """The build arguments of an image: its own, and those of the project that it declares."""
    declared = {argument.name for argument in image.dockerfile.arguments}
    shared = {n: v for n, v in project.file.build.args.items() if n in declared}
    return {**shared, **image.file.build.args}


def build_secrets(project: Project, image: Image) -> dict[str, Secret]:
    """The secrets that an image's build gets, files as absolute paths.

    The CA bundle is among them where a Dockerfile asks for it. Raises :class:`UsageError` for one
    whose file or variable is not there: a build without it would only fail later, or worse not.
    """
    secrets = {name: project.file.build.secrets[name] for name in image.file.build.secrets}
    bundle = project.file.build.ca_bundle
    if bundle and CA_SECRET in image.dockerfile.secrets:
        secrets[CA_SECRET] = Secret(file=bundle)
    found = {}
    for name, secret in secrets.items():
        if secret.env and secret.env not in os.environ:
            raise UsageError(
                f"image '{image.name}' needs the build secret '{name}' from the environment "
                f"variable {secret.env}, which is not set",
                hint=f"export {secret.env}=…",
            )
        if secret.file and not (project.root / secret.file).is_file():
            raise UsageError(
                f"image '{image.name}' needs the build secret '{name}' from the file "
                f"{project.root / secret.file}, which is not there",
                hint="write it, or change build.secrets in containerpkg.yaml",
            )
        found[name] = Secret(file=str(project.root / secret.file)) if secret.file else secret
    return found


class _Standing:
    """Images that a run does not build: what their definitions give now, or gave last."""

    def __init__(self, project: Project, store: ContentStore, records: Records) -> None:
        self._project, self._store, self._records = project, store, records
        self._ids: dict[str, str | None] = {}

    def id(self, name: str) -> str | None:
        """The image ID of the image ``name``, or None if it was never built."""
        if name not in self._ids:
            self._ids[name] = self._find(self._project.image(name))
        return self._ids[name]

    def _find(self, image: Image) -> str | None:
        last = self._records.last_build(image.name)
        if last is None:
            return None
        if image.file.source and image.tree is None:
            return last.image_id
        parents = {name: self.id(name) or "" for name in image.parents}
        step = plan_image(self._project, image, parents, store=self._store, records=self._records)
        # After a change was taken back, the newest build is not the one that is meant.
        return step.image_id or last.image_id


def _parent_ids(
    image: Image, steps: Mapping[str, BuildStep], standing: _Standing, records: Records
) -> tuple[dict[str, str], list[str]]:
    """Image IDs of an image's parents, and the names of those that are built in this run."""
    ids, rebuilt = {}, []
    for name in image.parents:
        if step := steps.get(name):
            ids[name] = step.image_id
            if step.action == "build":
                rebuilt.append(name)
                # The new one is not known yet; with the last one the reason is what else changed.
                last = records.last_build(name)
                ids[name] = last.image_id if last else ""
        elif image_id := standing.id(name):
            ids[name] = image_id
        else:
            raise UsageError(
                f"image '{image.name}' is built from '{name}', which has not been built",
                hint=f"containerpkg build {image.name} --with-parents",
            )
    return ids, rebuilt


def _executable(image: Image) -> str:
    assert image.file.prepare is not None
    path = image.folder / image.file.prepare
    try:
        return sha256_file(path)
    except OSError as error:
        raise HostError(
            f"{path} cannot be read: {error.strerror}",
            hint=f"check its permissions: ls -l {path}",
        ) from error


def _follows_from_source(image: Image, *, local: bool) -> Callable[[str], bool]:
    """Which inputs say nothing more when the source is another; ``local``: the last one was."""
    assert image.tree
    assert image.file.source
    if not (local or image.tree.local):
        return lambda name: name == "source files"
    place = f"file {image.file.source.place}" if image.file.source.place else "source "
    return lambda name: name.startswith(("source ", f"{place}/")) or name == place


def _difference(last: BuildRecord, inputs: Mapping[str, str], image: Image) -> str:
    """What is not as it was at the last build, in words."""
    names = sorted({*last.inputs, *inputs}, key=lambda name: (name != "source", name))
    changed = [name for name in names if last.inputs.get(name) != inputs.get(name)]
    if not changed:
        return "built before in another way"
    if image.tree and "source" in changed:
        noise = _follows_from_source(image, local=bool(last.source and last.source.local))
        changed = [name for name in changed if not noise(name)]
    told = []
    for name in changed[:_TOLD]:
        if name == "source" and image.tree:
            what = image.tree.ref.removeprefix("branch ").removeprefix("tag ")
            told.append(f"source: {what} is now {abbreviated(image.tree.revision)}")
            continue
        how = "is new" if name not in last.inputs else "changed" if name in inputs else "is gone"
        told.append(f"{name.removeprefix('file ')} {how}")
    more = len(changed) - len(told)
    return ", ".join(told) + (f" and {more} more" if more else "")
