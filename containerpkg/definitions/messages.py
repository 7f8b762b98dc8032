"""What a validation error means, as a plain sentence about the key it is reported for."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin

from pydantic import BaseModel

from containerpkg.definitions.model import PATTERN_SENTENCES
from containerpkg.definitions.text import suggestion

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Key = str | int


def dotted(keys: tuple[Key, ...]) -> str:
    """``services.redis.ports[0]`` for the keys of that path."""
    path = ""
    for key in keys:
        if isinstance(key, int):
            path += f"[{key}]"
        elif key != "[key]":
            path += f".{key}" if path else key
    return path


def explain(
    details: ErrorDetails, model: type[BaseModel], sources: Mapping[tuple[Key, ...], str]
) -> tuple[str, str]:
    """The message and the hint for one error that pydantic found in ``model``'s data.

    ``sources`` has the text of each scalar as it is written in the file.
    """
    keys = details["loc"]
    given = details["input"]
    context = details.get("ctx", {})
    subject = "has a name that " if keys and keys[-1] == "[key]" else ""
    match details["type"]:
        case "missing":
            return "is missing", f"add '{keys[-1]}: …'"
        case "extra_forbidden":
            known = _known_keys(model, keys[:-1])
            return "is not a known key", suggestion(str(keys[-1]), known, all_known="known here")
        case "string_type":
            return _not_text(keys, given, sources.get(keys, ""))
        case "string_pattern_mismatch":
            sentence = PATTERN_SENTENCES.get(context["pattern"])
            if sentence is None:
                sentence = f"must match the pattern {context['pattern']}"
            return f"{subject}{sentence}, not '{_shortened(given)}'", ""
        case "string_too_long":
            return f"{subject}must have at most {context['max_length']} characters", ""
        case "literal_error":
            expected = str(context["expected"])
            known = tuple(word.strip("'") for word in expected.replace(" or ", ", ").split(", "))
            hint = suggestion(str(given), known, all_known="")
            return f"must be {expected}, not {_shown(given)}", hint if "mean" in hint else ""
        case "greater_than_equal":
            return f"must be at least {context['ge']}, not {given}", ""
        case "less_than_equal":
            return f"must be at most {context['le']}, not {given}", ""
        case "int_type" | "int_from_float" | "int_parsing":
            return f"must be a whole number, not {_shown(given)}", ""
        case "bool_type" | "bool_parsing":
            return f"must be true or false, not {_shown(given)}", ""
        case "tuple_type":
            hint = "write each item on a line of its own: '- …'" if given is not None else ""
            return f"must be a list, not {_shown(given)}", hint
        case "dict_type" | "model_type" | "model_attributes_type":
            return f"must be a mapping of keys to values, not {_shown(given)}", ""
        case "value_error":
            return f"{subject}{context['error']}", ""
    return f"{subject}{details['msg'].replace('Input should', 'must', 1)}", ""


def _not_text(keys: tuple[Key, ...], given: object, source: str) -> tuple[str, str]:
    if isinstance(given, bool | int | float):
        name = f"{keys[-1]}: " if isinstance(keys[-1], str) else "- "
        return f"must be text, not {_shown(given, source)}", f'put it in quotes: {name}"{source}"'
    return f"must be text, not {_shown(given)}", ""


def _shown(given: object, source: str = "") -> str:
    match given:
        case None:
            return "empty"
        case bool():
            return source or str(given).lower()
        case int() | float():
            return f"the number {source or given}"
        case str():
            return f"'{_shortened(given)}'"
        case dict():
            return "a mapping"
    return "a list"


def _shortened(given: object) -> str:
    text = " ".join(str(given).split())
    return text if len(text) <= 60 else f"{text[:59]}…"


def _known_keys(model: type[BaseModel], keys: tuple[Key, ...]) -> tuple[str, ...]:
    annotation: Any = model
    for key in keys:
        annotation = _inner(annotation, key)
    found = _model_in(annotation)
    return tuple(found.model_fields) if found else ()


def _inner(annotation: Any, key: Key) -> Any:
    model = _model_in(annotation)
    if model is not None:
        field = model.model_fields.get(str(key))
        return field.annotation if field else None
    for option in _options(annotation):
        if get_origin(option) is dict:
            return get_args(option)[1]
        if get_origin(option) is tuple:
            return get_args(option)[0]
    return None


def _model_in(annotation: Any) -> type[BaseModel] | None:
    for option in _options(annotation):
        if isinstance(option, type) and issubclass(option, BaseModel):
            return option
    return None


def _options(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) in {Union, types.UnionType}:
        return get_args(annotation)
    return (annotation,)
