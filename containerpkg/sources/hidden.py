"""What the builder reads of a context and COPY does not see: its own files, if they are ignored.

``docker build`` sends them whatever ``.dockerignore`` says, and keeps them from COPY and ADD if it
names them.  https://docs.docker.com/build/concepts/context/#dockerignore-files
"""

from __future__ import annotations

from pathlib import PurePath

from containerpkg.errors import HostError
from containerpkg.sources.context import Context

_IGNORE = ".dockerignore"


def hidden_names(context: Context) -> tuple[str, ...]:
    """Those of ``.dockerignore`` and the Dockerfile that the context's own patterns name.

    Raises :class:`HostError` for patterns that cannot be read.
    """
    paths = {entry.name: entry.path for entry in context.entries}
    dockerfile = paths.get(context.dockerfile)
    beside = dockerfile and dockerfile.with_name(f"{dockerfile.name}{_IGNORE}")
    path = beside if beside and beside.exists() else paths.get(_IGNORE)
    if path is None:
        return ()
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise HostError(f"{path} cannot be read: {error}") from error
    from docker.utils.build import Pattern

    patterns = [Pattern(line.strip()) for line in lines if line.strip() and line[0] != "#"]

    def ignored(name: str) -> bool:
        above = [parent.as_posix() for parent in PurePath(name).parents if parent.name]
        fitting = [
            not pattern.exclusion
            for pattern in patterns
            if pattern.dirs and any(pattern.match(part) for part in (name, *above))
        ]
        return fitting[-1:] == [True]  # the last one decides

    return tuple(name for name in (_IGNORE, context.dockerfile) if name in paths and ignored(name))
