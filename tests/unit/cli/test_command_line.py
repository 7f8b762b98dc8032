"""``containerpkg`` as people and scripts meet it: a process, its streams and its status."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil
import pytest

from containerpkg import errors
from containerpkg.cli.root import _COMMANDS
from tests.unit.conftest import MakeProject

ROOT = Path(__file__).parents[3]
PROGRAM = (sys.executable, "-m", "containerpkg")
FILES = {"images/redis/Dockerfile": "FROM scratch\nCOPY Dockerfile /\n"}
NO_ENGINE = "unix:///nonexistent/docker.sock"


def environment(**changes: str) -> dict[str, str]:
    base = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": "/nonexistent"}
    return {**base, "DOCKER_HOST": NO_ENGINE, "LC_ALL": "C.UTF-8", **changes}


def containerpkg(
    *arguments: str | Path, cwd: Path | None = None, argv: Sequence[str] = PROGRAM
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*argv, *map(str, arguments)],
        cwd=cwd or "/",
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )


def raising(statement: str, *arguments: str) -> tuple[str, ...]:
    """The program with a project that cannot be loaded because of ``statement``."""
    script = (
        "import errno, os, signal, sys\n"
        "from containerpkg import errors, process\n"
        "from containerpkg.release import opening\n"
        f"def open_project(*_, **__):\n    {statement}\n"
        "opening.open_project = open_project\n"
        f"sys.argv = {['containerpkg', *arguments]!r}\n"
        "from containerpkg.cli import main\nmain()\n"
    )
    return (sys.executable, "-c", script)


ERRORS = [
    (cls.__name__, cls.exit_status)
    for cls in vars(errors).values()
    if isinstance(cls, type)
    and issubclass(cls, errors.ContainerpkgError)
    and cls is not errors.DefinitionError
]
BOUNDARY: list[tuple[str, int, str, str]] = [
    *(
        (f"raise errors.{name}('It broke.', hint='mend it')", status, "It broke.", "mend it")
        for name, status in ERRORS
    ),
    ("raise errors.StoreError('It broke.')", 7, "It broke.", ""),
    (
        """raise errors.DefinitionError([
        errors.Problem(path='b.yaml', line=7, key='k', message='no'),
        errors.Problem(path='a.yaml', message='not so', hint='write x'),
    ])""",
        3,
        "a.yaml: not so (and 1 more: run 'containerpkg check')",
        "write x",
    ),
    ("process.run(['false'])", 1, "false failed with status 1", ""),
    (
        "raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), '/x')",
        10,
        "no space left on the disk (/x)",
        errors.NO_SPACE,
    ),
    (
        "open('/proc/1/mem/x')",
        10,
        "Not a directory (/proc/1/mem/x)",
        "run again with --debug for details",
    ),
    (
        "raise PermissionError(errno.EACCES, 'Permission denied', '/x')",
        10,
        "no permission (/x): Permission denied",
        "check owner and permissions: ls -ld /x",
    ),
    (
        "raise OSError('cannot go on')",
        10,
        "cannot go on",
        "run again with --debug for details",
    ),
]


@pytest.mark.parametrize(("statement", "status", "message", "hint"), BOUNDARY)
def test_every_error_is_one_sentence_a_hint_and_a_status(
    statement: str, status: int, message: str, hint: str
) -> None:
    done = containerpkg(argv=raising(statement, "list"))
    told = f"containerpkg: error: {message}\n" + (f"hint: {hint}\n" if hint else "")
    assert (done.returncode, done.stdout, done.stderr) == (status, "", told)


@pytest.mark.parametrize(("statement", "status", "message", "hint"), BOUNDARY[-3:])
def test_json_and_debug_say_more(statement: str, status: int, message: str, hint: str) -> None:
    told = f"containerpkg: error: {message}\nhint: {hint}\n"
    done = containerpkg(argv=raising(statement, "list", "--json"))
    assert (done.returncode, done.stderr) == (status, told)
    assert json.loads(done.stdout) == {
        "error": {"message": message, "hint": hint, "status": status}
    }
    done = containerpkg(argv=raising(statement, "--debug", "list"))
    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr.startswith("Traceback (most recent call last):\n")
    assert done.stderr.endswith("\n" + told)


def test_the_statuses_are_all_different_and_documented() -> None:
    statuses = [status for _, status in ERRORS]
    assert sorted(statuses) == sorted(set(statuses))
    text = containerpkg("--help").stdout
    assert {int(n) for n in re.findall(r"\d+", text.partition("Exit status:")[2])} == {
        0,
        130,
        errors.DefinitionError.exit_status,
        *statuses,
    }


def test_check_says_what_each_target_cannot_carry(make_project: MakeProject) -> None:
    image = (
        "summary: An image\nlicense: MIT\nservices:\n  app:\n    networks: [a, b]\n"
        "    secrets: {key: {credential: app.key}}\n"
    )
    shop = "summary: An image\nlicense: MIT\npayload: layers\nneighbours: {shop: {}}\n"
    root = make_project(
        {
            "images/app/Dockerfile": "FROM scratch\n",
            "images/app/image.yaml": image,
            "images/shop/Dockerfile": "FROM scratch\n",
            "images/shop/image.yaml": shop,
        }
    )
    targets = [f"--target={name}" for name in ("el9", "el8", "el7", "el9-docker", "el9")]
    done = containerpkg("--directory", str(root), "check", "--json", *targets)
    assert done.returncode == errors.DefinitionError.exit_status
    told = [
        (problem["severity"], problem["file"], problem["message"])
        for problem in json.loads(done.stdout)
        if problem["severity"] != "note"
    ]
    app, shop = "images/app/image.yaml", "images/shop/image.yaml"
    credential = "service 'app': the secret 'key' is a credential, which systemd {} of the target "
    left_out = "left out for the target '{0}': only Quadlet of podman 5 and newer reads drop-ins"
    assert told == [
        ("error", app, f"el7: {credential.format(219)}does not know"),
        ("error", app, f"el8: {credential.format(239)}does not know"),
        (
            "error",
            shop,
            "el7: image 'shop' has 'payload: layers', which hosts of the target 'el7' cannot load",
        ),
        *(
            ("warning", shop, f"{name}: {left_out.format(name)}")
            for name in ("el7", "el8", "el9-docker")
        ),
    ]
    done = containerpkg("--directory", str(root), "check", "--target=el6")
    assert (done.returncode, done.stdout) == (errors.UsageError.exit_status, "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_ends_what_runs(tmp_path: Path, number: signal.Signals) -> None:
    """The pipe that the child holds ends only when the child has."""
    statement = (
        f"process.run(['sh', '-c', 'echo up; sleep 600 >{tmp_path}/out & sleep 600'], "
        "on_line=lambda _: print('up', flush=True))"
    )
    with subprocess.Popen(
        raising(statement, "list"),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdout
        assert program.stdout.readline() == "up\n"
        program.send_signal(number)
        _, err = program.communicate()
    assert program.returncode == 130
    assert err.strip() == "containerpkg: interrupted; run the command again to go on"


def test_a_terminal_that_goes_away_ends_what_runs() -> None:
    """As when ssh drops: both the kernel and the shell send the signal, and nobody reads."""
    statement = (
        "process.run(['sh', '-c', 'sleep 600 & echo up; sleep 600'], "
        "on_line=lambda _: print('up', flush=True))"
    )
    pid, terminal = pty.fork()
    if pid == 0:  # pragma: no cover - the child
        os.execve(sys.executable, raising(statement, "list"), environment())
    assert os.read(terminal, 100) == b"up\r\n"
    [shell] = psutil.Process(pid).children()
    family = [shell, *shell.children()]
    os.close(terminal)
    os.kill(pid, signal.SIGHUP)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 130
    left = [one for one in family if one.is_running()]
    assert [one for one in left if one.status() != psutil.STATUS_ZOMBIE] == []


def test_who_is_started_with_nohup_goes_on() -> None:
    done = subprocess.run(
        [
            "nohup",
            *raising(
                "os.kill(os.getpid(), signal.SIGHUP); raise errors.BuildError('Later.')", "list"
            ),
        ],
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 6
    assert "containerpkg: error: Later." in done.stderr


def test_in_the_middle_of_real_commands(make_project_at: Path) -> None:
    """Each real command that fails says so in the same way, and leaves nothing half-written."""
    root = make_project_at
    before = sorted(root.rglob("*"))
    nothing: Mapping[str, tuple[list[str], int, str]] = {
        "unknown image": (["list", "reds"], 2, "there is no image 'reds'"),
        "nothing stored": (["package"], 7, "image 'redis' is not in the store as it is defined"),
        "save": (["save", "redis", "-o", "x.tar"], 7, "image 'redis' is not in the store"),
        "no engine": (["build"], 5, "Docker Engine does not answer at unix:///nonexistent/"),
        "bad place": (["build", "--store", "/proc/x"], 10, "No such file or directory (/proc/x)"),
        "device": (["save", "redis", "-o", "/dev/null"], 2, "/dev/null is not a regular file"),
    }
    for name, (arguments, status, start) in nothing.items():
        done = containerpkg(*arguments, cwd=root)
        assert (name, done.returncode, done.stdout) == (name, status, "")
        lines = [line for line in done.stderr.splitlines() if not line.startswith("[")]
        assert lines[0].startswith(f"containerpkg: error: {start}"), done.stderr
        assert [line.partition(":")[0] for line in lines[1:]] == ["hint"], done.stderr
    left = {path for path in root.rglob("*") if path.is_file()} - set(before)
    assert {path.relative_to(root).as_posix() for path in left} <= {
        ".containerpkg/lock",
        ".containerpkg/logs/redis.log",
        "out/.lock",
    }
    assert Path("/dev/null").is_char_device()


@pytest.fixture
def make_project_at(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    (root / "images/redis").mkdir(parents=True)
    (root / "containerpkg.yaml").write_text("registry: quay.io/example\nvendor: Example\n")
    (root / "images/redis/image.yaml").write_text("summary: An image\nlicense: MIT\n")
    for name, text in FILES.items():
        (root / name).write_text(text)
    return root


def test_a_second_run_is_told_of_the_first(make_project_at: Path) -> None:
    lock = make_project_at / ".containerpkg/lock"
    lock.parent.mkdir()
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write("4711\n")
        file.flush()
        done = containerpkg("build", cwd=make_project_at)
    assert (done.returncode, done.stdout) == (11, "")
    assert done.stderr.splitlines()[-2:] == [
        (
            f"containerpkg: error: the store {lock.parent} is in use by another containerpkg "
            "(process 4711)"
        ),
        "hint: wait until it has ended, or choose another folder with --store and --output",
    ]


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["bild"], "there is no command 'bild'", "did you mean 'build'?"),
        (["frobnicate"], "there is no command 'frobnicate'", "containerpkg --help"),
        (
            ["build", "--jobs", "0"],
            "invalid value for '-j' / '--jobs': 0 is not in the range 1<=x<=64",
            "containerpkg build --help",
        ),
        (
            ["save", "redis"],
            "missing option '-o' / '--output'",
            "containerpkg save --help",
        ),
        (
            ["-C", "/nonexistent", "list"],
            "invalid value for '-C' / '--directory': Directory '/nonexistent' does not exist",
            "containerpkg --help",
        ),
        (
            ["make", "--no-build", "--force"],
            "--no-build does not go with --force or --no-cache",
            "leave --no-build away to build the images",
        ),
        (
            ["make", "--target", "el9-dcoker"],
            "there is no target 'el9-dcoker'",
            "did you mean 'el9-docker'?",
        ),
        (
            ["build", "--source", "shop"],
            "--source shop: must be NAME=PATH",
            "--source shop=../shop",
        ),
        (
            ["make", "--source", "shop=.", "--locked"],
            "--locked does not go with --source",
            "leave one of them away",
        ),
        (
            ["make", "--no-build", "--locked"],
            "--no-build does not go with --source or --locked",
            "leave --no-build away to build the images",
        ),
    ],
)
def test_mistakes_in_the_command_line(arguments: list[str], message: str, hint: str) -> None:
    done = containerpkg(*arguments)
    assert (done.returncode, done.stdout, done.stderr) == (
        2,
        "",
        f"containerpkg: error: {message}\nhint: {hint}\n",
    )


def test_list_as_a_table(make_project: Callable[[dict[str, str]], Path]) -> None:
    head = "summary: x\nlicense: MIT\n"
    root = make_project(
        {
            "images/base/Dockerfile": "FROM scratch\n",
            "images/base/image.yaml": f"{head}packaged: false\n",
            "images/app/Dockerfile": "FROM quay.io/example/base:1.0\n",
            "images/app/image.yaml": f"{head}version: 7.1+git\nservices: {{app: {{}}, job: {{}}}}\n",  # noqa: E501
        }
    )
    lines = containerpkg("list", cwd=root).stdout.splitlines()
    assert [line.split() for line in lines] == [
        ["NAME", "VERSION", "REFERENCE", "PARENTS", "SERVICES", "PACKAGE"],
        ["base", "1.0", "quay.io/example/base:1.0", "-", "-", "-"],
        ["app", "7.1+git", "quay.io/example/app:7.1-git", "base", "app,job", "app-container"],
    ]
    assert {
        line.index(word) for line, word in zip(lines, ("REF", "quay", "quay"), strict=True)
    } == {lines[0].index("REFERENCE")}


def test_a_folder_that_is_no_project(tmp_path: Path) -> None:
    done = containerpkg("list", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (
        2,
        "",
        (
            f"containerpkg: error: there is no containerpkg.yaml in {tmp_path} "
            "or in a folder above it\n"
            "hint: change to the folder of a project, or name it with --directory\n"
        ),
    )


class TestOutput:
    @pytest.mark.parametrize("arguments", [["--help"], ["list", "--help"], ["schema", "image"]])
    def test_a_reader_that_has_seen_enough(self, arguments: list[str]) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        with os.fdopen(writing, "wb") as pipe:
            done = subprocess.run(
                [*PROGRAM, *arguments],
                env=environment(),
                stdout=pipe,
                stderr=subprocess.PIPE,
                check=False,
            )
        assert (done.returncode, done.stderr) == (141, b"")

    def test_a_disk_that_is_full(self) -> None:
        with Path("/dev/full").open("wb") as full:
            done = subprocess.run(
                [*PROGRAM, "schema", "image"],
                env=environment(),
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
        assert (done.returncode, done.stderr) == (
            10,
            f"containerpkg: error: no space left on the disk\nhint: {errors.NO_SPACE}\n",
        )

    @pytest.mark.parametrize("closed", ["1", "2"])
    def test_streams_that_are_closed(self, make_project_at: Path, closed: str) -> None:
        shell = f'exec "$@" {closed}>&-'
        for arguments, status in ([["list", "--json"], 0], [["list", "nobody"], 2]):
            done = containerpkg(
                *arguments, cwd=make_project_at, argv=["sh", "-c", shell, "sh", *PROGRAM]
            )
            assert done.returncode == status
            assert "Traceback" not in done.stderr
            assert "error" not in done.stdout

    @pytest.mark.parametrize(
        "arguments",
        [
            ["list", "--json"],
            ["graph", "--json"],
            ["graph", "--format", "json"],
            ["check", "--json"],
            ["make", "--dry-run", "--json"],
            ["build", "--dry-run", "--json"],
            ["schema", "containerpkg"],
        ],
    )
    def test_json_is_all_there_is_on_standard_output(
        self, make_project_at: Path, arguments: list[str]
    ) -> None:
        done = containerpkg(*arguments, cwd=make_project_at)
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads(done.stdout)

    def test_a_table_is_never_cut_in_a_file(self) -> None:
        cells = ["x" * 300, "[bold]:smile: \\[", "y" * 300]
        script = f"from containerpkg.cli.options import print_table as p; p('ABC', [{cells}])"
        done = containerpkg(argv=(sys.executable, "-c", script))
        assert done.stdout.splitlines()[1].rstrip() == "  ".join(cells)


@pytest.mark.parametrize("command", ["", *sorted(_COMMANDS)])
def test_help_has_an_example_that_runs_this_command(command: str) -> None:
    done = containerpkg(*command.split(), "--help")
    assert (done.returncode, done.stderr) == (0, "")
    examples = re.split(r"\n *Examples?:\n", done.stdout)[1]
    assert examples.lstrip().startswith(f"containerpkg {command}")
    assert max(map(len, done.stdout.splitlines())) <= 100


def test_the_version() -> None:
    from containerpkg import __version__

    assert containerpkg("--version").stdout == f"containerpkg, version {__version__}\n"


class TestCompletion:
    @pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
    def test_a_script_for_every_shell(self, shell: str) -> None:
        done = containerpkg("completion", shell)
        assert (done.returncode, done.stderr) == (0, "")
        assert f"_CONTAINERPKG_COMPLETE={shell}_complete" in done.stdout
        if shell == "bash":
            subprocess.run(["bash", "-n"], input=done.stdout, text=True, check=True)

    @pytest.mark.parametrize(
        ("words", "offered"),
        [
            ("containerpkg bui", ["plain,build"]),
            ("containerpkg list r", ["plain,redis"]),
            ("containerpkg save x", []),
            ("containerpkg graph --format m", ["plain,mermaid"]),
        ],
    )
    def test_what_is_offered(self, make_project_at: Path, words: str, offered: list[str]) -> None:
        done = subprocess.run(
            PROGRAM,
            cwd=make_project_at,
            env=environment(
                _CONTAINERPKG_COMPLETE="bash_complete",
                COMP_WORDS=words,
                COMP_CWORD=str(len(words.split()) - 1),
            ),
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.split() == offered
