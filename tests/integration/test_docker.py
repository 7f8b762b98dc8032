"""Real builds by Docker Engine, with both of its builders, into the store and out again."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import pytest
import zstandard

from containerpkg import process
from containerpkg.definitions.load import load_project
from containerpkg.definitions.project import Project
from containerpkg.engines.docker import DockerEngine
from containerpkg.errors import BuildError
from containerpkg.progress import Silent
from containerpkg.release.make import Options, Report, Workshop
from containerpkg.store.content import StoredImage

ROOT = Path(__file__).parents[2]
REGISTRY = "quay.io/storetests"
BUILDERS = ("classic", "buildkit")
Builder = Literal["auto", "classic", "buildkit"]

HIDDEN = "hidden-e1d2c3"
MARK = "org.example.storetests=1"
TOOLS = f"""\
FROM scratch
LABEL {MARK}
COPY busybox /bin/
RUN ["/bin/busybox", "--install", "-s", "/bin"]
"""


@pytest.fixture(scope="module", autouse=True)
def clean_engine() -> Iterator[None]:
    """The tests' images are gone after them, also those that a later build took the name from."""
    yield
    newest_first = process.run(
        ["docker", "images", "--quiet", "--no-trunc", f"--filter=label={MARK}"]
    ).stdout.split()
    if newest_first:
        process.run(["docker", "rmi", "--force", *dict.fromkeys(newest_first)])


