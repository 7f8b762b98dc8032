"""``docker buildx``: BuildKit builds, with the context on standard input.

https://docs.docker.com/reference/cli/docker/buildx/build/
"""

from __future__ import annotations

import csv
import io
import json
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

from containerpkg import process
from containerpkg.definitions.project import Secret
from containerpkg.engines.protocol import BuildRequest
from containerpkg.errors import BuildError, ToolError

# Read by the dynamic linker, by docker and by its plugin.
_CLIENTS = re.compile(r"(LD|DOCKER|BUILDX|BUILDKIT)_|XDG_|SSL_CERT_|GO(DEBUG|TRACEBACK)$")


def available(*, run: process.Run = process.run) -> bool:
    """Whether the docker client has the buildx plugin."""
    try:
        run(["docker", "buildx", "version"])
    except (process.CommandFailed, ToolError):
        return False
    return True


def build(
    request: BuildRequest,
    on_line: Callable[[str], None],
    *,
    host: str,
    run: process.Run = process.run,
) -> str:
    """Build ``request`` in the engine at ``host`` and give the image's ID; raises BuildError."""
    with tempfile.TemporaryDirectory(prefix="containerpkg-") as folder:
        metadata = Path(folder) / "metadata.json"
        try:
            run(
                build_argv(request, metadata),
                env=build_environment(request, host),
                stdin=lambda pipe: request.context.write_tar(pipe, generated=request.generated),
                on_line=on_line,
            )
            # What --iidfile gets is unknown to an engine with containerd's image store.
            return str(json.loads(metadata.read_bytes())["containerimage.digest"])
        except process.CommandFailed as error:
            raise BuildError(f"image '{request.image}' did not build: {_cause(error)}") from error


def build_argv(request: BuildRequest, metadata: Path) -> list[str]:
    """The command line; values of arguments and secrets stay out of it.

    But for arguments that are called as what the client itself reads from its environment.
    """
    argv = [
        "docker",
        "buildx",
        "build",
        "--builder=default",
        "--load",
        "--progress=plain",
        f"--file={request.context.dockerfile}",
        f"--metadata-file={metadata}",
        f"--network={request.network}",
        "--provenance=false",
    ]
    argv += [f"--tag={tag}" for tag in request.tags]
    argv += [
        f"--build-arg={name}={value}" if name in _own(request) else f"--build-arg={name}"
        for name, value in sorted(request.args.items())
    ]
    argv += [
        f"--secret={_fields(name, secret)}" for name, secret in sorted(request.secrets.items())
    ]
    if request.no_cache:
        argv.append("--no-cache")
    return [*argv, "-"]


def build_environment(request: BuildRequest, host: str) -> dict[str, str]:
    """``--build-arg NAME`` without a value takes it from here, out of sight of ``ps``."""
    own = _own(request)
    args = {name: value for name, value in request.args.items() if name not in own}
    return {**args, "BUILDX_NO_DEFAULT_ATTESTATIONS": "1", "DOCKER_HOST": host}


def _own(request: BuildRequest) -> frozenset[str]:
    """Names of arguments that must not reach the client's environment: it would obey them."""
    secrets = {secret.env for secret in request.secrets.values()}
    return frozenset(
        name for name in request.args if name in {"HOME", "PATH"} | secrets or _CLIENTS.match(name)
    )


def _fields(name: str, secret: Secret) -> str:
    """A secret's place as the comma-separated fields that buildx reads."""
    origin = f"src={secret.file}" if secret.file else f"env={secret.env}"
    row = io.StringIO()
    csv.writer(row, lineterminator="").writerow([f"id={name}", origin])
    return row.getvalue()


def _cause(error: process.CommandFailed) -> str:
    lines = [line for line in error.tail.splitlines() if line.startswith(("ERROR:", "error:"))]
    return lines[-1].partition(":")[2].strip() if lines else error.message
