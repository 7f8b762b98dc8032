"""A YAML file becomes a model, and every mistake in it a problem with line and key.

Plain scalars follow the core schema of YAML 1.2: ``no`` and ``on`` are text, ``6379:6379`` too.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from containerpkg.definitions.messages import Key, dotted, explain
from containerpkg.definitions.text import load_text
from containerpkg.errors import DefinitionError, Problem

ModelT = TypeVar("ModelT", bound=BaseModel)

_MAX_NODES = 100_000
_MAX_DEPTH = 50
_CORE = "tag:yaml.org,2002:"
_BASE: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


class _Loader(_BASE):  # type: ignore[misc]
    """Composes nodes with the scalars of YAML 1.2 instead of 1.1."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}


for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
):
    _Loader.add_implicit_resolver(_CORE + _tag, re.compile(rf"(?:{_pattern})\Z"), _first)


@dataclass(frozen=True, kw_only=True)
class Located(Generic[ModelT]):
    """A model and the lines its keys stand on."""

    path: Path
    model: ModelT
    lines: dict[tuple[Key, ...], int]

    def problem(
        self,
        keys: tuple[Key, ...],
        message: str,
        *,
        hint: str = "",
        severity: Literal["error", "warning"] = "error",
    ) -> Problem:
        """A problem with the value under ``keys``, at its line or at its nearest parent's."""
        return Problem(
            path=self.path,
            line=_line(self.lines, keys),
            key=dotted(keys),
            message=message,
            hint=hint,
            severity=severity,
        )


def load_model(path: Path, model: type[ModelT]) -> ModelT:
    """Read a YAML file into ``model``; raises :class:`DefinitionError` with all its problems."""
    return load_located(path, model).model


def load_located(path: Path, model: type[ModelT]) -> Located[ModelT]:
    """Like :func:`load_model`, and remember the lines."""
    return parse_located(load_text(path), path, model)


def parse_located(text: str, path: Path, model: type[ModelT]) -> Located[ModelT]:
    """Read YAML text; ``path`` is only named in problems."""
    reader = _Reader(path, model)
    data = reader.read(text)
    problems = list(reader.problems)
    try:
        value = model.model_validate(data, strict=True)
    except ValidationError as error:
        for details in error.errors(include_url=False):
            keys = details["loc"]
            message, hint = explain(details, model, reader.sources)
            problems.append(
                Problem(
                    path=path,
                    line=_line(reader.lines, keys),
                    key=dotted(keys),
                    message=message,
                    hint=hint,
                )
            )
        raise DefinitionError(problems) from error
    if problems:
        raise DefinitionError(problems)
    return Located(path=path, model=value, lines=reader.lines)


def _line(lines: dict[tuple[Key, ...], int], keys: tuple[Key, ...]) -> int:
    for length in range(len(keys), 0, -1):
        line = lines.get(keys[:length])
        if line:
            return line
    return 0


class _Reader:
    """Turns nodes into data, noting each key's line and each scalar's text as written."""

    def __init__(self, path: Path, model: type[BaseModel]) -> None:
        self._path, self._model = path, model
        self._nodes = 0
        self.lines: dict[tuple[Key, ...], int] = {}
        self.sources: dict[tuple[Key, ...], str] = {}
        self.problems: list[Problem] = []

    def read(self, text: str) -> dict[str, object]:
        try:
            root = yaml.compose(text, Loader=_Loader)
        except yaml.YAMLError as error:
            raise DefinitionError([_syntax_problem(error, self._path, text)]) from error
        if root is None:
            fields = self._model.model_fields.items()
            needed = ", ".join(name for name, field in fields if field.is_required())
            hint = f"it needs at least: {needed}" if needed else ""
            raise DefinitionError([Problem(path=self._path, message="is empty", hint=hint)])
        if not isinstance(root, yaml.MappingNode):
            kind = "a list" if isinstance(root, yaml.SequenceNode) else "a single value"
            problem = Problem(
                path=self._path,
                line=root.start_mark.line + 1,
                message=f"must be a mapping of keys to values, not {kind}",
                hint="write one 'key: value' a line",
            )
            raise DefinitionError([problem])
        return self._mapping(root, ())

    def _value(self, node: yaml.Node, keys: tuple[Key, ...]) -> object:
        self._nodes += 1
        if self._nodes > _MAX_NODES or len(keys) > _MAX_DEPTH:
            line = node.start_mark.line + 1
            problem = Problem(
                path=self._path,
                line=line,
                message="is nested too deeply or repeats an alias too often",
            )
            raise DefinitionError([problem])
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, keys)
        if isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self.lines[*keys, index] = item.start_mark.line + 1
            return tuple(self._value(item, (*keys, index)) for index, item in enumerate(node.value))
        assert isinstance(node, yaml.ScalarNode)
        self.sources[keys] = node.value
        return self._scalar(node, keys)

    def _mapping(self, node: yaml.MappingNode, keys: tuple[Key, ...]) -> dict[str, object]:
        data: dict[str, object] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self._complain(line, keys, "has a key that is not text")
                continue
            key = key_node.value
            if key in data:
                first = self.lines[*keys, key]
                self._complain(line, (*keys, key), f"is given twice, first in line {first}")
                continue
            self.lines[*keys, key] = line
            data[key] = self._value(value_node, (*keys, key))
        return data

    def _scalar(self, node: yaml.ScalarNode, keys: tuple[Key, ...]) -> Hashable:
        text: str = node.value
        try:
            match node.tag.removeprefix(_CORE):
                case "str":
                    return text
                case "null":
                    return None
                case "bool":
                    return text.lower() == "true"
                case "int":
                    return int(text, 0) if text[:2] in {"0o", "0x"} else int(text)
                case "float":
                    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        except ValueError:
            self._complain(node.start_mark.line + 1, keys, f"is not what its tag {node.tag} says")
            return text
        self._complain(
            node.start_mark.line + 1, keys, f"has the tag {node.tag}, which has no meaning here"
        )
        return text

    def _complain(self, line: int, keys: tuple[Key, ...], message: str) -> None:
        self.problems.append(Problem(path=self._path, line=line, key=dotted(keys), message=message))


def _syntax_problem(error: yaml.YAMLError, path: Path, text: str) -> Problem:
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        what = error.problem or error.context or "unknown mistake"
        hint = ""
        if "found character '\\t'" in what or "\\t" in what or "cannot start any token" in what:
            hint = "indent with spaces, and quote text that starts with a special character"
        elif "mapping values are not allowed" in what:
            hint = "quote text that has ': ' in it"
        elif "single document" in (error.context or ""):
            what, hint = "there is more than one document", "remove the line '---'"
        return Problem(
            path=path,
            line=mark.line + 1 if mark else 0,
            message=f"is not valid YAML: {what}",
            hint=hint,
        )
    # A reader's error knows the place only as an offset.
    before = text.encode()[: getattr(error, "position", 0)]
    reason = getattr(error, "reason", "unknown mistake")
    return Problem(path=path, line=before.count(b"\n") + 1, message=f"is not valid YAML: {reason}")
