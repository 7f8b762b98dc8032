"""What a Dockerfile is built from: its stages, the images it names, its arguments and secrets.

Names are resolved as BuildKit does: global ARGs reach FROM alone, a FROM names an earlier stage
in lower case, ``COPY --from=`` takes a stage by name or number, ``RUN --mount=from=`` by name, and
neither of the two expands variables. Every stage counts, also one that the last does not need,
because the classic builder builds all of them.
"""

from __future__ import annotations

import contextlib
import csv
import platform as host
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from containerpkg.definitions.dockerfile_model import (
    Argument,
    Dockerfile,
    ImageUse,
    Stage,
    Volume,
)
from containerpkg.definitions.dockerfile_syntax import Instruction, Syntax, parse_syntax
from containerpkg.definitions.reference import InvalidReference, Reference
from containerpkg.definitions.substitution import (
    RequiredVariableError,
    SubstitutionError,
    substitute,
)
from containerpkg.errors import DefinitionError, Problem

__all__ = [
    "PLATFORM_ARGUMENTS", "SCRATCH", "Argument", "Dockerfile", "ImageUse", "Stage", "host_platform",
    "parse_dockerfile",
]  # fmt: skip

SCRATCH = "scratch"
PLATFORM_ARGUMENTS = (
    "BUILDPLATFORM", "BUILDOS", "BUILDOSVERSION", "BUILDARCH", "BUILDVARIANT",
    "TARGETPLATFORM", "TARGETOS", "TARGETOSVERSION", "TARGETARCH", "TARGETVARIANT", "TARGETSTAGE",
)  # fmt: skip

_STAGE_NAME = re.compile(r"[a-z][a-z0-9_.-]*")
_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")
_PLATFORM = re.compile(r"[A-Za-z0-9_.-]+(\([A-Za-z0-9_.-]*\))?(/[A-Za-z0-9_.-]+){0,2}")
_MACHINES = {
    "x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm/v7", "i686": "386",
}  # fmt: skip


def host_platform() -> str:
    """This machine as a platform, for example ``linux/amd64``."""
    machine = host.machine()
    return f"linux/{_MACHINES.get(machine, machine)}"


def parse_dockerfile(
    text: str, path: Path, args: Mapping[str, str], *, platform: str | None = None
) -> Dockerfile:
    """Read a Dockerfile as a build with ``args`` on and for ``platform`` would (by default ours).

    ``path`` is kept and named in problems. Raises :class:`DefinitionError` with every problem.
    """
    syntax = parse_syntax(text, path)
    reading = _Reading(syntax, path, args, platform or host_platform())
    for instruction in syntax.instructions:
        reading.take(instruction)
    if not reading.stages and not reading.problems:
        reading.complain(0, "has no FROM", hint="name the image to build from, or 'FROM scratch'")
    reading.resolve_sources()
    if reading.problems:
        raise DefinitionError(reading.problems)
    return Dockerfile(
        path=path,
        stages=tuple(reading.stages),
        uses=tuple(sorted(reading.uses, key=lambda use: use.line)),
        onbuild_uses=tuple(reading.onbuild_uses),
        arguments=tuple(reading.arguments),
        secrets=tuple(sorted(reading.secrets)),
        volumes=reading.volumes_of_last(),
        buildkit_features=tuple(sorted(reading.features)),
    )


@dataclass(frozen=True, kw_only=True)
class _Source:
    """A ``from=`` whose meaning is known once all stages are."""

    name: str
    instruction: Literal["COPY", "RUN"]
    line: int
    stage: int
    onbuild: bool


