"""The command lines of podman and buildah, whole, and what is made of what they say."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import pytest

from containerpkg.definitions.dockerfile_model import Feature
from containerpkg.definitions.project import Secret
from containerpkg.engines import bud
from containerpkg.engines.buildah import BuildahEngine
from containerpkg.engines.podman import PodmanEngine
from containerpkg.engines.protocol import BuildRequest, EngineImage
from containerpkg.errors import BuildError, EngineError
from containerpkg.process import CommandFailed, Result
from containerpkg.sources.context import Context, load_context

PLAIN = BuildRequest(
    image="app",
    context=Context(dockerfile="Dockerfile", entries=()),
    generated=None,
    tags=("quay.io/x/app:1",),
    args={},
    network="default",
)
ID = "sha256:" + "a" * 64
FOLDER = bud.Folder(root=Path("/w"))
COMMON = ["--format=docker", "--layers", "--force-rm", "--identity-label=false"]
COMMON += ["--http-proxy=false"]
PLACES = ["--ignorefile=/w/context/.containerignore", "--iidfile=/w/id"]
SAYS = {"podman": "podman version 4.3.1\n", "buildah": "buildah version 1.28.2 (image-spec 1.1)\n"}


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("BUILDAH_ISOLATION", "DOCKER_DEFAULT_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))


def test_the_whole_command() -> None:
    assert bud.build_argv(PLAIN, FOLDER, program="buildah", confined="auto") == [
        *("buildah", "build", *COMMON, "--file=/w/context/Dockerfile", *PLACES),
        *("--tag=quay.io/x/app:1", "/w/context"),
    ]
    assert bud.build_environment(PLAIN) == {}


def test_the_whole_command_with_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_DEFAULT_PLATFORM", "linux/arm64")
    request = BuildRequest(
        image="app",
        context=Context(dockerfile="Dockerfile.alpine", entries=()),
        generated=None,
        tags=("quay.io/x/app:1-alpine", "quay.io/x/app:latest"),
        args={"B": "hidden=1,2 '\"", "A": "", "http_proxy": "http://me:hidden@proxy", "HOME": "/h"},
        network="none",
        secrets={"file": Secret(file='/a,b/"c" d.pem'), "token": Secret(env="TOKEN")},
        no_cache=True,
    )
    argv = bud.build_argv(request, FOLDER, program="podman", confined="oci")
    assert argv == [
        *("podman", "build", *COMMON, "--file=/w/context/Dockerfile.alpine", *PLACES),
        *("--network=none", "--isolation=oci", "--platform=linux/arm64"),
        *("--tag=quay.io/x/app:1-alpine", "--tag=quay.io/x/app:latest"),
        *("--build-arg=A", "--build-arg=B", "--build-arg=HOME=/h", "--build-arg=http_proxy"),
        *("--secret=id=file,src=/w/secret-file", "--secret=id=token,env=TOKEN"),
        *("--no-cache", "/w/context"),
    ]
    assert not any("hidden" in word for word in argv)
    assert bud.build_environment(request) == {
        name: value for name, value in request.args.items() if name != "HOME"
    }


def test_an_argument_that_the_program_itself_would_obey_stays_out_of_its_environment() -> None:
    own = [
        *("PATH", "HOME", "TMPDIR", "LD_PRELOAD", "XDG_RUNTIME_DIR", "BUILDAH_ISOLATION", "TOKEN"),
        *("CONTAINERS_CONF", "CONTAINER_HOST", "STORAGE_DRIVER", "REGISTRY_AUTH_FILE"),
        *("DOCKER_CONFIG", "_CONTAINERS_USERNS_CONFIGURED", "SOURCE_DATE_EPOCH"),
    ]
    request = replace(
        PLAIN, args=dict.fromkeys([*own, "PATHS"], "v"), secrets={"t": Secret(env="TOKEN")}
    )
    assert bud.build_environment(request) == {"PATHS": "v"}


class Program:
    """Stands at the door: answers by the words after the program's name, and remembers."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self.answers = answers
        self.calls: list[list[str]] = []
        self.context: dict[str, str] = {}
        self.links: dict[str, str] = {}
        self.fed = b""

    def __call__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdin: Callable[[IO[bytes]], None] | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> Result:
        self.calls.append(list(argv))
        if stdin:
            pipe = io.BytesIO()
            stdin(pipe)
            self.fed = pipe.getvalue()
        if argv[1] == "build":
            folder = Path(argv[-1])
            self.context = {
                p.relative_to(folder).as_posix(): p.read_text() if p.is_file() else ""
                for p in sorted(folder.rglob("*"))
            }
            self.links = {p.name: str(p.readlink()) for p in folder.parent.glob("secret-*")}
        answer: Any = next((a for key, a in self.answers.items() if key in argv[1:]), "")
        if callable(answer):
            answer = answer(argv)
        if isinstance(answer, CommandFailed):
            raise answer
        return Result(stdout=answer)


