"""Docker Engine when it is not there, refuses, or dies: a tiny server on loopback plays it."""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from containerpkg.definitions.dockerfile_model import Feature
from containerpkg.definitions.project import Secret
from containerpkg.engines.docker import DockerEngine
from containerpkg.engines.protocol import BuildRequest, EngineImage
from containerpkg.errors import BuildError, EngineError, StoreError
from containerpkg.files import piped
from containerpkg.process import CommandFailed, Result
from containerpkg.sources.context import Context

VERSION = b'{"ApiVersion":"1.41","MinAPIVersion":"1.12"}'


class Server:
    """Answers each request for a path that contains a key with the bytes that stand there."""

    def __init__(self, path: Path) -> None:
        self.answers: dict[str, bytes] = {"/version": answer(VERSION)}
        self.requests: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection, connection.makefile("rwb") as file:
                first = file.readline().decode()
                headers = list(iter(lambda f=file: f.readline().strip().lower(), b""))
                if b"transfer-encoding: chunked" in headers:
                    while size := int(file.readline(), 16):
                        file.read(size + 2)
                    file.readline()
                self.requests.append(first.split()[1])
                for key, content in self.answers.items():
                    if key in first:
                        file.write(content)

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def answer(body: bytes, status: str = "200 OK", *, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nConnection: close\r\n"
        f"Content-Length: {size}\r\n\r\n"
    ).encode() + body


def events(body: bytes) -> bytes:
    """As an engine streams them: each event a chunk."""
    head = answer(b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    parts = body.replace(b"}{", b"}\n{").split(b"\n")
    return head + b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in (*parts, b""))


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    found = Server(Path("engine"))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/engine")
    yield found
    found.close()


REQUEST = BuildRequest(
    image="app",
    context=Context(dockerfile="Dockerfile", entries=()),
    generated=None,
    tags=("quay.io/x/app:1", "quay.io/x/app:2"),
    args={},
    network="default",
)


@pytest.mark.parametrize(
    ("host", "place", "reason"),
    [
        ("unix://{}/none", "unix://{}/none", "No such file or directory"),
        ("tcp://127.0.0.1:1", "tcp://127.0.0.1:1", "Connection refused"),
        ("nonsense://x", "nonsense://x", "Invalid bind address protocol: nonsense://x"),
    ],
)
@pytest.mark.parametrize("builder", ["auto", "classic"])
def test_no_engine(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    host: str,
    place: str,
    reason: str,
    builder: str,
) -> None:
    monkeypatch.setenv("DOCKER_HOST", host.format(tmp_path))
    with pytest.raises(EngineError) as caught:
        DockerEngine(builder=builder).build(REQUEST, lambda _: None)  # type: ignore[arg-type]
    assert caught.value.message == (
        f"Docker Engine does not answer at {place.format(tmp_path)}: {reason}"
    )
    assert caught.value.hint == (
        "start it ('systemctl start docker', or scripts/bootstrap) "
        "or point DOCKER_HOST at one that runs"
    )


def test_an_engine_that_hangs_up_at_once(server: Server) -> None:
    server.answers = {}
    with pytest.raises(EngineError, match=r"^Docker Engine does not answer at unix:.*: Remote end"):
        DockerEngine().inspect("x")


def test_inspect(server: Server) -> None:
    server.answers |= {
        "/images/whole/json": answer(
            b'{"Id":"sha256:aa","RootFS":{"Type":"layers","Layers":["sha256:bb"]},"Size":7,'
            b'"Architecture":"arm64"}'
        ),
        "/images/empty/json": answer(
            b'{"Id":"sha256:aa","RootFS":{"Type":"layers"},"Size":0,"Architecture":"amd64"}'
        ),
        "/images/none/json": answer(b'{"message":"No such image: none"}', "404 Not Found"),
        "/images/broken/json": answer(b'{"message":"disk on fire"}', "500 Oh no"),
    }
    engine = DockerEngine()
    assert engine.inspect("whole") == EngineImage(
        id="sha256:aa", diff_ids=("sha256:bb",), size=7, architecture="arm64"
    )
    assert engine.inspect("empty") == EngineImage(
        id="sha256:aa", diff_ids=(), size=0, architecture="amd64"
    )
    assert engine.inspect("none") is None
    with pytest.raises(EngineError, match=r"^Docker Engine refuses: disk on fire$"):
        engine.inspect("broken")