class Site:
    """A project in a folder, with a ``tools`` image to build on."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write({"containerpkg.yaml": self.settings(), "images/tools/Dockerfile": TOOLS})
        busybox = shutil.which("busybox")
        assert busybox
        shutil.copy(busybox, root / "images/tools/busybox")

    @staticmethod
    def settings(more: str = "") -> str:
        return f"registry: {REGISTRY}\nvendor: Tests\n{more}"

    def write(self, files: Mapping[str, str]) -> None:
        for name, text in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            if path.name == "Dockerfile" and not (path.parent / "image.yaml").exists():
                (path.parent / "image.yaml").write_text("summary: An image\nlicense: MIT\n")

    @property
    def project(self) -> Project:
        return load_project(self.root)

    def build(self, *names: str, builder: Builder = "auto", engine: Any = None) -> Report:
        project = self.project
        images = [image for image in project.images if image.name in names]
        workshop = Workshop(project, progress=Silent())
        engine = engine or DockerEngine(builder=builder)
        return workshop.build(images, engine, Options(jobs=2, no_cache=True))

    def built(self, name: str, *, builder: Builder = "auto") -> StoredImage:
        """``name`` and ``tools``, built and stored; the whole error where it did not build."""
        report = self.build("tools", name, builder=builder)
        for outcome in report.outcomes:
            if outcome.error:
                raise outcome.error
        return self.stored(name)

    def stored(self, name: str) -> StoredImage:
        project = self.project
        workshop = Workshop(project, progress=Silent())
        ((_, stored),) = workshop.stored([project.image(name)])
        return stored

    def config(self, stored: StoredImage) -> dict[str, Any]:
        loaded: dict[str, Any] = json.loads(self.blob(stored.config.digest).read_bytes())
        return loaded

    def blob(self, digest: str) -> Path:
        return self.root / ".containerpkg/blobs/sha256" / digest.removeprefix("sha256:")

    def layers(self, stored: StoredImage) -> list[bytes]:
        """The layers' tars."""
        found = []
        for layer in stored.layers:
            with self.blob(layer.blob.digest).open("rb") as file:
                reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
                found.append(reader.read())
                assert len(found[-1]) == layer.plain_size
        return found

    def files(self, stored: StoredImage) -> dict[str, tuple[bytes, int, str, bytes]]:
        """Type, permissions, link target and content of everything in the image, by path."""
        found = {}
        for layer in self.layers(stored):
            with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
                for info in tar:
                    file = tar.extractfile(info) if info.isreg() else None
                    found[info.name.strip("/")] = (
                        info.type,
                        info.mode & 0o7777,
                        info.linkname,
                        file.read() if file else b"",
                    )
        return found


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_both_builders_make_the_same_image(site: Site) -> None:
    folder = site.root / "images/app"
    site.write(
        {
            "images/app/Dockerfile": f"""\
FROM {REGISTRY}/tools:1.0 AS made
ARG WHO=nobody
RUN mkdir /out && echo "for $WHO" >/out/greeting && chmod 600 /out/greeting && ln -s greeting /out/l
FROM scratch
LABEL {MARK}
COPY --from=made /out /data
COPY files /files/
COPY run.sh /usr/bin/run
ENV A="b c" PATH=/usr/bin
LABEL org.example.title="An \\"app\\""
EXPOSE 80/tcp
VOLUME /var/lib/app
WORKDIR /data
USER 1000:1000
STOPSIGNAL SIGINT
ENTRYPOINT ["/usr/bin/run"]
CMD ["-v"]
""",
            "images/app/run.sh": "#!/bin/sh\n",
            "images/app/files/sub/plain": "p",
            "images/app/.dockerignore": "**/*.log\n",
            "images/app/files/x.log": "",
            "images/app/image.yaml": (
                "summary: An app\nlicense: MIT\nbuild: {args: {WHO: 'you and me'}}\n"
            ),
        }
    )
    (folder / "run.sh").chmod(0o700)
    (folder / "files/link").symlink_to("sub/plain")
    strange = folder / "files" / os.fsdecode(b"caf\xe9 \n\\x")
    strange.write_text("s")
    found = {}
    for builder in BUILDERS:
        shutil.rmtree(site.root / ".containerpkg", ignore_errors=True)
        stored = site.built("app", builder=builder)  # type: ignore[arg-type]
        config = site.config(stored)
        # The classic builder adds the container that it made the image in, BuildKit a remark
        # that only Windows reads.
        wanted = {
            name: value
            for name, value in config["config"].items()
            if value and name not in {"Hostname", "Image", "Domainname", "ArgsEscaped"}
        }
        found[builder] = (site.files(stored), wanted, config["architecture"], config["os"])
    assert found["classic"] == found["buildkit"]
    files, config, *_ = found["classic"]
    regular, link, folder_type = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE
    assert {name: entry for name, entry in files.items() if entry[0] != folder_type} == {
        "data/greeting": (regular, 0o600, "", b"for you and me\n"),
        "data/l": (link, 0o777, "greeting", b""),
        "files/sub/plain": (regular, 0o644, "", b"p"),
        "files/link": (link, 0o777, "sub/plain", b""),
        f"files/{strange.name}": (regular, 0o644, "", b"s"),
        "usr/bin/run": (regular, 0o755, "", b"#!/bin/sh\n"),
    }
    assert config == {
        "Cmd": ["-v"],
        "Entrypoint": ["/usr/bin/run"],
        "Env": ["PATH=/usr/bin", "A=b c"],
        "ExposedPorts": {"80/tcp": {}},
        "Labels": {"org.example.title": 'An "app"', "org.example.storetests": "1"},
        "StopSignal": "SIGINT",
        "User": "1000:1000",
        "Volumes": {"/var/lib/app": {}},
        "WorkingDir": "/data",
    }


