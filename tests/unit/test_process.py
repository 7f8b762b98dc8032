"""Real programs behind the one door: shells and Python, each a few milliseconds long."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest

from containerpkg import process
from containerpkg.errors import ToolError
from containerpkg.process import CommandFailed, Result, run, stream


def shell(script: str) -> list[str]:
    return ["sh", "-c", script]


def python(script: str) -> list[str]:
    return [sys.executable, "-c", script]


def test_output_is_returned_and_the_environment_laid_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEPT", "kept")
    monkeypatch.setenv("CHANGED", "old")
    monkeypatch.setenv("GONE", "x")
    script = 'cat; echo "$KEPT $CHANGED ${GONE-none} $PWD"; echo warning >&2'
    result = run(shell(script), env={"CHANGED": "new", "GONE": None}, cwd=Path("/"))
    assert result == Result(stdout="kept new none /\n")
    assert os.environ["CHANGED"] == "old"


def test_lines_of_both_streams_are_handed_over_as_they_come() -> None:
    seen: list[str] = []
    script = r"printf 'one\r\n'; echo two >&2; printf 'three \351\n\nfour'"
    assert run(shell(script), on_line=seen.append) == Result(stdout="")
    assert seen == ["one", "two", "three \N{REPLACEMENT CHARACTER}", "", "four"]


def test_more_than_a_pipe_holds_on_every_stream() -> None:
    fed = bytes(3 << 20)
    script = (
        "import sys\n"
        "for _ in range(48):\n"
        "    sys.stderr.write('e' * 65536); sys.stdout.write('o' * 65536)\n"
        "sys.stdout.write(str(len(sys.stdin.buffer.read())))"
    )
    result = run(python(script), stdin=lambda pipe: writing(pipe, fed))
    assert result.stdout == "o" * (3 << 20) + str(3 << 20)


def writing(pipe: IO[bytes], content: bytes) -> None:
    pipe.write(content)


@pytest.mark.parametrize(
    ("script", "status", "message"),
    [
        ("exit 3", 3, "sh failed with status 3"),
        ("echo out; exit 3", 3, "sh failed with status 3:\nout"),
        ("echo out; echo 'why \t' >&2; exit 4", 4, "sh failed with status 4:\nwhy"),
        (r"printf '\377\n' >&2; exit 1", 1, "sh failed with status 1:\n\N{REPLACEMENT CHARACTER}"),
        ("kill -9 $$", -9, "sh was ended by SIGKILL"),
        ("kill -40 $$", -40, "sh was ended by signal 40"),
        (
            "seq 30 >&2; exit 1",
            1,
            "sh failed with status 1:\n" + "\n".join(str(n) for n in range(6, 31)),
        ),
    ],
)
def test_a_failure_tells_status_and_last_lines(script: str, status: int, message: str) -> None:
    with pytest.raises(CommandFailed) as caught:
        run(shell(script))
    assert (caught.value.argv, caught.value.status) == (tuple(shell(script)), status)
    assert caught.value.message == message


def test_the_last_lines_are_kept_where_all_were_handed_over() -> None:
    with pytest.raises(CommandFailed) as caught:
        run(shell("seq 26; exit 1"), on_line=lambda _: None)
    assert caught.value.tail == "\n".join(str(n) for n in range(2, 27))


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    for name, text, mode in [
        ("plain", "", 0o644),
        ("without interpreter", "#!/no/such/interpreter\n", 0o755),
        ("nonsense", "\x7fELF", 0o755),
    ]:
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(mode)
    return tmp_path


@pytest.mark.parametrize(
    ("program", "message", "hint"),
    [
        (
            "createrepo_c-is-not-here",
            "the program 'createrepo_c-is-not-here' is not installed or not in PATH",
            (
                "install it: 'apt-get install createrepo_c-is-not-here' "
                "or 'dnf install createrepo_c-is-not-here'"
            ),
        ),
        ("{}/missing", "the program '{}/missing' does not exist", None),
        ("{}/plain", "the program '{}/plain' may not be executed", "chmod +x {}/plain"),
        (
            "{}/without interpreter",
            (
                "the program '{}/without interpreter' cannot be started: "
                "what its first line names is not there"
            ),
            "correct the interpreter after '#!': head -n 1 '{}/without interpreter'",
        ),
        (
            "{}/nonsense",
            "the program '{}/nonsense' cannot be started: Exec format error",
            None,
        ),
        (
            "{}/plain/below",
            "the program '{}/plain/below' cannot be started: Not a directory",
            None,
        ),
    ],
)
def test_programs_that_cannot_start(
    scripts: Path, program: str, message: str, hint: str | None
) -> None:
    with pytest.raises(ToolError) as caught:
        run([program.format(scripts)])
    assert caught.value.message == message.format(scripts)
    assert caught.value.hint == (hint and hint.format(scripts))


def test_known_programs_are_named_by_their_packages() -> None:
    assert process.missing_tool("rpmbuild").hint == (
        "install it: 'apt-get install rpm' or 'dnf install rpm-build'"
    )


def test_a_missing_working_folder_is_not_a_missing_program(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        run(["true"], cwd=tmp_path / "gone")
    assert caught.value.filename == tmp_path / "gone"


class TestFeeding:
    def test_a_program_that_leaves_early_and_well(self) -> None:
        left = threading.Event()

        def write(pipe: IO[bytes]) -> None:
            pipe.write(b"first\n")
            pipe.flush()
            assert left.wait(30)
            pipe.write(bytes(1 << 20))

        script = "read line; exec 0<&-; echo $line"
        assert run(shell(script), stdin=write, on_line=lambda _: left.set()) == Result(stdout="")

    def test_a_program_that_dies_while_it_is_fed(self) -> None:
        with pytest.raises(CommandFailed, match="status 3:\nno more"):
            run(shell("echo no more >&2; exit 3"), stdin=lambda pipe: writing(pipe, bytes(8 << 20)))

    def test_a_dead_program_is_told_before_its_feeder_has_ended(self) -> None:
        stuck = threading.Event()

        def write(pipe: IO[bytes]) -> None:
            pipe.write(b"still in the buffer")
            stuck.wait(30)

        try:
            with pytest.raises(CommandFailed, match="status 3"):
                run(shell("exit 3"), stdin=write)
        finally:
            stuck.set()

    def test_the_feeders_own_failure_comes_out_and_not_the_programs(self, tmp_path: Path) -> None:
        """And the program never sees the end of its input, so it cannot take half for all."""

        def write(pipe: IO[bytes]) -> None:
            pipe.write(b"half")
            pipe.flush()
            (tmp_path / "gone").open("rb")

        script = f"cat >/dev/null; touch '{tmp_path}/complete'"
        with pytest.raises(FileNotFoundError):
            run(shell(script), stdin=write)
        assert list(tmp_path.iterdir()) == []


class TestEnding:
    """Children are asked over a pipe whether they live: it ends when the last of them has."""

    @pytest.fixture
    def life(self) -> Iterator[tuple[str, Callable[[], bytes]]]:
        reading, writing_end = os.pipe()
        os.set_inheritable(writing_end, True)
        path = f"/proc/{os.getpid()}/fd/{writing_end}"

        def ended() -> bytes:
            os.close(writing_end)
            with os.fdopen(reading, "rb", closefd=False) as pipe:
                return pipe.read()

        yield path, ended
        os.close(reading)

    @pytest.mark.parametrize(
        "script",
        [
            "sleep 600 & sleep 600 & echo up; wait",
            "sleep 600 & echo up",  # the leader is gone, its child holds the output open
            "trap '' TERM; (trap '' TERM; sleep 600) & echo up; sleep 600",
            "setsid sh -c 'sleep 600 & echo up; wait' & wait",
        ],
        ids=["children", "leader gone", "deaf", "another session"],
    )
    def test_all_that_was_started_ends_on_an_interrupt(
        self,
        life: tuple[str, Callable[[], bytes]],
        script: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(process, "_PATIENCE", 0.2)
        path, ended = life

        def interrupt(_: str) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run(shell(f"exec 9>{path}; {script}"), on_line=interrupt)
        assert ended() == b""

    def test_a_group_may_clean_up_after_its_leader_has_ended(self, tmp_path: Path) -> None:
        script = (
            f"(trap 'echo cleaned >{tmp_path}/note; exit' TERM; echo up; "
            "while :; do read line <&3; done) 3<>pipe & wait"
        )
        os.mkfifo(tmp_path / "pipe")

        def interrupt(_: str) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run(shell(script), cwd=tmp_path, on_line=interrupt)
        assert (tmp_path / "note").read_text() == "cleaned\n"

    def test_all_running_programs_end_from_another_thread(self) -> None:
        up = threading.Event()
        failures: list[str] = []

        def work() -> None:
            try:
                run(shell("echo up; exec sleep 600"), on_line=lambda _: up.set())
            except CommandFailed as error:
                failures.append(error.message)

        worker = threading.Thread(target=work)
        worker.start()
        assert up.wait(30)
        process.end_running()
        worker.join(30)
        assert failures == ["sh was ended by SIGTERM:\nup"]

    def test_ctrl_c_at_the_terminal_reaches_no_child_but_through_us(self) -> None:
        """A program in our own process group would die of it before it could be ended well."""
        script = (
            "import os\nfrom containerpkg.process import run\n"
            "print(run(['sh', '-c', 'ps -o pgid= -p $$']).stdout.strip() != str(os.getpgid(0)))"
        )
        assert subprocess.check_output(python(script)) == b"True\n"


def test_a_stream_is_read_as_it_comes_and_to_its_end() -> None:
    script = "import sys\nsys.stderr.write('e' * 300000)\nsys.stdout.write('o' * 300000)"
    with stream(python(script)) as output:
        assert output.read(3) == b"ooo"
    with stream(python(script)) as output:
        pieces = list(iter(lambda: output.read(1 << 16), b""))
    assert b"".join(pieces) == b"o" * 300000


def test_a_stream_whose_program_fails_says_so_at_its_end() -> None:
    failing = shell("printf half; echo reason >&2; exit 3")
    said = r"^sh failed with status 3:\nreason$"
    with pytest.raises(CommandFailed, match=said), stream(failing) as output:
        assert output.read(4) == b"half"
        output.read(1)
        pytest.fail("the end of what a program that failed printed is no end")
    with pytest.raises(CommandFailed, match=said), stream(failing):
        pass


def test_a_stream_that_is_left_by_an_error_ends_its_program() -> None:
    with pytest.raises(KeyError), stream(["sleep", "600"]):
        raise KeyError
    with pytest.raises(ToolError, match="not installed"), stream(["no-such-program"]):
        pass