class TestSave:
    def test_all_images_in_one_request(self, server: Server) -> None:
        server.answers["/images/get"] = answer(b"tar")
        with DockerEngine().save(["sha256:a", "sha256:b"]) as stream:
            assert stream.read(9) == b"tar"
        assert server.requests[-1] == "/v1.41/images/get?names=sha256%3Aa&names=sha256%3Ab"

    @pytest.mark.parametrize(
        ("message", "hint"),
        [
            ("no such image", "see which it has: docker images --no-trunc"),
            (
                "empty export - not implemented",
                "one of them has no layer, which this engine cannot save: add a file",
            ),
        ],
    )
    def test_an_engine_that_refuses(self, server: Server, message: str, hint: str) -> None:
        server.answers["/images/get"] = answer(b'{"message":"%s"}' % message.encode(), "500 No")
        with pytest.raises(EngineError) as caught, DockerEngine().save(["sha256:a", "sha256:b"]):
            pytest.fail("there is nothing to read")
        assert caught.value.message == (
            f"Docker Engine does not save sha256:a, sha256:b: {message}"
        )
        assert caught.value.hint == hint

    @pytest.mark.parametrize("chunked", [True, False])
    def test_an_engine_that_dies_in_the_middle(self, server: Server, chunked: bool) -> None:
        cut = answer(b"half", length=100)
        if chunked:
            cut = cut.replace(b"Content-Length: 100", b"Transfer-Encoding: chunked")
            cut = cut.replace(b"half", b"64\r\nhalf")
        server.answers["/images/get"] = cut
        with (
            pytest.raises(
                EngineError, match=r"^Docker Engine at unix:.*/engine stopped ans"
            ) as caught,
            DockerEngine().save(["sha256:a"]) as stream,
        ):
            while stream.read(1000):
                pass
        assert caught.value.hint
        assert "again" in caught.value.hint


class TestLoad:
    def load(self, content: bytes = b"tar") -> None:
        DockerEngine().load(nullcontext(io.BytesIO(content)))

    def test_an_image(self, server: Server) -> None:
        server.answers["/images/load"] = answer(b'{"stream":"Loaded image: x:1\\n"}\n')
        self.load()
        assert server.requests[-1] == "/v1.41/images/load?quiet=1"

    @pytest.mark.parametrize(
        ("reply", "message"),
        [
            (answer(b'{"stream":"x"}\n{"error":"bad tar"}\n'), "bad tar"),
            (answer(b'{"message":"no room"}', "500 Oh no"), "no room"),
            (answer(b"", "500 Oh no"), "HTTP status 500"),
            (answer(b"[]", "502 Bad Gateway"), "HTTP status 502"),
        ],
    )
    def test_an_engine_that_refuses(self, server: Server, reply: bytes, message: str) -> None:
        server.answers["/images/load"] = reply
        with pytest.raises(EngineError) as caught:
            self.load()
        assert caught.value.message == f"Docker Engine does not load the image: {message}"

    def test_what_went_wrong_in_the_store_wins(self, server: Server) -> None:
        server.answers["/images/load"] = answer(b'{"error":"unexpected EOF"}')

        def write(pipe: object) -> None:
            raise StoreError("blob is damaged")

        with pytest.raises(StoreError, match="blob is damaged"):
            DockerEngine().load(piped(write))


class TestClassic:
    @pytest.mark.parametrize(
        ("body", "error", "message"),
        [
            (
                b'{"stream":"Step 1"}{"error":"RUN returned 3"}',
                BuildError,
                "image 'app' did not build: RUN returned 3",
            ),
            (
                b'{"stream":"Step 1"}',
                EngineError,
                "Docker Engine ended the build of 'app' without naming an image",
            ),
        ],
    )
    def test_a_build_that_fails(
        self, server: Server, body: bytes, error: type[Exception], message: str
    ) -> None:
        server.answers["/build?"] = events(body)
        lines: list[str] = []
        with pytest.raises(error, match=f"^{message}$"):
            DockerEngine(builder="classic").build(REQUEST, lines.append)
        assert lines == ["Step 1"]

    def test_every_tag_is_given(self, server: Server) -> None:
        server.answers |= {
            "/build?": events(b'{"stream":"Step 1\\n\\n ---\\n"}{"aux":{"ID":"sha256:aa"}}'),
            "/tag?": answer(b"", "201 Created"),
        }
        lines: list[str] = []
        assert DockerEngine(builder="classic").build(REQUEST, lines.append) == "sha256:aa"
        assert lines == ["Step 1", " ---"]
        assert server.requests[-1] == (
            "/v1.41/images/sha256:aa/tag?repo=quay.io%2Fx%2Fapp%3A2&force=1"
        )


