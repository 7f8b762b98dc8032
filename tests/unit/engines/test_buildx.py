"""The command line and environment of docker buildx, whole."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO

import pytest

from containerpkg.definitions.project import Secret
from containerpkg.engines import buildx
from containerpkg.engines.protocol import BuildRequest
from containerpkg.errors import BuildError, ToolError
from containerpkg.process import CommandFailed, Result, missing_tool
from containerpkg.sources.context import Context, load_context

PLAIN = BuildRequest(
    image="app",
    context=Context(dockerfile="Dockerfile", entries=()),
    generated=None,
    tags=("quay.io/x/app:1",),
    args={},
    network="default",
)
HOST = "unix:///run/engine"
START = ["docker", "buildx", "build", "--builder=default", "--load", "--progress=plain"]


@pytest.mark.parametrize(
    ("request_", "argv", "environment"),
    [
        (
            PLAIN,
            [
                *START,
                "--file=Dockerfile",
                "--metadata-file=/tmp/id",
                "--network=default",
                "--provenance=false",
                "--tag=quay.io/x/app:1",
                "-",
            ],
            {},
        ),
        (
            BuildRequest(
                image="app",
                context=Context(dockerfile="Dockerfile.alpine", entries=()),
                generated=None,
                tags=("quay.io/x/app:1-alpine", "quay.io/x/app:latest"),
                args={"B": "hidden=1,2 '\"", "A": "", "http_proxy": "http://me:hidden@proxy"},
                network="none",
                secrets={
                    "plain": Secret(file="/run/secret"),
                    "ca-bundle": Secret(file='/a,b/"c" d.pem'),
                    "token": Secret(env="TOKEN"),
                },
                no_cache=True,
            ),
            [
                *START,
                "--file=Dockerfile.alpine",
                "--metadata-file=/tmp/id",
                "--network=none",
                "--provenance=false",
                "--tag=quay.io/x/app:1-alpine",
                "--tag=quay.io/x/app:latest",
                "--build-arg=A",
                "--build-arg=B",
                "--build-arg=http_proxy",
                '--secret=id=ca-bundle,"src=/a,b/""c"" d.pem"',
                "--secret=id=plain,src=/run/secret",
                "--secret=id=token,env=TOKEN",
                "--no-cache",
                "-",
            ],
            {"A": "", "B": "hidden=1,2 '\"", "http_proxy": "http://me:hidden@proxy"},
        ),
    ],
)
def test_the_whole_command(
    request_: BuildRequest, argv: list[str], environment: dict[str, str]
) -> None:
    assert buildx.build_argv(request_, Path("/tmp/id")) == argv
    assert not any("hidden" in word for word in argv)
    assert buildx.build_environment(request_, HOST) == {
        **environment,
        "BUILDX_NO_DEFAULT_ATTESTATIONS": "1",
        "DOCKER_HOST": HOST,
    }


def test_an_argument_that_the_client_itself_would_obey_stays_out_of_its_environment() -> None:
    own = ["PATH", "HOME", "DOCKER_HOST", "BUILDKIT_HOST", "BUILDX_BUILDER", "LD_PRELOAD", "TOKEN"]
    request = replace(
        PLAIN, args=dict.fromkeys([*own, "PATHS"], "v"), secrets={"t": Secret(env="TOKEN")}
    )
    argv = buildx.build_argv(request, Path("/tmp/id"))
    assert [word for word in argv if word.startswith("--build-arg")] == [
        f"--build-arg={name}" if name == "PATHS" else f"--build-arg={name}=v"
        for name in sorted(request.args)
    ]
    assert buildx.build_environment(request, HOST) == {
        "PATHS": "v",
        "BUILDX_NO_DEFAULT_ATTESTATIONS": "1",
        "DOCKER_HOST": HOST,
    }


@pytest.mark.parametrize("file", ["/a", "/a,b", '/a"b', '/"a,b"', "/a b", "/a='b'", '/",'])
def test_secret_files_survive_the_reader_of_fields(file: str) -> None:
    request = replace(PLAIN, secrets={"id": Secret(file=file)})
    (word,) = [w for w in buildx.build_argv(request, Path("/i")) if w.startswith("--secret=")]
    assert list(csv.reader([word.removeprefix("--secret=")], strict=True)) == [
        ["id=id", f"src={file}"]
    ]


class Client:
    """Stands at the door: takes the context, prints lines, writes the ID or fails."""

    def __init__(self, *, image_id: str = "", lines: Sequence[str] = ()) -> None:
        self.image_id, self.lines = image_id, lines
        self.context = b""

    def __call__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdin: Callable[[IO[bytes]], None] | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> Result:
        assert stdin
        assert on_line
        file = io.BytesIO()
        stdin(file)
        self.context = file.getvalue()
        for line in self.lines:
            on_line(line)
        if not self.image_id:
            raise CommandFailed(argv, 1, "\n".join(self.lines))
        (file_name,) = [w.partition("=")[2] for w in argv if w.startswith("--metadata-file")]
        metadata = {
            "containerimage.config.digest": "sha256:cc",
            "containerimage.digest": self.image_id,
        }
        Path(file_name).write_text(json.dumps(metadata))
        return Result(stdout="")


def test_the_context_goes_in_and_the_image_id_comes_out(tmp_path: Path) -> None:
    (tmp_path / "image").mkdir()
    (tmp_path / "image/Dockerfile").write_text("FROM scratch\n")
    (tmp_path / "made").mkdir()
    (tmp_path / "made/root.tar").write_text("r")
    request = replace(
        PLAIN, context=load_context(tmp_path / "image", "Dockerfile"), generated=tmp_path / "made"
    )
    client = Client(image_id="sha256:ab", lines=["#1 [1/1] COPY"])
    lines: list[str] = []
    assert buildx.build(request, lines.append, host=HOST, run=client) == "sha256:ab"
    assert lines == ["#1 [1/1] COPY"]
    with tarfile.open(fileobj=io.BytesIO(client.context)) as tar:
        assert tar.getnames() == ["Dockerfile", "root.tar"]


@pytest.mark.parametrize(
    ("lines", "cause"),
    [
        (["#5 0.1 no", "ERROR: failed to solve: exit code: 3"], "failed to solve: exit code: 3"),
        (["error: no builder 'default'"], "no builder 'default'"),
        (["ERROR: one", "ERROR: two", "more"], "two"),
        (["what is this"], "docker failed with status 1:\nwhat is this"),
        ([], "docker failed with status 1"),
    ],
)
def test_a_failed_build_names_its_image_and_cause(lines: list[str], cause: str) -> None:
    with pytest.raises(BuildError) as caught:
        buildx.build(PLAIN, lambda _: None, host=HOST, run=Client(lines=lines))
    assert caught.value.message == f"image 'app' did not build: {cause}"


@pytest.mark.parametrize(
    ("error", "available"),
    [
        (None, True),
        (CommandFailed(["docker"], 1, "unknown command: docker buildx"), False),
        (missing_tool("docker"), False),
        (ToolError("may not be executed"), False),
    ],
)
def test_whether_it_is_there(error: Exception | None, available: bool) -> None:
    seen: list[Sequence[str]] = []

    def run(argv: Sequence[str], **_: object) -> Result:
        seen.append(argv)
        if error:
            raise error
        return Result(stdout="")

    assert buildx.available(run=run) is available
    assert seen == [["docker", "buildx", "version"]]
