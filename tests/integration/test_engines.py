"""Podman and buildah at work: secrets, networks, Ctrl-C, and parents that another engine built."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import zstandard

from containerpkg import process
from containerpkg.errors import BuildError

ROOT = Path(__file__).parents[2]
REGISTRY = "quay.io/enginetests"
MARK = "org.example.engines=1"
HIDDEN = "hidden-a5b4c3"

ENGINES: Mapping[str, Mapping[str, str]] = {
    "podman": {"engine": "podman"},
    "buildah": {"engine": "buildah"},
    "buildah-chroot": {"engine": "buildah", "isolation": "chroot"},
}


class Site:
    """A project in a folder, with a ``tools`` image to build on, and no Docker Engine anywhere."""

    def __init__(self, root: Path, engine: str) -> None:
        self.root, self.engine = root, engine
        self.settings = "".join(f"  {k}: {v}\n" for k, v in ENGINES[engine].items())
        self.write(
            {
                "containerpkg.yaml": self.project(),
                "images/tools/Dockerfile": (
                    f"FROM scratch\nLABEL {MARK}\nCOPY busybox /bin/\n"
                    'RUN ["/bin/busybox", "--install", "-s", "/bin"]\n'
                ),
            }
        )
        busybox = shutil.which("busybox")
        assert busybox
        shutil.copy(busybox, root / "images/tools/busybox")

    def project(self, more: str = "") -> str:
        return f"registry: {REGISTRY}\nvendor: Tests\nbuild:\n{self.settings}{more}"

    def write(self, files: Mapping[str, str]) -> None:
        for name, text in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            if path.name == "Dockerfile" and not (path.parent / "image.yaml").exists():
                (path.parent / "image.yaml").write_text("summary: An image\nlicense: MIT\n")

    def start(
        self, *words: str, env: Mapping[str, str] | None = None, docker: bool = False
    ) -> subprocess.Popen[str]:
        nowhere = {} if docker else {"DOCKER_HOST": f"unix://{self.root}/no-engine"}
        return subprocess.Popen(
            [sys.executable, "-m", "containerpkg", *words],
            cwd=self.root,
            env={**os.environ, "PYTHONPATH": str(ROOT), **nowhere, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def call(
        self,
        *words: str,
        env: Mapping[str, str] | None = None,
        status: int = 0,
        docker: bool = False,
    ) -> tuple[str, str]:
        child = self.start(*words, env=env, docker=docker)
        out, err = child.communicate(timeout=300)
        assert child.returncode == status, err
        return out, err

    def layers(self, name: str) -> list[tuple[str, bytes]]:
        """Diff ID and tar of each layer of an image as it was built last."""
        newest = max(
            (self.root / ".containerpkg/builds" / name).glob("*.json"), key=os.path.getmtime
        )
        image_id = json.loads(newest.read_bytes())["image_id"].removeprefix("sha256:")
        config = json.loads(self.blob(image_id).read_bytes())
        found = []
        for diff_id in config["rootfs"]["diff_ids"]:
            (record,) = (self.root / ".containerpkg/layers").glob(f"*/{diff_id[7:]}.json")
            packed = self.blob(json.loads(record.read_bytes())["blob"]["digest"][7:])
            with packed.open("rb") as file:
                reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
                found.append((diff_id, reader.read()))
            assert f"sha256:{hashlib.sha256(found[-1][1]).hexdigest()}" == diff_id
        return found

    def blob(self, hexadecimal: str) -> Path:
        return self.root / ".containerpkg/blobs/sha256" / hexadecimal

    def read(self, name: str, path: str) -> bytes:
        for _, layer in reversed(self.layers(name)):
            with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
                for info in tar:
                    if info.name.strip("/") == path and (file := tar.extractfile(info)):
                        return file.read()
        raise FileNotFoundError(path)


@pytest.fixture(params=ENGINES)
def site(request: pytest.FixtureRequest, tmp_path: Path, containers: Path) -> Iterator[Site]:
    yield Site(tmp_path, request.param)
    # The cache would serve the next engine too.
    process.run(["buildah", "rmi", "--all", "--force"])


def test_arguments_secrets_and_proxies_reach_the_build_and_do_not_stay(site: Site) -> None:
    site.write(
        {
            "containerpkg.yaml": site.project(
                "  ca_bundle: 'pki, \"all\"/ca.pem'\n"
                "  args: {SHARED: 'a \"b\" $c', UNDECLARED: never}\n"
                "  secrets:\n    token: {env: ENGINE_TOKEN}\n    file: {file: 'a,b \"c\".txt'}\n"
            ),
            "images/app/Dockerfile": f"""\
