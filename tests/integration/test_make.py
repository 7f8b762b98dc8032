"""``containerpkg make`` as a person runs it: real engine, rpmbuild and dnf, and real trouble."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import createrepo_c
import psutil
import pytest

from containerpkg.errors import NO_SPACE

SOURCE = Path(__file__).resolve().parents[2]
LABEL = f"maketests={os.getpid()}"
REGISTRY = f"quay.io/maketests/p{os.getpid()}"
SOCKET = "unix:///nonexistent/docker.sock"
NOWHERE = {"DOCKER_HOST": SOCKET}
SLEEP = f"{100_000 + os.getpid()}"
PATIENCE = 60
BUILDERS = pytest.mark.parametrize("builder", ["classic", "buildkit"])

TREE = {
    "containerpkg.yaml": (
        f"registry: {REGISTRY}\nvendor: Tests\n"
        "repository: {baseurl: 'https://yum.example.org/el9'}\n"
    ),
    "images/base/Dockerfile": (
        f"FROM scratch\nLABEL {LABEL}\nCOPY busybox pad /\nCMD [\"/busybox\", \"sh\"]\n"
    ),
    "images/base/image.yaml": "summary: The base\nlicense: GPL-2.0-only\n",
    "images/app/Dockerfile": f"FROM {REGISTRY}/base:1.0\nCOPY own /own\n",
    "images/app/image.yaml": (
        "summary: The app\nlicense: MIT\nservices:\n  app:\n"
        "    config: [{source: app.conf, target: /etc/app.conf}]\n"
    ),
    "images/app/app.conf": "a = 1\n",
    "images/app/.dockerignore": "app.conf\n",
    "images/web/Dockerfile": f"FROM {REGISTRY}/base:1.0\nCOPY page /page\n",
    "images/web/image.yaml": "summary: The web\nlicense: MIT\n",
    "images/web/page": "a page\n",
}  # fmt: skip


def write_project(root: Path, changes: Mapping[str, str] = {}) -> Path:
    for name, text in {**TREE, **changes}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
        if text.startswith("#!"):
            (root / name).chmod(0o755)
    shutil.copy("/bin/busybox", root / "images/base/busybox")
    (root / "images/base/pad").write_bytes(noise(1, 1_500_000))
    (root / "images/app/own").write_bytes(noise(2, 1_200_000))
    return root


def noise(seed: int, size: int) -> bytes:
    """Bytes that no compressor makes smaller."""
    return random.Random(seed).randbytes(size)


def argv(root: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "containerpkg", "-C", str(root), *arguments]


def environment(changes: Mapping[str, str] = {}) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(SOURCE), **changes}


def call(
    root: Path, *arguments: str, status: int = 0, env: Mapping[str, str] = {}
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        argv(root, *arguments), env=environment(env), capture_output=True, text=True, check=False
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def report(root: Path, *arguments: str, **options: Any) -> dict[str, Any]:
    return json.loads(call(root, *arguments, "--json", **options).stdout)


def statuses(found: dict[str, Any]) -> dict[str, str]:
    return {image["image"]: image["status"] for image in found["images"]}


def packages(out: Path) -> dict[str, Path]:
    return {path.name: path for path in (out / "repo/packages").iterdir()}


def state(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.name != ".lock"
    }


def digests(out: Path) -> dict[str, str]:
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in packages(out).items()
    }


def stripped(name: str) -> str:
    """A package's file name without the stamp of its release."""
    return re.sub(r"\d{14}", "STAMP", name)


def wait_for(what: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.002)


