"""The builder that podman and buildah share: ``podman build`` and ``buildah build``.

It reads the context from a folder of its own, writes images in Docker's form (the OCI form has no
place for HEALTHCHECK, SHELL and ONBUILD) and leaves its own label away.
https://github.com/containers/buildah/blob/main/docs/buildah-build.1.md
"""

from __future__ import annotations

import os
import re
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from containerpkg import process
from containerpkg.engines.protocol import BuildRequest, ByteStream
from containerpkg.errors import BuildError, EngineError
from containerpkg.files import CHUNK, piped
from containerpkg.sources.hidden import hidden_names

Program = Literal["podman", "buildah"]
Isolation = Literal["auto", "oci", "chroot"]

# The first versions that know heredocs.
_HEREDOCS: Mapping[Program, tuple[int, int]] = {"podman": (4, 9), "buildah": (1, 33)}

# Read by the dynamic linker, by the programs and by what they start.
_OWN = re.compile(
    r"HOME$|PATH$|TMPDIR$|SOURCE_DATE_EPOCH$|SSL_CERT_|GO(DEBUG|TRACEBACK)$|NOTIFY_SOCKET$|"
    r"_?(LD|XDG|DOCKER|BUILDAH|PODMAN|CONTAINERS?|STORAGE|REGISTR(Y|IES)|DBUS|NETAVARK|USERNS)_"
)

_VERSION = re.compile(r" version (\d+)\.(\d+)\S*")


@dataclass(frozen=True, kw_only=True)
class Version:
    """What a program says of itself."""

    program: Program
    number: tuple[int, int]
    text: str
    """For people, for example ``buildah 1.28.2``."""


@dataclass(frozen=True, kw_only=True)
class Folder:
    """Where a build finds its things."""

    root: Path

    @property
    def context(self) -> Path:
        """The files of the build context."""
        return self.root / "context"

    @property
    def ignore(self) -> Path:
        """What COPY and ADD do not see; the rest was sifted when the context was made.

        Not every podman obeys ``--ignorefile``, but each looks here before ``.dockerignore``.
        """
        return self.context / ".containerignore"

    @property
    def image_id(self) -> Path:
        """Where the builder writes the image's ID."""
        return self.root / "id"

    def secret(self, name: str) -> Path:
        """A link to a secret's file, whose own name may have a comma in it."""
        return self.root / f"secret-{name}"


def isolation(wanted: Isolation) -> Isolation:
    """``wanted``, or what the environment says where nothing special is."""
    said = os.environ.get("BUILDAH_ISOLATION")
    return "chroot" if wanted == "auto" and said == "chroot" else wanted


def version(program: Program, *, run: process.Run = process.run) -> Version:
    """What ``program`` says of itself; raises EngineError and ToolError."""
    with answering(program):
        said = run([program, "--version"]).stdout
    found = _VERSION.search(said)
    if not found:
        raise EngineError(f"{program} says no version that can be read: '{said.strip()}'")
    return Version(
        program=program,
        number=(int(found[1]), int(found[2])),
        text=f"{program} {found[0].removeprefix(' version ')}",
    )


def check(program: Program, *, run: process.Run = process.run) -> None:
    """Raise EngineError or ToolError unless ``program`` works with its storage."""
    with answering(program):
        run([program, "info"])