@pytest.mark.parametrize("builder", BUILDERS)
def test_arguments_and_proxies_reach_the_build_and_proxies_do_not_stay(
    site: Site, builder: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://me:{HIDDEN}@127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", f"{HIDDEN}.example")
    site.write(
        {
            "images/app/Dockerfile": f"""\
FROM {REGISTRY}/tools:1.0
ARG SHARED
ARG HOME
ARG DOCKER_HOST
RUN test "$http_proxy" = "http://me:$(echo hidden)-e1d2c3@127.0.0.1:1"
RUN test "$NO_PROXY" = "$(echo hidden)-e1d2c3.example"
RUN echo "$SHARED,$HOME,$DOCKER_HOST,$UNDECLARED" >/seen
""",
            "images/app/image.yaml": (
                "summary: An app\nlicense: MIT\n"
                "build: {args: {HOME: /srv, DOCKER_HOST: 'tcp://x:1'}}\n"
            ),
            "containerpkg.yaml": site.settings(
                "build: {args: {SHARED: 'a \"b\" $c', UNDECLARED: never}}\n"
            ),
        }
    )
    stored = site.built("app", builder=builder)
    assert site.files(stored)["seen"][3] == b'a "b" $c,/srv,tcp://x:1,\n'
    assert_nowhere(site, stored)


def assert_nowhere(site: Site, stored: StoredImage) -> None:
    for content in (
        *site.layers(stored),
        site.blob(stored.config.digest).read_bytes(),
        site.blob(stored.manifest.digest).read_bytes(),
        *(path.read_bytes() for path in (site.root / ".containerpkg/logs").iterdir()),
        *(path.read_bytes() for path in (site.root / ".containerpkg/builds").glob("*/*")),
    ):
        assert HIDDEN.encode() not in content
    assert (
        HIDDEN
        not in process.run(["docker", "history", "--no-trunc", "--format=json", stored.id]).stdout
    )


def test_secrets_and_the_ca_bundle_reach_the_build_and_do_not_stay(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORETESTS_TOKEN", f"{HIDDEN} token")
    site.write(
        {
            "images/app/Dockerfile": f"""\
FROM {REGISTRY}/tools:1.0
RUN --mount=type=secret,id=token --mount=type=secret,id=file --mount=type=secret,id=ca-bundle \\
    cat /run/secrets/token /run/secrets/file /run/secrets/ca-bundle | sha256sum >/seen
RUN ls -A /run >/left
""",
            "images/app/image.yaml": (
                "summary: An app\nlicense: MIT\nbuild: {secrets: [token, file]}\n"
            ),
            "containerpkg.yaml": site.settings(
                "build:\n  ca_bundle: 'pki, \"all\"/ca.pem'\n  secrets:\n"
                "    token: {env: STORETESTS_TOKEN}\n    file: {file: 'a,b \"c\".txt'}\n"
            ),
            'a,b "c".txt': f"{HIDDEN} file\n",
            'pki, "all"/ca.pem': f"{HIDDEN} bundle\n",
        }
    )
    stored = site.built("app", builder="buildkit")
    content = f"{HIDDEN} token{HIDDEN} file\n{HIDDEN} bundle\n".encode()
    files = site.files(stored)
    assert files["seen"][3] == f"{hashlib.sha256(content).hexdigest()}  -\n".encode()
    assert b"token" not in files["left"][3]
    assert_nowhere(site, stored)


@pytest.mark.parametrize("builder", BUILDERS)
@pytest.mark.parametrize(("network", "present"), [("none", False), ("default", True)])
def test_the_network_of_a_build(site: Site, builder: Builder, network: str, present: bool) -> None:
    site.write(
        {
            "images/app/Dockerfile": (
                f"FROM {REGISTRY}/tools:1.0\nRUN ls /sys/class/net >/interfaces # {network}\n"
            ),
            "images/app/image.yaml": (
                f"summary: An app\nlicense: MIT\nbuild: {{network: {network}}}\n"
            ),
        }
    )
    stored = site.built("app", builder=builder)
    interfaces = site.files(stored)["interfaces"][3].split()
    assert (b"eth0" in interfaces) is present
    assert b"lo" in interfaces


@pytest.mark.parametrize("builder", BUILDERS)
def test_a_failing_build_tells_its_last_lines_and_takes_only_its_children_along(
    site: Site, builder: Builder
) -> None:
    site.write(
        {
            "containerpkg.yaml": site.settings(f"build: {{builder: {builder}}}\n"),
            "images/bad/Dockerfile": (
                f"FROM {REGISTRY}/tools:1.0\n"
                'RUN for n in $(seq 40); do echo "line $n"; done; echo "the reason"; exit 3\n'
            ),
            "images/child/Dockerfile": f"FROM {REGISTRY}/bad:1.0\nCOPY Dockerfile /\n",
            "images/good/Dockerfile": f"FROM {REGISTRY}/tools:1.0\nCOPY Dockerfile /\n",
        }
    )
    done = subprocess.run(
        [sys.executable, "-m", "containerpkg", "build", "--json", "--no-cache"],
        cwd=site.root,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == BuildError.exit_status, done.stderr
    report = json.loads(done.stdout)
    assert {image["image"]: image["status"] for image in report["images"]} == {
        "tools": "built",
        "bad": "failed",
        "child": "skipped",
        "good": "built",
    }
    log = site.root / ".containerpkg/logs/bad.log"
    assert f"hint: the whole log: {log}\n" in done.stderr
    error = done.stderr[done.stderr.index("containerpkg: error: image 'bad' did not build: ") :]
    assert "line 40\n" in error
    assert "the reason\n" in error
    assert "line 5\n" not in error
    assert "line 1\n" in log.read_text()
    assert "child" in error
    assert site.stored("good").layers


@pytest.mark.parametrize(
    ("line", "feature"),
    [("RUN <<E\necho x\nE", "heredoc"), ("RUN --mount=type=cache,target=/c true", "RUN --mount")],
    ids=["heredoc", "mount"],
)
def test_what_needs_buildkit_says_so_without_it(site: Site, line: str, feature: str) -> None:
    site.write({"images/app/Dockerfile": f"FROM {REGISTRY}/tools:1.0\n{line}\n"})

    def run(argv: list[str], **options: Any) -> process.Result:
        assert argv[:2] == ["docker", "buildx"]
        raise process.CommandFailed(argv, 1, "docker: unknown command: docker buildx")

    without: Any = run
    for engine, why, hint in (
        (
            DockerEngine(run=without),
            "'docker buildx' is not installed",
            "install docker-buildx (docker-buildx-plugin) or run scripts/bootstrap",
        ),
        (
            DockerEngine(builder="classic"),
            "build.builder is 'classic'",
            "set build.builder in containerpkg.yaml to 'auto' or 'buildkit'",
        ),
    ):
        error = site.build("tools", "app", engine=engine).outcomes[-1].error
        assert error
        assert (
            error.message == f"image 'app' needs BuildKit for {feature} (Dockerfile:2), and {why}"
        )
        assert error.hint
        assert error.hint.startswith(hint)


@pytest.fixture
def podman() -> Iterator[list[str]]:
    """The command with a storage of its own, which has to have a short path."""
    root = tempfile.mkdtemp(prefix="st")
    command = ["podman", f"--root={root}/s", f"--runroot={root}/r", "--storage-driver=vfs"]
    yield command
    process.run([*command, "rmi", "--all", "--force"])
    shutil.rmtree(root)


def test_what_is_saved_loads_in_docker_and_in_podman(site: Site, podman: list[str]) -> None:
    site.write({"images/app/Dockerfile": f"FROM {REGISTRY}/tools:1.0\nCOPY Dockerfile /\n"})
    stored = site.built("app")
    for name in ("one.tar", "two.tar"):
        process.run(
            [sys.executable, "-m", "containerpkg", "--quiet", "save", "app", "tools", "-o", name],
            cwd=site.root,
            env={"PYTHONPATH": str(ROOT)},
        )
    archive = site.root / "one.tar"
    assert archive.read_bytes() == (site.root / "two.tar").read_bytes()
    references = {
        f"{REGISTRY}/app:1.0": stored.id,
        f"{REGISTRY}/tools:1.0": site.stored("tools").id,
    }
    process.run(["docker", "rmi", "--force", *references])
    process.run(["docker", "load", f"--input={archive}"])
    process.run([*podman, "load", f"--input={archive}"])
    for engine in (["docker"], podman):
        for reference, image_id in references.items():
            shown = process.run([*engine, "image", "inspect", "--format={{.Id}}", reference])
            found = shown.stdout.strip().removeprefix("sha256:")
            assert (engine[0], f"sha256:{found}") == (engine[0], image_id)


@pytest.mark.parametrize("builder", BUILDERS)
def test_a_parent_that_the_engine_lost_comes_back_from_the_store(
    site: Site, builder: Builder
) -> None:
    site.write({"images/app/Dockerfile": f"FROM {REGISTRY}/tools:1.0\nCOPY Dockerfile /a\n"})
    first = site.built("app", builder=builder)
    tools = site.stored("tools")
    process.run(["docker", "rmi", "--force", f"{REGISTRY}/app:1.0", f"{REGISTRY}/tools:1.0"])
    assert DockerEngine().inspect(f"{REGISTRY}/tools:1.0") is None
    site.write({"images/app/Dockerfile": f"FROM {REGISTRY}/tools:1.0\nCOPY Dockerfile /b\n"})
    report = site.build("app", builder=builder)
    assert [outcome.error for outcome in report.outcomes] == [None]
    second = site.stored("app")
    assert second.id != first.id
    assert second.layers[:-1] == first.layers[:-1] == tools.layers
    found = DockerEngine().inspect(f"{REGISTRY}/tools:1.0")
    assert found is not None
    assert found.id == tools.id
