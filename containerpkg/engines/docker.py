"""Docker Engine, through its SDK; images are built by its BuildKit or by its classic builder.

https://docs.docker.com/reference/api/engine/
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from typing import IO, Any, Literal, cast

import docker
import docker.errors
import requests.exceptions
import urllib3.exceptions

from containerpkg import process
from containerpkg.engines import buildx
from containerpkg.engines.protocol import BuildRequest, ByteStream, EngineImage
from containerpkg.errors import BuildError, EngineError
from containerpkg.files import CHUNK, piped

# A build or a save may be silent for long, so only the first answer has a limit.
_CONNECT_SECONDS = 15

_UNREACHABLE = (docker.errors.DockerException, requests.exceptions.RequestException, OSError)


class DockerEngine:
    """Docker Engine at ``DOCKER_HOST`` or its usual socket."""

    def __init__(
        self,
        *,
        builder: Literal["auto", "buildkit", "classic"] = "auto",
        run: process.Run = process.run,
    ) -> None:
        self._wanted = builder
        self._run = run

    @cached_property
    def _api(self) -> docker.APIClient:
        try:
            return docker.APIClient(version="auto", timeout=_CONNECT_SECONDS, **_environment())
        except _UNREACHABLE as error:
            raise EngineError(
                f"Docker Engine does not answer at {_place()}: {_reason(error)}",
                hint="start it ('systemctl start docker', or scripts/bootstrap) "
                "or point DOCKER_HOST at one that runs",
            ) from error

    @cached_property
    def _buildkit(self) -> bool:
        return self._wanted != "classic" and buildx.available(run=self._run)

    def check(self) -> None:
        """See :meth:`containerpkg.engines.protocol.Engine.check`."""
        _ = self._api

    def builder(self) -> str:
        """``BuildKit (docker buildx)`` or ``classic builder (REASON)``."""
        if self._buildkit:
            return "BuildKit (docker buildx)"
        if self._wanted == "classic":
            return "classic builder (build.builder in containerpkg.yaml)"
        return "classic builder ('docker buildx' is not installed)"

    def build(self, request: BuildRequest, on_line: Callable[[str], None]) -> str:
        """See :meth:`containerpkg.engines.protocol.Engine.build`."""
        _ = self._api  # says that the engine is not there better than buildx does
        if self._buildkit:
            try:
                return buildx.build(request, on_line, host=_host(), run=self._run)
            except BuildError:
                # An engine that died is one error, and not one of every image.
                with self._answering():
                    self._api.ping()
                raise
        if self._wanted == "buildkit":
            raise EngineError(
                "BuildKit is asked for and 'docker buildx' is not installed",
                hint="install docker-buildx (docker-buildx-plugin), or set build.builder: auto",
            )
        if request.features or request.secrets:
            what = request.place(request.features[0]) if request.features else "its build secrets"
            needs = f"image '{request.image}' needs BuildKit for {what}"
            if self._wanted == "classic":
                raise BuildError(
                    f"{needs}, and build.builder is 'classic'",
                    hint="set build.builder in containerpkg.yaml to 'auto' or 'buildkit'",
                )
            raise BuildError(
                f"{needs}, and 'docker buildx' is not installed",
                hint="install docker-buildx (docker-buildx-plugin) or run scripts/bootstrap",
            )
        return self._build_classic(request, on_line)

    def _build_classic(self, request: BuildRequest, on_line: Callable[[str], None]) -> str:
        image_id = ""
        with (
            self._answering(),
            piped(lambda pipe: request.context.write_tar(pipe, generated=request.generated)) as tar,
        ):
            events = self._api.build(
                fileobj=cast("IO[bytes]", _Chunks(tar)),
                custom_context=True,
                dockerfile=request.context.dockerfile,
                tag=request.tags[0],
                buildargs=dict(request.args),
                network_mode=request.network,
                platform=os.environ.get("DOCKER_DEFAULT_PLATFORM") or None,
                nocache=request.no_cache,
                rm=True,
                forcerm=True,
                decode=True,
                timeout=None,
                use_config_proxy=False,
            )
            for event in events:
                if "stream" in event:
                    for line in event["stream"].splitlines():
                        if line.strip():
                            on_line(line)
                elif "error" in event:
                    raise BuildError(f"image '{request.image}' did not build: {event['error']}")
                image_id = event.get("aux", {}).get("ID", image_id)
        if not image_id:
            raise EngineError(
                f"Docker Engine ended the build of '{request.image}' without naming an image",
                hint="look at the engine's log: journalctl --unit docker",
            )
        for tag in request.tags[1:]:
            self.tag(image_id, tag)
        return image_id

    def inspect(self, reference: str) -> EngineImage | None:
        """See :meth:`containerpkg.engines.protocol.Engine.inspect`."""
        with self._answering():
            try:
                found: dict[str, Any] = self._api.inspect_image(reference)  # type: ignore[no-untyped-call]
            except docker.errors.ImageNotFound:
                return None
            return EngineImage(
                id=found["Id"],
                diff_ids=tuple(found["RootFS"].get("Layers") or ()),
                size=found["Size"],
                architecture=found["Architecture"],
            )

    @contextmanager
    def save(self, image_ids: Sequence[str]) -> Iterator[ByteStream]:
        """See :meth:`containerpkg.engines.protocol.Engine.save`."""
        with self._answering():
            # The SDK's own get_image takes one name, and so would send shared layers again.
            answer = self._api.get(
                f"{self._api.base_url}/v{self._api.api_version}/images/get",
                params=[("names", image) for image in image_ids],
                stream=True,
                timeout=(_CONNECT_SECONDS, None),
            )
            with contextlib.closing(answer):
                if answer.status_code != requests.codes.ok:
                    message, hint = _message(answer), "see which it has: docker images --no-trunc"
                    if message.startswith("empty export"):
                        hint = "one of them has no layer, which this engine cannot save: add a file"
                    raise EngineError(
                        f"Docker Engine does not save {', '.join(image_ids)}: {message}", hint=hint
                    )
                yield answer.raw

    def load(self, chunks: AbstractContextManager[ByteStream]) -> None:
        """See :meth:`containerpkg.engines.protocol.Engine.load`."""
        with self._answering(), chunks as stream:
            answer = self._api.post(
                f"{self._api.base_url}/v{self._api.api_version}/images/load",
                params={"quiet": "1"},
                data=_Chunks(stream),
                headers={"Content-Type": "application/x-tar"},
                timeout=(_CONNECT_SECONDS, None),
            )
            if answer.status_code != requests.codes.ok:
                raise EngineError(f"Docker Engine does not load the image: {_message(answer)}")
            for line in answer.text.splitlines():
                # A load that fails after the first byte still has the status 200.
                if message := json.loads(line).get("error") if line.startswith("{") else None:
                    raise EngineError(f"Docker Engine does not load the image: {message}")

    def tag(self, image_id: str, reference: str) -> None:
        """See :meth:`containerpkg.engines.protocol.Engine.tag`."""
        with self._answering():
            self._api.tag(image_id, reference, force=True)

    @contextmanager
    def _answering(self) -> Iterator[None]:
        _ = self._api  # an engine that was never there is another matter
        try:
            yield
        except docker.errors.APIError as error:
            raise EngineError(f"Docker Engine refuses: {error.explanation or error}") from error
        except (
            docker.errors.DockerException,
            requests.exceptions.RequestException,
            urllib3.exceptions.HTTPError,  # from a body that is read as it comes
        ) as error:
            raise EngineError(
                f"Docker Engine at {_place()} stopped answering: {_reason(error)}",
                hint="look at its log ('journalctl --unit docker') and run the command again: "
                "it goes on where it stopped",
            ) from error


class _Chunks:
    """A stream in large pieces: the HTTP client would read 16 KiB at a time."""

    def __init__(self, stream: ByteStream | IO[bytes]) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        while chunk := self._stream.read(CHUNK):
            yield chunk


def _place() -> str:
    return os.environ.get("DOCKER_HOST") or "/var/run/docker.sock"


def _host() -> str:
    """The engine for the client, which would follow ``docker context`` where the SDK does not."""
    return os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"


def _environment() -> dict[str, Any]:
    from docker.utils import kwargs_from_env

    return dict(kwargs_from_env())


def _reason(error: BaseException) -> str:
    """The innermost cause in one line: the outer ones only repeat where the call was made."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__ or error
    text = getattr(error, "strerror", None) or str(error).strip() or type(error).__name__
    return str(text).splitlines()[0]


def _message(answer: requests.Response) -> str:
    try:
        return str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP status {answer.status_code}"
