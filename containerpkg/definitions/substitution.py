"""Variable substitution in Dockerfile words, by the rules of BuildKit's shell lexer.

Quotes and the escape character are removed as a shell would. ``$A``, ``${A}``,
``${A-w}``, ``${A+w}``, ``${A?m}`` (with ``:`` an empty value counts as unset),
``${A#p}``, ``${A##p}``, ``${A%p}``, ``${A%%p}``, ``${A/p/r}`` and ``${A//p/r}`` are known; words
and patterns may hold further variables. See "Environment replacement" in the Dockerfile reference.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_SPECIAL = frozenset("@*#?-$!0")
_END = ""


class SubstitutionError(ValueError):
    """A word that the builder would refuse; the text is one sentence."""


class RequiredVariableError(SubstitutionError):
    """``${A?message}`` and A has no value."""


@dataclass(frozen=True, kw_only=True)
class Substituted:
    """A word after substitution, and the names of the variables it asked for, sorted."""

    text: str
    used: tuple[str, ...]
    unset: tuple[str, ...]


def substitute(word: str, values: Mapping[str, str], *, escape: str = "\\") -> Substituted:
    """Replace the variables in ``word`` and remove its quotes.

    Raises :class:`SubstitutionError` for a word that is not well formed.
    """
    lexer = _Lexer(word, values, escape)
    text = lexer.until(_END, raw=False)
    return Substituted(text=text, used=tuple(sorted(lexer.used)), unset=tuple(sorted(lexer.unset)))


class _Lexer:
    def __init__(self, word: str, values: Mapping[str, str], escape: str) -> None:
        self._word, self._values, self._escape = word, values, escape
        self._position = 0
        self._raw = False
        self.used: set[str] = set()
        self.unset: set[str] = set()

    def _peek(self) -> str:
        return self._word[self._position : self._position + 1]

    def _next(self) -> str:
        character = self._peek()
        self._position += len(character)
        return character

    def until(self, stop: str, *, raw: bool) -> str:
        """Read up to ``stop``, which is swallowed; ``raw`` keeps escape characters (patterns)."""
        outer, self._raw = self._raw, raw
        text = ""
        while character := self._peek():
            if character == stop:
                break
            if character == "'":
                text += self._single_quoted()
            elif character == '"':
                text += self._double_quoted()
            elif character == "$":
                text += self._variable()
            elif self._next() == self._escape:
                text += (character if raw else "") + self._next()
            else:
                text += character
        if self._next() != stop:
            raise SubstitutionError(f"'{self._word}' lacks a '{stop}'")
        self._raw = outer
        return text

    def _single_quoted(self) -> str:
        start = self._position + 1
        end = self._word.find("'", start)
        if end < 0:
            raise SubstitutionError(f"'{self._word}' lacks a closing single quote")
        self._position = end + 1
        return self._word[start:end]

    def _double_quoted(self) -> str:
        self._next()
        text = ""
        while (character := self._peek()) != '"':
            if not character:
                raise SubstitutionError(f"'{self._word}' lacks a closing double quote")
            if character == "$":
                text += self._variable()
                continue
            self._next()
            if character == self._escape:
                text += character if self._raw else ""
                following = self._peek()
                if not following:
                    continue
                if following in {'"', "$", self._escape}:
                    character = self._next()
            text += character
        self._next()
        return text

    def _variable(self) -> str:
        self._next()
        if self._peek() != "{":
            name = self._name()
            return (self._value(name) or "") if name else "$"
        self._next()
        if self._peek() in {"{", "}", ":"}:
            raise SubstitutionError(f"'{self._word}' has a bad substitution")
        name = self._name()
        operator = self._next()
        empty_is_unset = operator == ":"
        if empty_is_unset:
            operator = self._next()
        if operator == "}" and not empty_is_unset:
            return self._value(name) or ""
        if operator in {"-", "+", "?"}:
            return self._conditional(name, operator, empty_is_unset=empty_is_unset)
        if operator in {"#", "%"} and not empty_is_unset:
            return self._trimmed(name, operator)
        if operator == "/" and not empty_is_unset:
            return self._replaced(name)
        if not operator:
            raise SubstitutionError(f"'{self._word}' lacks a '}}'")
        modifier = f":{operator}" if empty_is_unset else operator
        raise SubstitutionError(f"'{self._word}' has an unsupported modifier '{modifier}'")

    def _conditional(self, name: str, operator: str, *, empty_is_unset: bool) -> str:
        word = self.until("}", raw=False)
        value = self._value(name)
        absent = value is None or (empty_is_unset and not value)
        match operator:
            case "-":
                return word if absent else value or ""
            case "+":
                return "" if absent else word
        if absent:
            state = "unset" if value is None else "empty"
            raise RequiredVariableError(f"{name}: {word or f'must not be {state}'}")
        return value or ""

    def _trimmed(self, name: str, operator: str) -> str:
        pattern = self.until("}", raw=True)
        value = self._value(name) or ""
        greedy = pattern.startswith(operator)
        pattern = pattern.removeprefix(operator)
        expression = self._expression(pattern, greedy=greedy)
        if operator == "#":
            found = expression.match(value)
            return value[found.end() :] if found else value
        # The shortest end is the last place from which the pattern reaches the end.
        places = range(len(value) + 1)
        for start in places if greedy else reversed(places):
            if expression.fullmatch(value, start):
                return value[:start]
        return value

    def _replaced(self, name: str) -> str:
        every = self._peek() == "/"
        if every:
            self._next()
        pattern = self._expression(self.until("/", raw=True), greedy=True)
        replacement = self.until("}", raw=True)
        return pattern.sub(lambda _: replacement, self._value(name) or "", count=0 if every else 1)

    def _expression(self, pattern: str, *, greedy: bool) -> re.Pattern[str]:
        expression = ""
        characters = iter(pattern)
        for character in characters:
            if character == "*":
                expression += ".*" if greedy else ".*?"
            elif character == "?":
                expression += "."
            elif character == "\\":
                escaped = next(characters, "")
                if not escaped or escaped not in "*?\\}/":
                    raise SubstitutionError(f"'{self._word}' has an invalid escape '\\{escaped}'")
                expression += re.escape(escaped)
            else:
                expression += re.escape(character)
        return re.compile(expression)

    def _name(self) -> str:
        first = self._peek()
        if first and first in _SPECIAL and not first.isdigit():
            return self._next()
        start = self._position
        digits_only = first.isdigit()
        while (character := self._peek()) and (
            character.isdigit()
            if digits_only
            else character.isalpha() or character.isdigit() or character == "_"
        ):
            self._next()
        return self._word[start : self._position]

    def _value(self, name: str) -> str | None:
        value = self._values.get(name)
        (self.unset if value is None else self.used).add(name)
        return value