def sleepers() -> list[psutil.Process]:
    """The processes of RUN instructions that sleep, in whatever container."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if process.info["cmdline"] == ["/busybox", "sleep", SLEEP]
    ]


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [
        process
        for process in processes
        if process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    ]


@contextmanager
def running(root: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    child = subprocess.Popen(
        argv(root, *arguments),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with child:
        try:
            yield child
        finally:
            child.kill()


def check_repository(root: Path) -> None:
    """Everything that must be true of a finished project, whatever happened before."""
    out, store = root / "out", root / ".containerpkg"
    rpms = packages(out)
    subprocess.run(
        ["rpmkeys", "--checksig", "--nosignature", *map(str, rpms.values())],
        check=True,
        capture_output=True,
    )
    reader = createrepo_c.RepositoryReader.from_path(str(out / "repo"))
    listed = list(reader.iter_packages())
    assert sorted(package.location_href for package in listed) == [
        f"packages/{name}" for name in sorted(rpms)
    ]
    for package in listed:
        assert package.pkgId == hashlib.sha256((out / "repo" / package.location_href).read_bytes()).hexdigest()  # fmt: skip  # noqa: E501
    nevras = [package.nevra() for package in listed]
    assert len(set(nevras)) == len(nevras)
    left = [path for folder in (out, store) for path in folder.rglob(".*") if path.name != ".lock"]
    assert left == []
    assert list((store / "tmp").iterdir()) == []


def docker(*arguments: str) -> list[str]:
    """The lines that the client prints, each once."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True)
    return sorted(set(done.stdout.split()))