FROM {REGISTRY}/tools:1.0
ARG SHARED
ARG HOME
ARG CONTAINERS_CONF
RUN test "$http_proxy" = "http://me:$(echo hidden)-a5b4c3@127.0.0.1:1"
RUN test "$NO_PROXY" = "$(echo hidden)-a5b4c3.example"
RUN echo "$SHARED,$HOME,$CONTAINERS_CONF,$UNDECLARED" >/seen
RUN --mount=type=secret,id=token --mount=type=secret,id=file --mount=type=secret,id=ca-bundle \\
    cat /run/secrets/token /run/secrets/file /run/secrets/ca-bundle | sha256sum >/sum
""",
            "images/app/image.yaml": (
                "summary: An app\nlicense: MIT\n"
                "build: {secrets: [token, file], args: {HOME: /srv, CONTAINERS_CONF: /x}}\n"
            ),
            'a,b "c".txt': f"{HIDDEN} file\n",
            'pki, "all"/ca.pem': f"{HIDDEN} bundle\n",
        }
    )
    env = {
        "ENGINE_TOKEN": f"{HIDDEN} token",
        "http_proxy": f"http://me:{HIDDEN}@127.0.0.1:1",
        "NO_PROXY": f"{HIDDEN}.example",
    }
    site.call("build", env=env)
    assert site.read("app", "seen") == b'a "b" $c,/srv,/x,\n'
    content = f"{HIDDEN} token{HIDDEN} file\n{HIDDEN} bundle\n".encode()
    assert site.read("app", "sum") == f"{hashlib.sha256(content).hexdigest()}  -\n".encode()
    kept = [layer for _, layer in site.layers("app")]
    # Blobs that are packed are the layers of above.
    store = site.root / ".containerpkg"
    kept += [p.read_bytes() for p in store.rglob("*") if p.is_file()]
    assert not [content for content in kept if HIDDEN.encode() in content]


def test_the_network_of_a_build(site: Site) -> None:
    def build_with(network: str) -> tuple[str, set[str]]:
        """The network that a build had, and its interfaces."""
        write(network)
        site.call("build", "--no-cache")
        own, *interfaces = site.read("app", "network").decode().split()
        return own, {*interfaces}

    def write(network: str) -> None:
        site.write(
            {
                "images/app/Dockerfile": (
                    f"FROM {REGISTRY}/tools:1.0\n"
                    "RUN (readlink /proc/self/ns/net && ls /sys/class/net) >/network\n"
                ),
                "images/app/image.yaml": (
                    f"summary: An app\nlicense: MIT\nbuild: {{network: {network}}}\n"
                ),
            }
        )

    here = str(Path("/proc/self/ns/net").readlink())
    assert build_with("host")[0] == here
    if site.engine == "buildah-chroot":
        assert build_with("default")[0] == here
        write("none")
        _, err = site.call("build", status=BuildError.exit_status)
        assert "error: image 'app' is to be built without network, and chroot isolation" in err
        return
    own, interfaces = build_with("default")
    assert own != here
    assert interfaces > {"lo"}
    own, interfaces = build_with("none")
    assert own != here
    assert interfaces == {"lo"}


def test_a_failing_step_is_told_and_takes_nobody_else_along(site: Site) -> None:
    site.write(
        {
            "images/bad/Dockerfile": (
                f'FROM {REGISTRY}/tools:1.0\nRUN echo "the reason" >&2; exit 3\n'
            ),
            "images/good/Dockerfile": f"FROM {REGISTRY}/tools:1.0\nRUN true\n",
        }
    )
    out, err = site.call("build", "--json", status=BuildError.exit_status)
    assert {image["image"]: image["status"] for image in json.loads(out)["images"]} == {
        "tools": "built",
        "bad": "failed",
        "good": "built",
    }
    error = err[err.index("containerpkg: error: image 'bad' did not build: building at STEP ") :]
    assert "exit status 3" in error
    assert "the reason\n" in error
    assert f"hint: the whole log: {site.root}/.containerpkg/logs/bad.log\n" in error


def test_ctrl_c_ends_what_the_engine_runs(site: Site) -> None:
    mark = f"build-of-{uuid.uuid4().hex}"
    site.write(
        {
            "images/app/Dockerfile": (
                f"FROM {REGISTRY}/tools:1.0\nRUN MARK={mark} sleep 600 & wait\n"
            )
        }
    )
    child = site.start("build")
    try:
        while not running(mark):
            assert child.poll() is None, child.communicate()
            os.sched_yield()
    finally:
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=60)
    assert child.returncode == 128 + signal.SIGINT
    assert not running(mark)
    if site.engine == "podman":
        # It leaves the container of the step behind, without a process; buildah does not.
        process.run(["buildah", "rm", "--all"])
    assert process.run(["buildah", "containers", "--quiet"]).stdout == ""


def running(mark: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark.encode() in path.read_bytes():
                found.append(path.parent.name)
        except OSError:
            continue  # it has ended
    return found


def test_a_parent_that_docker_built_comes_from_the_store(site: Site) -> None:
    site.write(
        {
            "images/middle/Dockerfile": f"FROM {REGISTRY}/tools:1.0\nRUN echo middle >/middle\n",
            "images/last/Dockerfile": (
                f"FROM {REGISTRY}/middle:1.0\n"
                f"COPY --from={REGISTRY}/tools:1.0 /bin/busybox /other\n"
                "RUN cat /middle >/last\n"
            ),
        }
    )
    try:
        site.call("build", "tools", "--engine=docker", docker=True)
        _, err = site.call("build", "middle")
        assert f"load {REGISTRY}/tools:1.0 from the store into the engine\n" in err
        _, err = site.call("build", "last", "--engine=docker", docker=True)
        assert f"load {REGISTRY}/middle:1.0 from the store into the engine\n" in err
    finally:
        ids = process.run(["docker", "images", "--quiet", "--no-trunc", f"--filter=label={MARK}"])
        process.run(["docker", "rmi", "--force", *dict.fromkeys(ids.stdout.split())])
    assert site.read("last", "last") == b"middle\n"
    tools, middle, last = ([d for d, _ in site.layers(n)] for n in ("tools", "middle", "last"))
    assert middle[: len(tools)] == tools
    assert last[: len(middle)] == middle
    assert len(tools) < len(middle) < len(last)
    out, _ = site.call("build", "--json")
    assert {image["status"] for image in json.loads(out)["images"]} == {"kept"}


def test_a_project_becomes_a_repository_without_any_daemon(site: Site) -> None:
    site.write(
        {
            "images/one/Dockerfile": f"FROM {REGISTRY}/tools:1.0\nCOPY Dockerfile /\n",
            "images/two/Dockerfile": f"FROM {REGISTRY}/tools:1.0\nRUN echo two >/two\n",
        }
    )
    _, err = site.call("make")
    program = site.engine.partition("-")[0]
    assert f"] building with {program} " in err
    assert ("with chroot isolation" in err) is (site.engine == "buildah-chroot")
    packages = {path.name.rpartition("-1.0-")[0] for path in site.root.glob("out/repo/*/*.rpm")}
    assert packages >= {"tools-container", "one-container", "two-container"}
    _, err = site.call("make")
    assert "building with" not in err
    # What the engine has forgotten comes from the store, and what the store has lost is built.
    process.run(["buildah", "rmi", "--all", "--force"])
    site.write({"images/two/Dockerfile": f"FROM {REGISTRY}/tools:1.0\nRUN echo again >/two\n"})
    _, err = site.call("make")
    assert f"load {REGISTRY}/tools:1.0 from the store into the engine\n" in err
    assert site.read("two", "two") == b"again\n"
