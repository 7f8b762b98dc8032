"""From pydantic models to tables of keys: name, kind of value, default, meaning."""

from __future__ import annotations

import ast
import inspect
import re
import sys
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from containerpkg.definitions import image, model, project, service, source
from containerpkg.definitions.model import PATTERN_SENTENCES

DESCRIPTION = {
    "containerpkg.yaml": "Settings of a containerpkg project, which all its images share",
    "image.yaml": "Definition of an image: what its Dockerfile cannot say",
}
"""What each definition file is."""


@dataclass(frozen=True, kw_only=True)
class Key:
    """One key of a mapping."""

    name: str
    kind: str
    default: str
    """Empty where the absence of the key is itself the default."""

    required: bool
    meaning: str


@dataclass(frozen=True, kw_only=True)
class Section:
    """The keys that a mapping may have, and where in the file such a mapping stands."""

    place: str
    """Dotted path with NAME for a name of one's own and [] for an item; empty for the file."""

    meaning: str
    keys: tuple[Key, ...]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of value that several keys share."""

    name: str
    meaning: str


@dataclass(frozen=True, kw_only=True)
class Page:
    """Everything that is known of one definition file."""

    file: str
    sections: tuple[Section, ...]
    kinds: tuple[Kind, ...]


def load_page(file: str, root: type[BaseModel]) -> Page:
    """The tables of ``root`` and of every model below it, in the order of the file."""
    sections = tuple(_sections(root, ""))
    used = {
        kind
        for section in sections
        for key in section.keys
        for kind in re.findall(r"\*([^*]+)\*", key.kind)
    }
    kinds = tuple(kind for kind in _kinds() if kind.name in used)
    return Page(file=file, sections=sections, kinds=kinds)


def _sections(root: type[BaseModel], place: str) -> Iterator[Section]:
    hints = typing.get_type_hints(root, include_extras=True)
    yield Section(
        place=place,
        meaning=" ".join((inspect.getdoc(root) or "").split()),
        keys=tuple(_key(name, field, hints[name]) for name, field in root.model_fields.items()),
    )
    for name in root.model_fields:
        for below, found in _models(hints[name], f"{place}.{name}".lstrip(".")):
            yield from _sections(found, below)


def _models(hint: Any, place: str) -> Iterator[tuple[str, type[BaseModel]]]:
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        yield place, hint
    elif get_origin(hint) is dict:
        yield from _models(get_args(hint)[1], f"{place}.NAME")
    elif get_origin(hint) is tuple:
        yield from _models(get_args(hint)[0], f"{place}[]")
    elif get_origin(hint) in {Union, types.UnionType, Annotated}:
        for option in get_args(hint):
            yield from _models(option, place)


def _key(name: str, field: FieldInfo, hint: Any) -> Key:
    return Key(
        name=name,
        kind=_kind(hint),
        default="" if field.is_required() else _default(field.default),
        required=field.is_required(),
        meaning=" ".join((field.description or "").split()),
    )


def _default(value: object) -> str:
    match value:
        case None | () | {} | BaseModel():
            return ""
        case bool():
            return str(value).lower()
        case tuple():
            return f"[{', '.join(map(str, value))}]"
        case str() if re.fullmatch(r"[0-9.]+", value) or value == "no":
            return f'"{value}"'
    return str(value)


def _kind(hint: Any) -> str:
    """What may stand there; kinds that have a name of their own are between asterisks."""
    for name, alias in _aliases().items():
        if hint is alias and get_origin(hint) is Annotated:
            return f"*{_words(name)}*"
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in {Union, types.UnionType}:
        return " or ".join(_kind(option) for option in arguments if option is not type(None))
    if origin is Literal:
        return _one_of([str(value) for value in arguments])
    if origin is dict:
        return f"mapping of {_kind(arguments[0])} to {_kind(arguments[1])}"
    if origin is tuple:
        return f"list of {_kind(arguments[0])}"
    if origin is Annotated:
        return _constrained(arguments[0], arguments[1:])
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return "mapping"
    return {bool: "true or false", int: "whole number", str: "text"}[hint]


def _constrained(base: Any, metadata: tuple[Any, ...]) -> str:
    bounds: dict[str, Any] = {}
    for item in metadata:
        for detail in item.metadata if isinstance(item, FieldInfo) else (item,):
            if isinstance(detail, annotated_types.Ge):
                bounds["ge"] = detail.ge
            elif isinstance(detail, annotated_types.Le):
                bounds["le"] = detail.le
            elif pattern := getattr(detail, "pattern", None):
                return f"text that {PATTERN_SENTENCES[pattern]}"
    if "le" in bounds:
        return f"{_kind(base)}, {bounds['ge']} to {bounds['le']}"
    return f"{_kind(base)}, {bounds['ge']} or more"


def _one_of(values: list[str]) -> str:
    return f"{', '.join(values[:-1])} or {values[-1]}"


def _words(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()


_MODULES = (model, project, image, service, source)


def _aliases() -> dict[str, Any]:
    """The annotated types of the definitions by the name they have there."""
    return {
        name: value
        for module in _MODULES
        for name, value in vars(module).items()
        if get_origin(value) is Annotated
    } | {"TargetName": None}


def _kinds() -> tuple[Kind, ...]:
    """The kinds of values, each with its docstring and what a value of it must be."""
    found: dict[str, Kind] = {}
    for module in _MODULES:
        body = ast.parse(inspect.getsource(sys.modules[module.__name__])).body
        for statement, after in zip(body, [*body[1:], None], strict=True):
            if not isinstance(statement, ast.Assign) or not isinstance(
                statement.targets[0], ast.Name
            ):
                continue
            name = statement.targets[0].id
            alias = vars(module).get(name)
            if get_origin(alias) is not Annotated:
                continue
            said = ""
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                said = str(after.value.value)
            found[name] = Kind(name=_words(name), meaning=_sentences(said, alias))
    return tuple(sorted(found.values(), key=lambda kind: kind.name))


def _sentences(said: str, alias: Any) -> str:
    must = [
        PATTERN_SENTENCES[pattern]
        for item in get_args(alias)[1:]
        for detail in (item.metadata if isinstance(item, FieldInfo) else ())
        if (pattern := getattr(detail, "pattern", None)) in PATTERN_SENTENCES
    ]
    said = " ".join(said.split())
    if said and not said.endswith("."):
        said += "."
    parts = [said, *(f"It {sentence}." for sentence in must)]
    return " ".join(part for part in parts if part)