@pytest.fixture(scope="module", autouse=True)
def _engine() -> Iterator[None]:
    """Take away what these tests leave in the engine."""
    yield
    if left := docker("ps", "--all", "--quiet", f"--filter=label={LABEL}"):
        docker("rm", "--force", *left)
    ours = ("images", "--all", "--quiet", "--no-trunc", f"--filter=label={LABEL}")
    while left := docker(*ours):
        # Some go only after those that are built on them.
        subprocess.run(["docker", "rmi", "--force", *left], capture_output=True, check=False)
        assert docker(*ours) != left


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that was made once."""
    root = write_project(tmp_path_factory.mktemp("first") / "project")
    found = report(root, "make")
    assert statuses(found) == dict.fromkeys(("base", "app", "web"), "built")
    check_repository(root)
    return root


@pytest.fixture
def made(first: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(first, tmp_path / "project", symlinks=True))


def test_make_once_more_and_after_a_change(made: Path, tmp_path: Path) -> None:
    rpms = packages(made / "out")
    assert len([name for name in rpms if name.startswith("oci-layer-")]) == 2
    before = {**state(made / "out"), **state(made / ".containerpkg/packages")}

    again = call(made, "make", env=NOWHERE)
    assert {**state(made / "out"), **state(made / ".containerpkg/packages")} == before
    assert [line.split()[:2] for line in again.stdout.splitlines()[1:4]] == [
        ["base", "kept"],
        ["app", "kept"],
        ["web", "kept"],
    ]
    assert again.stdout.splitlines()[-1] == f"{made}/out/repo: nothing to do"
    assert statuses(report(made, "make", env=NOWHERE)) == dict.fromkeys(
        ("base", "app", "web"), "kept"
    )

    (made / "images/app/own").write_bytes(noise(3, 1_300_000))
    found = report(made, "make")
    assert statuses(found) == {"base": "kept", "app": "built", "web": "kept"}
    new = {name: path for name, path in packages(made / "out").items() if name not in rpms}
    image, layer = sorted(map(stripped, new))
    assert image == "app-container-1.0-1.STAMP.el9.x86_64.rpm"
    assert re.fullmatch(r"oci-layer-[0-9a-f]{16}-1-1\.noarch\.rpm", layer)
    by_image = {package["image"]: package for package in found["packages"]}
    assert sorted(by_image["app"]["new"]) == sorted(new)
    assert by_image["app"]["update_bytes"] == sum(path.stat().st_size for path in new.values())
    assert by_image["base"]["update_bytes"] == by_image["web"]["update_bytes"] == 0
    after = state(made / "out")
    assert {str(path): after[str(path)] for path in rpms.values()} == {
        str(path): before[str(path)] for path in rpms.values()
    }
    check_repository(made)

    queried = subprocess.run(
        [
            "dnf",
            "--quiet",
            f"--installroot={tmp_path}",
            f"--setopt=cachedir={tmp_path}/cache",
            f"--setopt=reposdir={tmp_path}",
            "--releasever=9",
            f"--repofrompath=made,{made}/out/repo",
            "repoquery",
            "--queryformat=%{name}-%{version}-%{release}.%{arch}.rpm",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert sorted(queried.stdout.split()) == sorted(packages(made / "out"))


def test_a_web_server_may_read_all_of_it_whatever_the_umask(tmp_path: Path) -> None:
    root = write_project(tmp_path)
    before = os.umask(0o077)
    try:
        call(root, "make", "base")
    finally:
        os.umask(before)
    published = [root / "out", root / "out/repo", *(root / "out/repo").rglob("*")]
    assert {path for path in published if not path.stat().st_mode & 0o004} == set()


def test_packages_are_the_same_bytes_each_time(made: Path, tmp_path: Path) -> None:
    wanted = digests(made / "out")
    for out in ("a", "b"):
        call(made, "package", f"--output={tmp_path / out}", env=NOWHERE)
        assert digests(tmp_path / out) == wanted
    found = report(made, "package", f"--output={tmp_path / 'b'}", "--rebuild", env=NOWHERE)
    assert found["runtime"]["new"]
    assert {
        f"{found['runtime']['package']}.rpm",
        *(name for package in found["packages"] for name in package["new"]),
    } == set(wanted)
    assert digests(tmp_path / "b") == wanted


def test_an_image_that_is_no_package_ships_no_layer(tmp_path: Path) -> None:
    root = write_project(
        tmp_path,
        {
            "images/tools/Dockerfile": f"FROM scratch\nLABEL {LABEL}\nCOPY tools /\n",
            "images/tools/image.yaml": "summary: T\nlicense: MIT\npackaged: false\n",
            "images/web/Dockerfile": f"FROM {REGISTRY}/base:1.0\n"
            f"COPY --from={REGISTRY}/tools:1.0 /tools /tools\nCOPY page /page\n",
        },
    )
    (root / "images/tools/tools").write_bytes(noise(9, 1_400_000) + b"tools")
    found = report(root, "make", "web", "--with-parents")
    assert statuses(found) == {"base": "built", "tools": "built", "web": "built"}
    expected = {name for package in found["packages"] for name in package["new"]}
    assert packages(root / "out").keys() == expected
    assert [package["image"] for package in found["packages"]] == ["base", "web"]
    check_repository(root)


POINTS = 20
ATTEMPTS = 20
APPEARS = {
    "log": ".containerpkg/logs/*",
    "workspace": ".containerpkg/tmp/import-*/*",
    "blob": ".containerpkg/blobs/sha256/*",
    "image": ".containerpkg/images/*/*",
    "stage": ".containerpkg/tmp/packages-*/rpm-*/root/*",
    "release": ".containerpkg/packages/*/*",
    "package": "out/repo/packages/*.rpm",
    "metadata": "out/repo/.metadata-*/*",
    "repomd": "out/repo/repodata/repomd.xml",
}


def finish_and_check(root: Path, first: Path) -> None:
    call(root, "make")
    check_repository(root)
    # Also says that nothing was released twice.
    assert sorted(map(stripped, packages(root / "out"))) == sorted(
        map(stripped, packages(first / "out"))
    )
    records = [path.parent.name for path in (root / ".containerpkg/packages").glob("*/*")]
    assert sorted(records) == [
        "app-container",
        "base-container",
        "containerpkg-runtime",
        "web-container",
    ]


def test_killed_at_any_line(first: Path, tmp_path: Path) -> None:
    """Wherever a run tells something, and so in every part of it."""
    root = write_project(tmp_path / "project")
    lines = len(call(root, "make").stderr.splitlines())
    reached = set()
    for point in range(POINTS):
        for name in (".containerpkg", "out"):
            shutil.rmtree(root / name)
        with running(root, "make") as child:
            assert child.stderr is not None
            # A builder that tells less this time lets the run end before.
            line, left = "", lines * point // POINTS
            while left >= 0 and (told := child.stderr.readline()):
                line, left = told, left - 1
            child.kill()
        if child.wait() == -signal.SIGKILL:
            reached.add(re.sub(r"^\[ *[\d.]+\] (\w+).*", r"\1", line.rstrip()))
        finish_and_check(root, first)
    assert reached >= {"building", "build", "import", "package"}


@pytest.mark.parametrize("pattern", APPEARS.values(), ids=APPEARS)
def test_killed_when_something_appears(pattern: str, first: Path, tmp_path: Path) -> None:
    root = write_project(tmp_path / "project")
    for _ in range(ATTEMPTS):
        with running(root, "make") as child:
            wait_for(lambda: next(root.glob(pattern), None) or child.poll() is not None)
            child.kill()
        finish_and_check(root, first)
        if child.returncode == -signal.SIGKILL:
            break
        # The run was quicker than the look.
        for name in (".containerpkg", "out"):
            shutil.rmtree(root / name)
    assert child.returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    ("folder", "size"),
    [
        (".containerpkg", "1m"),
        (".containerpkg", "4m"),
        (".containerpkg", "6m"),
        ("out", "16k"),
        ("out", "1m"),
        ("out", "3500k"),
    ],
)
def test_disk_full(folder: str, size: str, first: Path, tmp_path: Path) -> None:
    root = write_project(tmp_path / "project")
    (root / folder).mkdir()
    # In a mount namespace of its own; what it says of the two runs comes back as one text.
    script = """
        mount -t tmpfs -o size="$1" tmpfs "$FOLDER" || exit 1
        shift
        "$@"; echo "status $?" >&2
        mount -o remount,size=64m "$FOLDER" || exit 1
        "$@"; echo "status $?" >&2
        cp -a "$FOLDER" "$FOLDER.kept"
    """
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", size, *argv(root, "make")],
        env=environment({"FOLDER": str(root / folder)}),
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.findall("^status .*", done.stderr, re.MULTILINE) == ["status 10", "status 0"]
    [error] = re.findall("^containerpkg: error: .*", done.stderr, re.MULTILINE)
    assert "no space left on" in error.lower()
    assert re.findall("^hint: (.*)", done.stderr, re.MULTILINE) == [NO_SPACE]
    assert "Traceback" not in done.stderr
    (root / folder).rmdir()
    (root / f"{folder}.kept").rename(root / folder)
    finish_and_check(root, first)


def test_two_runs_at_once(tmp_path: Path) -> None:
    root = write_project(
        tmp_path,
        {
            "images/base/image.yaml": "summary: x\nlicense: MIT\nprepare: wait\n",
            "images/base/wait": "#!/bin/sh\necho waiting\nread go < ../../go\n",
        },
    )
    os.mkfifo(root / "go")
    log = root / ".containerpkg/logs/base.log"
    with running(root, "make") as child:
        wait_for(lambda: log.is_file() and log.read_text() == "waiting\n")
        second = call(root, "make", status=11)
        assert second.stderr == (
            f"containerpkg: error: the store {root}/.containerpkg is in use by another "
            f"containerpkg (process {child.pid})\n"
            "hint: wait until it has ended, or choose another folder with --store and --output\n"
        )
        other = call(root, "make", "--store", str(tmp_path / "other"), status=11)
        assert f"the output folder {root}/out is in use" in other.stderr
        (root / "go").write_text("go\n")
        assert child.wait(PATIENCE) == 0
    check_repository(root)


def test_a_damaged_blob_is_named_and_healed(made: Path) -> None:
    wanted = digests(made / "out")
    layer = max((made / ".containerpkg/blobs/sha256").iterdir(), key=lambda p: p.stat().st_size)
    damaged = bytearray(layer.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    layer.chmod(0o644)
    layer.write_bytes(damaged)
    found = call(made, "package", "--rebuild", status=7, env=NOWHERE)
    assert f"blob sha256:{layer.name} in the store is damaged" in found.stderr
    assert digests(made / "out") == wanted, "no package was made of it"
    healed = report(made, "make")
    assert set(statuses(healed).values()) == {"taken"}
    assert layer.is_file()
    call(made, "package", "--rebuild", env=NOWHERE)
    assert digests(made / "out") == wanted


FAILING = {
    "images/web/Dockerfile": f"FROM {REGISTRY}/base:1.0\n"
    'RUN ["/busybox", "sh", "-c", "echo looking; echo no such page >&2; exit 3"]\n',
    "images/site/Dockerfile": f"FROM {REGISTRY}/web:1.0\n",
    "images/site/image.yaml": "summary: x\nlicense: MIT\n",
}


@BUILDERS
def test_an_image_that_does_not_build(builder: str, tmp_path: Path) -> None:
    root = write_project(tmp_path, FAILING)
    choose(root, builder, FAILING["images/web/Dockerfile"])
    plain = call(root, "make", status=6)
    log = root / ".containerpkg/logs/web.log"
    told = plain.stderr[plain.stderr.index("containerpkg: error: ") :].splitlines()
    assert told[0].startswith("containerpkg: error: image 'web' did not build: ")
    lines = [re.sub(r"^    #\d+ [\d.]+ ", "    ", line) for line in told]
    assert "    looking" in lines
    assert "    no such page" in lines
    assert told[-2:] == ["not built because of that: site", f"hint: the whole log: {log}"]
    assert "no such page" in log.read_text()
    rows = {line.split()[0]: line.split()[1] for line in plain.stdout.splitlines()[1:5]}
    assert rows == {"base": "built", "app": "built", "web": "failed", "site": "skipped"}
    check_repository(root)
    assert sorted(n[:4] for n in packages(root / "out")) == [
        "app-",
        "base",
        "cont",
        "oci-",
        "oci-",
    ]

    found = report(root, "make", status=6)
    assert statuses(found) == {"base": "kept", "app": "kept", "web": "failed", "site": "skipped"}
    [failed] = [image for image in found["images"] if image["status"] == "failed"]
    assert "no such page" in failed["error"]
    assert failed["hint"] == f"the whole log: {log}"

    (root / "images/web/Dockerfile").write_text(TREE["images/web/Dockerfile"])
    assert statuses(report(root, "make")) == {
        "base": "kept",
        "app": "kept",
        "web": "built",
        "site": "built",
    }


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize(
    ("env", "status", "message"),
    [
        ({"PATH": "/nonexistent"}, 4, "the program 'rpmbuild' is not installed or not in PATH"),
        (NOWHERE, 5, f"Docker Engine does not answer at {SOCKET}: No such file or directory"),
    ],
    ids=["rpmbuild", "engine"],
)
def test_what_is_missing(
    env: Mapping[str, str], status: int, message: str, as_json: bool, tmp_path: Path
) -> None:
    root = write_project(tmp_path)
    done = call(root, "make", *(["--json"] if as_json else []), status=status, env=env)
    assert f"containerpkg: error: {message}\nhint: " in done.stderr
    if as_json:
        error = json.loads(done.stdout)["error"]
        assert (error["message"], error["status"]) == (message, status)
        assert f"hint: {error['hint']}\n" in done.stderr
    else:
        assert done.stdout == ""
    call(root, "make")
    check_repository(root)


def choose(root: Path, builder: str, dockerfile: str) -> None:
    """Have ``builder`` build web by ``dockerfile``."""
    (root / "images/web/Dockerfile").write_text(dockerfile)
    (root / "containerpkg.yaml").write_text(
        TREE["containerpkg.yaml"] + f"build: {{builder: {builder}}}\n"
    )


SLEEPING = f'FROM {REGISTRY}/base:1.0\nRUN ["/busybox", "sleep", "{SLEEP}"]\n'


@BUILDERS
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["INT", "TERM"])
def test_interrupted(number: signal.Signals, builder: str, made: Path) -> None:
    before = digests(made / "out")
    choose(made, builder, SLEEPING)
    with running(made, "make") as child:
        wait_for(sleepers)
        children = psutil.Process(child.pid).children(recursive=True)
        child.send_signal(number)
        assert child.wait(20) == 130
        assert child.stderr is not None
        assert child.stderr.read().splitlines()[-1] == (
            "containerpkg: interrupted; run the command again to go on"
        )
    assert alive(children) == []
    wait_for(lambda: not sleepers())
    assert digests(made / "out") == before
    (made / "images/web/Dockerfile").write_text(TREE["images/web/Dockerfile"])
    assert set(statuses(report(made, "make")).values()) == {"kept"}


def test_interrupted_while_a_step_prepares(tmp_path: Path) -> None:
    root = write_project(
        tmp_path,
        {
            "images/base/image.yaml": "summary: x\nlicense: MIT\nprepare: wait\n",
            "images/base/wait": "#!/bin/sh\necho waiting\nsleep 300\n",
        },
    )
    log = root / ".containerpkg/logs/base.log"
    with running(root, "make") as child:
        wait_for(lambda: log.is_file() and log.read_text() == "waiting\n")
        children = psutil.Process(child.pid).children(recursive=True)
        assert children
        child.send_signal(signal.SIGINT)
        assert child.wait(20) == 130
    assert alive(children) == []


@BUILDERS
def test_a_build_that_is_killed_in_the_engine(builder: str, made: Path) -> None:
    choose(made, builder, SLEEPING)
    with running(made, "make") as child:
        wait_for(sleepers)
        for process in sleepers():
            process.kill()
        _, err = child.communicate(timeout=PATIENCE)
    assert child.returncode == 6
    assert "image 'web' did not build" in err
    assert "137" in err
    check_repository(made)


def test_hostile_names(tmp_path: Path) -> None:
    root = write_project(tmp_path / "a b")
    for name in ("c d", "50%", "new\nline", "$(x)"):
        (root / "images" / name).mkdir()
    done = call(root, "make", status=3)
    assert "images/$(x)" in done.stderr
    checked = call(root, "check", status=3).stdout
    for name in ("c d", "50%", "new\\nline", "$(x)"):
        assert f"error: images/{name}: cannot be the name of an image\n" in checked
        (root / "images" / name.replace("\\n", "\n")).rmdir()
    assert call(root, "make", "../base", status=2).stdout == ""
    # Files of a context may be called as they like.
    for name in ("c d", "%{x}", "new\nline", "-rf", "\udcff"):
        (root / "images/web" / name).write_text(name[:1].encode("ascii", "replace").decode())
    (root / "images/web/Dockerfile").write_text(
        TREE["images/web/Dockerfile"].replace("COPY page /page", "COPY . /pages/")
    )
    call(root, "make")
    check_repository(root)
    wanted = digests(root / "out")
    # rpm expands macros in paths, and its shell splits them.
    hostile = root.rename(tmp_path / "50%{nil} $(x)\n'\"\\")
    call(hostile, "package", "--rebuild", env=NOWHERE)
    assert digests(hostile / "out") == wanted
    check_repository(hostile)


def test_a_config_file_that_cannot_be_read(made: Path) -> None:
    config = made / "images/app/app.conf"
    config.chmod(0)
    dropped = "-dac_override,-dac_read_search"
    done = subprocess.run(
        ["setpriv", f"--bounding-set={dropped}", f"--inh-caps={dropped}", *argv(made, "make")],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 10, done.stderr
    assert done.stderr.splitlines()[-2:] == [
        f"containerpkg: error: no permission ({config}): Permission denied",
        f"hint: check owner and permissions: ls -ld {config}",
    ]
