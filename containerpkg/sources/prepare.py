"""The prepare step: an image's own executable that generates files for its build context."""

from __future__ import annotations

import shlex
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from containerpkg import process
from containerpkg.errors import BuildError, ToolError


def prepare(
    *,
    image: str,
    executable: Path,
    target: Path,
    source: Path | None = None,
    on_line: Callable[[str], None],
    anew: bool = False,
    run: process.Run = process.run,
) -> Path:
    """Run ``executable`` in its folder with an empty output folder; give that folder.

    ``target`` is where the output stays until it is used: a target that is there is complete and
    is not made again, since the output is written beside it and renamed. With ``anew`` it is.
    ``source`` is where the image's source is, to be read.

    Raises :class:`BuildError` if the executable fails; what it wrote is removed then.
    """
    if anew:
        shutil.rmtree(target, ignore_errors=True)
    if target.is_dir():
        on_line(f"prepare: the files of the last attempt are still there: {target}")
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    output = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        run(
            [str(executable), str(output)],
            cwd=executable.parent,
            env={
                "CONTAINERPKG_IMAGE": image,
                **({"CONTAINERPKG_SOURCE": str(source)} if source else {}),
            },
            on_line=on_line,
        )
        output.rename(target)
    except (process.CommandFailed, ToolError) as error:
        raise BuildError(
            f"image '{image}': its prepare step {executable} failed: {error.message}",
            hint=f"run it by hand: mkdir /tmp/{image}; {shlex.quote(str(executable))} /tmp/{image}",
        ) from error
    finally:
        shutil.rmtree(output, ignore_errors=True)
    return target