def without_buildx(argv: list[str], **_: object) -> Result:
    raise CommandFailed(argv, 1, "unknown command: docker buildx")


def with_buildx(argv: list[str], **_: object) -> Result:
    return Result(stdout="")


@pytest.mark.parametrize(
    ("wanted", "why"),
    [("auto", "'docker buildx' is not installed"), ("classic", "build.builder is 'classic'")],
)
@pytest.mark.parametrize(
    ("changes", "what"),
    [
        (
            {"features": (Feature(name="RUN --mount", line=7), Feature(name="heredoc", line=9))},
            "RUN --mount (Dockerfile:7)",
        ),
        ({"secrets": {"token": Secret(env="TOKEN")}}, "its build secrets"),
    ],
    ids=["feature", "secret"],
)
def test_what_needs_buildkit_is_named(
    server: Server, wanted: str, why: str, changes: dict[str, Any], what: str
) -> None:
    engine = DockerEngine(builder=wanted, run=without_buildx)  # type: ignore[arg-type]
    with pytest.raises(BuildError) as caught:
        engine.build(replace(REQUEST, **changes), lambda _: None)
    assert caught.value.message == f"image 'app' needs BuildKit for {what}, and {why}"
    assert caught.value.hint


def test_an_engine_that_dies_under_buildx_is_no_failure_of_the_image(server: Server) -> None:
    def run(argv: list[str], *, env: dict[str, str] | None = None, **_: object) -> Result:
        if env:
            server.answers = {}
            raise CommandFailed(argv, 1, "ERROR: failed to solve: error reading from server: EOF")
        return Result(stdout="")

    with pytest.raises(EngineError, match=r"^Docker Engine at unix:.* stopped answering: "):
        DockerEngine(run=run).build(REQUEST, lambda _: None)  # type: ignore[arg-type]


@pytest.mark.parametrize("host", [None, "", "unix://{}/engine"])
def test_buildx_uses_the_engine_of_the_sdk_whatever_the_context(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str | None
) -> None:
    seen: list[str] = []

    def run(argv: list[str], *, env: dict[str, str] | None = None, **_: object) -> Result:
        if env:
            seen.append(env["DOCKER_HOST"])
            raise CommandFailed(argv, 1, "ERROR: no")
        return Result(stdout="")

    engine = DockerEngine(run=run)  # type: ignore[arg-type]
    server.answers["/_ping"] = answer(b"OK")
    server.answers["/images/x/json"] = answer(b'{"message":"No such image: x"}', "404 Not")
    assert engine.inspect("x") is None  # while it answers
    wanted = "unix:///var/run/docker.sock"
    if host is None:
        monkeypatch.delenv("DOCKER_HOST")
    else:
        monkeypatch.setenv("DOCKER_HOST", host.format(tmp_path))
        wanted = host.format(tmp_path) or wanted
    with pytest.raises(BuildError):
        engine.build(REQUEST, lambda _: None)
    assert seen == [wanted]


@pytest.mark.parametrize(
    ("wanted", "run", "text"),
    [
        ("auto", with_buildx, "BuildKit (docker buildx)"),
        ("buildkit", with_buildx, "BuildKit (docker buildx)"),
        ("auto", without_buildx, "classic builder ('docker buildx' is not installed)"),
        ("classic", with_buildx, "classic builder (build.builder in containerpkg.yaml)"),
    ],
)
def test_which_builder_and_why(wanted: str, run: object, text: str) -> None:
    assert DockerEngine(builder=wanted, run=run).builder() == text  # type: ignore[arg-type]
