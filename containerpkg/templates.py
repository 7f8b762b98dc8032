"""Finds the jinja2 templates of specs and units, and fills them through one serializer.

A template called NAME of a kind is looked for in the project's own folder of that kind, then among
those that came with containerpkg. The ``serialize`` function that a caller hands over sees every
value on its way into the text (it is jinja's ``finalize``), so no template can forget to escape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Literal

import jinja2

from containerpkg.errors import ContainerpkgError, DefinitionError, HostError, Problem

Kind = Literal["spec-templates", "systemd"]
"""The folder that a template lies in, in a project and in containerpkg's source alike."""

Serialize = Callable[[object], str]
"""Turns one value of a template into text of its format, or raises."""

_PACKAGE = Path(__file__).resolve().parent


def render(
    name: str,
    values: Mapping[str, object],
    *,
    kind: Kind,
    serialize: Serialize,
    project: Path | None = None,
) -> str:
    """The template ``name`` filled with ``values``.

    ``project`` is the root of a project whose own templates come first.

    Raises :class:`DefinitionError` with file and line for a project's template that jinja2 does
    not understand or that uses an unknown name, and whatever ``serialize`` raises.
    """
    environment = _environment(kind, serialize, project)
    try:
        template = environment.get_template(name)
    except jinja2.TemplateNotFound as error:
        raise HostError(
            f"the template {kind}/{name} is missing",
            hint="reinstall containerpkg, or put the file into the project",
        ) from error
    except jinja2.TemplateSyntaxError as error:
        raise _wrong(Path(error.filename or name), error.lineno, error) from error
    try:
        return template.render(values)
    except ContainerpkgError:
        raise
    except (jinja2.TemplateError, TypeError) as error:
        where = Path(template.filename or name)
        raise _wrong(where, _line(error, where), error) from error


@cache
def _environment(kind: Kind, serialize: Serialize, project: Path | None) -> jinja2.Environment:
    folders = [project / kind] if project else []
    # In a wheel the folders lie in data/, in a source checkout beside the package.
    folders += [_PACKAGE / "data" / kind, _PACKAGE.parent / kind]
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(folders),
        undefined=jinja2.StrictUndefined,
        finalize=serialize,
        autoescape=False,  # noqa: S701 - HTML's rules are wrong here; ``serialize`` has the right ones
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _wrong(path: Path, line: int, error: Exception) -> DefinitionError:
    return DefinitionError(
        [Problem(path=path, line=line, message=f"the template cannot be filled: {error}")]
    )


def _line(error: BaseException, path: Path) -> int:
    """The line of the template in an error's traceback, 0 if it is not there."""
    line = 0
    trace = error.__traceback__
    while trace:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