@contextmanager
def answering(program: Program) -> Iterator[None]:
    """Raise EngineError where ``program`` fails in the block."""
    try:
        yield
    except process.CommandFailed as error:
        raise EngineError(
            f"{program} refuses: {reason(error)}",
            hint=f"see whether it works at all: {program} info",
        ) from error


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for a context or for layers, where the two programs put theirs too."""
    place = os.environ.get("TMPDIR") or "/var/tmp"  # noqa: S108 - the folder in it is not
    with tempfile.TemporaryDirectory(prefix="containerpkg-", dir=place) as folder:
        yield Path(folder)


def build(
    request: BuildRequest,
    on_line: Callable[[str], None],
    *,
    said: Version,
    confined: Isolation,
    run: process.Run = process.run,
) -> str:
    """Build ``request`` with the program that ``said`` its version and give the image's ID.

    Raises BuildError, and EngineError if the program does not work at all.
    """
    refuse(request, said, confined)
    with scratch() as root:
        folder = Folder(root=root)
        _unpack(request, folder)
        try:
            run(
                build_argv(request, folder, program=said.program, confined=confined),
                env=build_environment(request),
                on_line=on_line,
            )
            # A program that is told to end may do so with the status 0.
            image_id = folder.image_id.read_text().strip() if folder.image_id.exists() else ""
        except process.CommandFailed as error:
            check(said.program, run=run)
            raise BuildError(f"image '{request.image}' did not build: {reason(error)}") from error
    if not image_id:
        raise BuildError(f"image '{request.image}' did not build: {said.program} broke it off")
    return full_id(image_id)


def refuse(request: BuildRequest, said: Version, confined: Isolation) -> None:
    """Raise BuildError for what the program would misread, or cannot do."""
    for feature in request.features:
        if feature.name == "heredoc" and said.number < (least := _HEREDOCS[said.program]):
            raise BuildError(
                f"image '{request.image}' uses a {request.place(feature)}, which {said.text} "
                "does not know",
                hint=f"build it with {said.program} {least[0]}.{least[1]} or newer or with docker, "
                "or write a file and COPY it",
            )
    if request.network == "none" and confined == "chroot":
        raise BuildError(
            f"image '{request.image}' is to be built without network, and chroot isolation has "
            "always that of the host",
            hint="set build.isolation in containerpkg.yaml to 'oci', or take another network",
        )


def build_argv(
    request: BuildRequest, folder: Folder, *, program: Program, confined: Isolation
) -> list[str]:
    """The command line; values of arguments and secrets stay out of it.

    But for arguments that are called as what the program itself reads from its environment.
    """
    argv = [
        program,
        "build",
        "--format=docker",
        "--layers",
        "--force-rm",
        "--identity-label=false",
        "--http-proxy=false",
        f"--file={folder.context / request.context.dockerfile}",
        f"--ignorefile={folder.ignore}",
        f"--iidfile={folder.image_id}",
    ]
    if request.network != "default":
        argv.append(f"--network={request.network}")
    if confined != "auto":
        argv.append(f"--isolation={confined}")
    if platform := os.environ.get("DOCKER_DEFAULT_PLATFORM"):
        argv.append(f"--platform={platform}")
    argv += [f"--tag={tag}" for tag in request.tags]
    own = _own(request)
    argv += [
        f"--build-arg={name}={value}" if name in own else f"--build-arg={name}"
        for name, value in sorted(request.args.items())
    ]
    argv += [
        f"--secret=id={name},env={secret.env}"
        if secret.env
        else f"--secret=id={name},src={folder.secret(name)}"
        for name, secret in sorted(request.secrets.items())
    ]
    if request.no_cache:
        argv.append("--no-cache")
    return [*argv, str(folder.context)]


def build_environment(request: BuildRequest) -> dict[str, str]:
    """``--build-arg NAME`` without a value takes it from here, out of sight of ``ps``."""
    own = _own(request)
    return {name: value for name, value in request.args.items() if name not in own}


def pour(stream: ByteStream, file: IO[bytes]) -> None:
    """Copy what is left of ``stream``."""
    while chunk := stream.read(CHUNK):
        file.write(chunk)


def full_id(image_id: str) -> str:
    """An image's ID with its algorithm, which not every command says."""
    return f"sha256:{image_id.removeprefix('sha256:')}"


def reason(error: process.CommandFailed) -> str:
    """What the program gives as the reason of its failure, in one line."""
    lines = [line for line in error.tail.splitlines() if line.startswith("Error: ")]
    return lines[-1].removeprefix("Error: ") if lines else error.message


def unknown(error: process.CommandFailed) -> bool:
    """Whether a program failed because it has no such image."""
    return "image not known" in error.tail or "no such image" in error.tail.lower()


def _own(request: BuildRequest) -> frozenset[str]:
    """Names of arguments that must not reach the program's environment: it would obey them."""
    secrets = {secret.env for secret in request.secrets.values()}
    return frozenset(name for name in request.args if name in secrets or _OWN.match(name))


def _unpack(request: BuildRequest, folder: Folder) -> None:
    """Write the links to secrets, the context and what the build does not see of it."""
    for name, secret in request.secrets.items():
        if secret.file:
            folder.secret(name).symlink_to(secret.file)
    folder.context.mkdir()
    with (
        piped(lambda pipe: request.context.write_tar(pipe, generated=request.generated)) as stream,
        tarfile.open(fileobj=stream, mode="r|") as tar,
    ):
        # Its members come from the lines above: nothing is to be refused or changed.
        tar.extraction_filter = lambda member, _: member
        tar.extractall(folder.context)  # noqa: S202
    names = (folder.ignore.name, *hidden_names(request.context))
    folder.ignore.write_text("".join(f"{name}\n" for name in names))