def failed(text: str) -> CommandFailed:
    return CommandFailed(["buildah"], 125, text)


def builds(argv: Sequence[str]) -> str:
    (place,) = [word.partition("=")[2] for word in argv if word.startswith("--iidfile=")]
    Path(place).write_text(ID)
    return ""


@pytest.fixture(params=["podman", "buildah"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def engine(name: str, program: Program, **options: Any) -> PodmanEngine | BuildahEngine:
    kind = {"podman": PodmanEngine, "buildah": BuildahEngine}[name]
    return kind(run=program, **options)


def test_a_build_gets_its_context_and_its_secrets_in_a_folder_that_is_gone_afterwards(
    name: str, tmp_path: Path
) -> None:
    source = tmp_path / "images"
    (source / "sub").mkdir(parents=True)
    (source / "Dockerfile").write_text("FROM scratch\n")
    (source / ".dockerignore").write_text("*\n!sub/kept\n!made\n")
    (source / "sub/kept").write_text("kept")
    (source / "sub/lost").write_text("lost")
    generated = tmp_path / "generated"
    generated.mkdir()
    (generated / "lost-if-sifted-again").write_text("made")
    program = Program({"--version": SAYS[name], "build": builds})
    request = replace(
        PLAIN,
        context=load_context(source, "Dockerfile"),
        generated=generated,
        secrets={"file": Secret(file="/a,b"), "token": Secret(env="TOKEN")},
    )
    before = sorted(tmp_path.rglob("*"))
    assert engine(name, program).build(request, lambda _: None) == ID
    assert program.context == {
        ".containerignore": ".containerignore\n.dockerignore\nDockerfile\n",
        ".dockerignore": "*\n!sub/kept\n!made\n",
        "Dockerfile": "FROM scratch\n",
        "lost-if-sifted-again": "made",
        "sub": "",
        "sub/kept": "kept",
    }
    assert program.links == {"secret-file": "/a,b"}
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("answers", "kind", "message"),
    [
        (
            {"build": failed('STEP 2/2: RUN x\nError: building at STEP "RUN x": exit status 3')},
            BuildError,
            "image 'app' did not build: building at STEP \"RUN x\": exit status 3",
        ),
        ({"build": ""}, BuildError, "image 'app' did not build: NAME broke it off"),
        (
            {"build": failed("Error: no space"), "info": failed("Error: no space")},
            EngineError,
            "NAME refuses: no space",
        ),
    ],
    ids=["step", "ended", "engine"],
)
def test_a_build_that_fails(
    name: str, answers: Mapping[str, Any], kind: type[BuildError], message: str
) -> None:
    program = Program({"--version": SAYS[name], **answers})
    with pytest.raises(kind) as caught:
        engine(name, program).build(PLAIN, lambda _: None)
    assert caught.value.message == message.replace("NAME", name)


HEREDOC = (Feature(name="RUN --mount", line=2), Feature(name="heredoc", line=3))


@pytest.mark.parametrize(
    ("said", "changes", "isolation", "message"),
    [
        (
            "podman version 4.8.3",
            {"features": HEREDOC},
            "auto",
            "image 'app' uses a heredoc (Dockerfile:3), which podman 4.8.3 does not know",
        ),
        ("podman version 4.9.0-rhel", {"features": HEREDOC}, "auto", ""),
        ("podman version 5.0.0", {"features": HEREDOC}, "auto", ""),
        (
            "podman version 5.0.0",
            {"network": "none"},
            "chroot",
            (
                "image 'app' is to be built without network, and chroot isolation has always that "
                "of the host"
            ),
        ),
        ("podman version 5.0.0", {"network": "none"}, "oci", ""),
    ],
)
def test_what_cannot_be_built_is_said_before(
    said: str, changes: dict[str, Any], isolation: bud.Isolation, message: str
) -> None:
    program = Program({"--version": said, "build": builds})
    podman = PodmanEngine(isolation=isolation, run=program)
    if not message:
        assert podman.build(replace(PLAIN, **changes), lambda _: None) == ID
        return
    with pytest.raises(BuildError) as caught:
        podman.build(replace(PLAIN, **changes), lambda _: None)
    assert caught.value.message == message
    assert caught.value.hint
    assert program.calls == [["podman", "--version"]]


@pytest.mark.parametrize(
    ("wanted", "said", "text"),
    [
        ("auto", None, ""),
        ("auto", "chroot", " with chroot isolation"),
        ("oci", "chroot", ""),
        ("chroot", None, " with chroot isolation"),
    ],
)
def test_the_builder_says_its_version_and_its_isolation(
    name: str, wanted: str, said: str | None, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if said:
        monkeypatch.setenv("BUILDAH_ISOLATION", said)
    number = SAYS[name].split()[2]
    program = Program({"--version": SAYS[name]})
    assert engine(name, program, isolation=wanted).builder() == f"{name} {number}{text}"


FOUND = EngineImage(id=ID, diff_ids=("sha256:1", "sha256:2"), size=30, architecture="amd64")
PODMAN_SAYS = json.dumps(
    [
        {
            "Id": "a" * 64,
            "RootFS": {"Layers": ["sha256:1", "sha256:2"]},
            "Size": 30,
            "Architecture": "amd64",
        }
    ]
)
BUILDAH_SAYS = json.dumps(
    {
        "FromImageID": "a" * 64,
        "Config": json.dumps(
            {"architecture": "amd64", "rootfs": {"diff_ids": ["sha256:1", "sha256:2"]}}
        ),
        "Manifest": json.dumps({"layers": [{"size": 10}, {"size": 20}]}),
    }
)


def test_an_image_is_found_or_not() -> None:
    podman, buildah = Program({"inspect": PODMAN_SAYS}), Program({"inspect": BUILDAH_SAYS})
    assert PodmanEngine(run=podman).inspect("x:1") == FOUND
    assert podman.calls == [["podman", "image", "inspect", "--format=json", "x:1"]]
    assert BuildahEngine(run=buildah).inspect(ID) == FOUND
    assert buildah.calls == [["buildah", "inspect", "--type=image", ID]]


def test_an_image_that_is_not_there_is_no_failure_and_another_failure_is(name: str) -> None:
    answers = {"x:1": failed("Error: inspecting object: x:1: image not known")}
    assert engine(name, Program(answers)).inspect("x:1") is None
    broken = engine(name, Program({"inspect": failed("warning\nError: no space left")}))
    with pytest.raises(EngineError, match=f"^{name} refuses: no space left$"):
        broken.inspect("x:1")


def test_podman_is_asked_again_while_another_process_writes_an_image(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    answers: Iterator[Any] = iter(
        [failed('Error: locating item named "manifest" for image'), PODMAN_SAYS]
    )
    program = Program({"inspect": lambda _: next(answers)})
    assert PodmanEngine(run=program).inspect("x:1") == FOUND
    assert len(program.calls) == 2
    stuck = Program({"inspect": failed('Error: locating item named "manifest" for image')})
    with pytest.raises(EngineError, match=r"^podman refuses: locating item"):
        PodmanEngine(run=stuck).inspect("x:1")


def test_tags_and_checks(name: str) -> None:
    program = Program({})
    one = engine(name, program)
    one.tag(ID, "quay.io/x/app:2")
    one.check()
    assert program.calls == [[name, "tag", ID, "quay.io/x/app:2"], [name, "info"]]
    broken = engine(name, Program({"info": failed("Error: cannot re-exec process")}))
    with pytest.raises(EngineError, match=f"^{name} refuses: cannot re-exec process$"):
        broken.check()


def test_an_archive_is_loaded(tmp_path: Path) -> None:
    podman = Program({})
    PodmanEngine(run=podman).load(nullcontext(io.BytesIO(b"archive")))
    assert (podman.calls, podman.fed) == ([["podman", "load", "--quiet"]], b"archive")
    read: list[bytes] = []

    def pull(argv: Sequence[str]) -> str:
        read.append(Path(argv[-1].removeprefix("docker-archive:")).read_bytes())
        return ""

    buildah = Program({"pull": pull})
    BuildahEngine(run=buildah).load(nullcontext(io.BytesIO(b"archive")))
    ((*start, place),) = buildah.calls
    assert start == ["buildah", "pull", "--quiet"]
    assert place.startswith(f"docker-archive:{tmp_path}/")
    assert read == [b"archive"]
    assert list(tmp_path.iterdir()) == []


def test_podman_saves_all_images_in_one_stream() -> None:
    calls: list[list[str]] = []

    @contextmanager
    def stream(argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> Iterator[Any]:
        calls.append(list(argv))
        yield io.BytesIO(b"archive")
        if "gone" in argv:
            raise failed("Error: gone: image not known")

    podman = PodmanEngine(stream=stream)
    with podman.save(["one", "two"]) as saved:
        assert saved.read(100) == b"archive"
    start = ["podman", "save", "--quiet", "--format=docker-archive", "--multi-image-archive"]
    assert calls == [[*start, "one", "two"]]
    with (
        pytest.raises(EngineError, match=r"^podman does not save gone: gone: image not known$"),
        podman.save(["gone"]),
    ):
        pass


def test_buildah_pushes_all_images_as_one_list_and_its_blobs_are_the_stream(
    tmp_path: Path,
) -> None:
    def push(argv: Sequence[str]) -> str:
        folder = Path(argv[-1].removeprefix("dir:"))
        (folder / ("b" * 64)).write_bytes(b"layer")
        (folder / ("a" * 64)).write_bytes(b"{}")
        (folder / f"{'c' * 64}.manifest.json").write_bytes(b"{}")
        (folder / "version").write_bytes(b"1")
        return ""

    program = Program({"push": push})
    with BuildahEngine(run=program).save([ID, "sha256:" + "d" * 64]) as saved:
        content = b""
        while piece := saved.read(1 << 16):
            content += piece
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        assert {m.name: m.size for m in tar} == {
            f"blobs/sha256/{'a' * 64}": 2,
            f"blobs/sha256/{'b' * 64}": 5,
        }
    name = program.calls[0][-1]
    assert name.startswith("localhost/containerpkg-")
    (place,) = [call[-1] for call in program.calls if "push" in call]
    assert program.calls == [
        ["buildah", "manifest", "create", name],
        ["buildah", "manifest", "add", name, f"containers-storage:{'a' * 64}"],
        ["buildah", "manifest", "add", name, f"containers-storage:{'d' * 64}"],
        ["buildah", "manifest", "push", "--all", "--quiet", name, place],
        ["buildah", "manifest", "rm", name],
    ]
    assert list(tmp_path.iterdir()) == []


def test_the_list_is_removed_when_its_push_fails(tmp_path: Path) -> None:
    program = Program({"push": failed("Error: no space left")})
    with (
        pytest.raises(EngineError, match=r"^buildah refuses: no space left$"),
        BuildahEngine(run=program).save([ID]),
    ):
        pass
    assert program.calls[-1][:3] == ["buildah", "manifest", "rm"]
    assert list(tmp_path.iterdir()) == []


def test_a_version_that_cannot_be_read_is_an_error(name: str) -> None:
    with pytest.raises(EngineError, match=f"^{name} says no version that can be read: 'what'$"):
        engine(name, Program({"--version": "what\n"})).builder()


def test_nothing_is_written_to_the_environment(name: str) -> None:
    before = dict(os.environ)
    program = Program({"--version": SAYS[name], "build": builds})
    engine(name, program).build(replace(PLAIN, args={"A": "b"}), lambda _: None)
    assert dict(os.environ) == before