class _Reading:
    """Takes one instruction after the other and gathers what is said and what is wrong."""

    def __init__(self, syntax: Syntax, path: Path, args: Mapping[str, str], platform: str) -> None:
        self._path, self._args, self._escape = path, args, syntax.escape
        self._globals = _platform_values(platform)
        self._globals.update((key, args[key]) for key in PLATFORM_ARGUMENTS if key in args)
        self._declared: set[str] = set()
        self._environments: list[dict[str, str]] = []
        self._sources: list[_Source] = []
        self.problems: list[Problem] = []
        self.stages: list[Stage] = []
        self.uses: list[ImageUse] = []
        self.onbuild_uses: list[ImageUse] = []
        self.arguments: list[Argument] = []
        self.secrets: set[str] = set()
        self.volumes: list[Volume] = []
        self.features: set[str] = {"# syntax="} if syntax.frontend else set()

    def complain(self, line: int, message: str, *, hint: str = "") -> None:
        self.problems.append(Problem(path=self._path, line=line, message=message, hint=hint))

    def take(self, instruction: Instruction) -> None:
        self._note_features(instruction)
        match instruction.name:
            case "FROM":
                self._from(instruction)
            case "ARG" if not instruction.onbuild:
                self._arg(instruction)
            case _ if not self.stages:
                if not self.problems:
                    self.complain(instruction.line, f"{instruction.name} stands before any FROM")
            case "ENV" if not instruction.onbuild:
                self._env(instruction)
            case "VOLUME" if not instruction.onbuild:
                self._volume(instruction)
            case "COPY":
                self._copy(instruction)
            case "ADD" if instruction.has("from"):
                self.complain(instruction.line, "ADD has no --from", hint="use COPY --from")
            case "RUN":
                for mount in instruction.values("mount"):
                    self._mount(instruction, mount)

    # FROM

    def _from(self, instruction: Instruction) -> None:
        line, words = instruction.line, instruction.words
        name = ""
        if len(words) == 3 and words[1].upper() == "AS":
            name = words[2].lower()
            if not _STAGE_NAME.fullmatch(name):
                self.complain(
                    line,
                    f"'{words[2]}' cannot be the name of a stage",
                    hint="begin with a letter; letters, digits and - _ . may follow",
                )
        elif len(words) != 1:
            comment = any(word.startswith("#") for word in words)
            self.complain(
                line,
                "FROM takes IMAGE or IMAGE AS NAME",
                hint="put the comment on a line of its own" if comment else "",
            )
        base = self._expand_global(words[0], line, "FROM") if words else None
        platform = ""
        for value in instruction.values("platform"):
            platform = self._expand_global(value, line, "--platform") or ""
            if platform and not _PLATFORM.fullmatch(platform):
                self.complain(line, f"'{platform}' is not a platform", hint="like linux/arm64")
        base_stage = self._earlier_stage(base or "")
        index = len(self.stages)
        self.stages.append(
            Stage(
                index=index,
                name=name,
                base=base or "",
                base_stage=base_stage,
                platform=platform,
                line=line,
            )
        )
        inherited = self._environments[base_stage] if base_stage is not None else {}
        self._environments.append(dict(inherited))
        if base and base != SCRATCH and base_stage is None:
            hint = ""
            if self._earlier_stage(base.lower()) is not None:
                hint = f"for the stage of that name write 'FROM {base.lower()}'"
            self._use(ImageUse(reference=base, instruction="FROM", line=line, stage=index), hint)

    def _earlier_stage(self, name: str) -> int | None:
        for stage in reversed(self.stages):
            if name and stage.name == name:
                return stage.index
        return None

    def _expand_global(self, word: str, line: int, where: str) -> str | None:
        try:
            result = substitute(word, self._globals, escape=self._escape)
        except SubstitutionError as error:
            self.complain(line, f"{where} cannot be substituted: {error}")
            return None
        predefined = set(result.used) & set(PLATFORM_ARGUMENTS) - self._declared
        self.features.update(f"predefined ARG {name}" for name in predefined)
        if not result.text:
            names = ", ".join(result.unset)
            hint = ""
            if names:
                hint = (
                    f"declare 'ARG {result.unset[0]}=…' before the first FROM, or give it in args"
                )
            reason = f": {names} has no value" if names else ""
            self.complain(line, f"{where} {word} is empty{reason}", hint=hint)
            return None
        return result.text

    def _use(self, use: ImageUse, hint: str = "", *, onbuild: bool = False) -> None:
        try:
            Reference.parse(use.reference)
        except InvalidReference as error:
            self.complain(use.line, f"{use.instruction}: {error}", hint=hint)
            return
        (self.onbuild_uses if onbuild else self.uses).append(use)

    # ARG and ENV

    def _arg(self, instruction: Instruction) -> None:
        stage = len(self.stages) - 1 if self.stages else None
        values = self._globals if stage is None else self._environments[stage]
        for word in instruction.words:
            name, equals, default = word.partition("=")
            if not name:
                self.complain(instruction.line, f"ARG '{word}' has no name")
                continue
            self.arguments.append(
                Argument(
                    name=name,
                    default=default if equals else None,
                    line=instruction.line,
                    stage=stage,
                )
            )
            if stage is None and (equals or name in self._args):
                self._declared.add(name)
            if name in self._args:
                values[name] = self._args[name]
            elif equals:
                expanded = self._expand(default, values, instruction.line)
                if expanded is not None:
                    values[name] = expanded
            elif stage is not None and name in self._globals:
                values[name] = self._globals[name]
                if name in PLATFORM_ARGUMENTS and name not in self._declared:
                    self.features.add(f"predefined ARG {name}")

    def _env(self, instruction: Instruction) -> None:
        values = self._environments[-1]
        pairs = zip(instruction.words[::2], instruction.words[1::2], strict=False)
        changes = {key: self._expand(value, values, instruction.line) for key, value in pairs}
        values.update((key, value) for key, value in changes.items() if value is not None)

    def _expand(self, word: str, values: Mapping[str, str], line: int) -> str | None:
        try:
            return substitute(word, values, escape=self._escape).text
        except RequiredVariableError as error:
            # In a stage the base image may set it, which nobody knows before the build.
            if not self.stages:
                self.complain(line, f"cannot be substituted: {error}")
        except SubstitutionError as error:
            self.complain(line, f"cannot be substituted: {error}")
        return None

    # VOLUME

    def _volume(self, instruction: Instruction) -> None:
        stage = len(self.stages) - 1
        for word in instruction.words:
            with contextlib.suppress(SubstitutionError):
                path = substitute(word, self._environments[stage], escape=self._escape)
                # The base image may set what is unset here.
                if path.text.startswith("/") and not path.unset:
                    volume = Volume(path=path.text, line=instruction.line, stage=stage)
                    self.volumes.append(volume)

    def volumes_of_last(self) -> tuple[Volume, ...]:
        """What the last stage has, by itself or from the stages it is built on."""
        lineage: set[int] = set()
        index: int | None = len(self.stages) - 1
        while index is not None and index >= 0:
            lineage.add(index)
            index = self.stages[index].base_stage
        return tuple(volume for volume in self.volumes if volume.stage in lineage)

    # COPY and RUN

    def _copy(self, instruction: Instruction) -> None:
        if instruction.has("from") and not instruction.values("from"):
            self.complain(instruction.line, "COPY --from has no value", hint="COPY --from=NAME")
        for name in instruction.values("from"):
            if not name:
                continue
            if self._is_expanded(name):
                self.complain(
                    instruction.line,
                    f"COPY --from={name}: variables are not replaced here",
                    hint=f"give it a stage of its own, 'FROM {name} AS source'",
                )
                continue
            self._add_source(name, "COPY", instruction)

    def _is_expanded(self, name: str) -> bool:
        try:
            return substitute(name, {}, escape=self._escape).text != name
        except SubstitutionError:
            return True

    def _mount(self, instruction: Instruction, mount: str) -> None:
        fields: dict[str, str] = {}
        for item in next(csv.reader([mount]), []):
            key, _, value = item.partition("=")
            fields[key.lower()] = value
        name = fields.get("from", "")
        if "$" in name[:-1]:
            self.complain(
                instruction.line,
                f"RUN --mount from={name}: variables are not replaced here",
                hint=f"give it a stage of its own, 'FROM {name} AS source'",
            )
        elif _NUMBER.fullmatch(name):
            self.complain(
                instruction.line,
                f"RUN --mount from={name}: a stage goes by its name here, not by its number",
                hint="name the stage with 'FROM … AS NAME'",
            )
        elif name:
            self._add_source(name, "RUN", instruction)
        if self._known(fields.get("type", "bind")).lower() == "secret":
            self._secret(fields)

    def _secret(self, fields: Mapping[str, str]) -> None:
        target = fields.get("target") or fields.get("dst") or fields.get("destination") or ""
        source = fields.get("source") or fields.get("src") or ""
        identifier = self._known(source or fields.get("id", ""))
        identifier = identifier or posixpath.basename(self._known(target))
        if identifier:
            self.secrets.add(identifier)

    def _known(self, word: str) -> str:
        """``word`` with its variables replaced, or as it is if not all of them are known."""
        try:
            result = substitute(word, self._environments[-1], escape=self._escape)
        except SubstitutionError:
            return word
        return result.text or word

    def _add_source(
        self, name: str, kind: Literal["COPY", "RUN"], instruction: Instruction
    ) -> None:
        self._sources.append(
            _Source(
                name=name,
                instruction=kind,
                line=instruction.line,
                stage=len(self.stages) - 1,
                onbuild=instruction.onbuild,
            )
        )

    def resolve_sources(self) -> None:
        """Find out which ``from=`` is a stage and which an image."""
        last = len(self.stages) - 1
        for source in self._sources:
            if not source.onbuild:
                self._resolve(source)
                continue
            for stage in self.stages:
                if stage.base_stage == source.stage:
                    self._resolve(replace(source, stage=stage.index))
            if source.stage == last and source.name.lower() != SCRATCH:
                self._use(_as_use(source), onbuild=True)

    def _resolve(self, source: _Source) -> None:
        where = (
            f"{source.instruction} {'--mount from' if source.instruction == 'RUN' else '--from'}"
        )
        where = f"{where}={source.name}"
        if source.instruction == "COPY" and _NUMBER.fullmatch(source.name):
            index = int(source.name)
            if not 0 <= index < len(self.stages):
                self.complain(
                    source.line, f"{where}: there are only the stages 0 to {len(self.stages) - 1}"
                )
                return
        else:
            names = {stage.name: stage.index for stage in self.stages if stage.name}
            found = names.get(source.name.lower())
            if found is None:
                if source.name != SCRATCH:
                    self._use(_as_use(source))
                return
            index = found
        if index == source.stage:
            self.complain(source.line, f"{where} is the stage it stands in")
        elif index > source.stage:
            self.complain(
                source.line, f"{where}: that stage comes later", hint="move it before this one"
            )

    # What needs BuildKit

    def _note_features(self, instruction: Instruction) -> None:
        if instruction.heredoc:
            self.features.add("heredoc")
        names = {flag.partition("=")[0] for flag in instruction.flags}
        if instruction.name in {"ADD", "COPY"}:
            names -= {"--from", "--chown"}
        elif instruction.name != "RUN":
            return
        self.features.update(f"{instruction.name} {name}" for name in names)


def _as_use(source: _Source) -> ImageUse:
    return ImageUse(
        reference=source.name,
        instruction=source.instruction,
        line=source.line,
        stage=source.stage,
    )


def _platform_values(platform: str) -> dict[str, str]:
    system, _, rest = platform.partition("/")
    architecture, _, variant = rest.partition("/")
    values = {"TARGETSTAGE": "default"}
    for prefix in ("BUILD", "TARGET"):
        values |= {
            f"{prefix}PLATFORM": platform,
            f"{prefix}OS": system,
            f"{prefix}OSVERSION": "",
            f"{prefix}ARCH": architecture,
            f"{prefix}VARIANT": variant,
        }
    return values
