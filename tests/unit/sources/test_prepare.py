"""The prepare step: its output is there as a whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from containerpkg.errors import BuildError
from containerpkg.sources.prepare import prepare


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "store/prepared/base/key"


def step(tmp_path: Path, script: str, mode: int = 0o755) -> Path:
    path = tmp_path / "image folder/prepare"
    path.parent.mkdir(exist_ok=True)
    path.write_text(script)
    path.chmod(mode)
    return path


def run(executable: Path, target: Path, lines: list[str] | None = None) -> Path:
    told = [] if lines is None else lines
    return prepare(image="base", executable=executable, target=target, on_line=told.append)


def test_it_runs_in_its_folder_with_an_empty_output_folder(tmp_path: Path, target: Path) -> None:
    script = step(
        tmp_path,
        '#!/bin/sh\nset -e\nls -A "$1"\necho "$# $CONTAINERPKG_IMAGE $PWD"; echo note >&2\n'
        'mkdir "$1/sub"; echo made >"$1/sub/file"\n',
    )
    lines: list[str] = []
    assert run(script, target, lines) == target
    assert lines == [f"1 base {script.parent}", "note"]
    assert (target / "sub/file").read_text() == "made\n"
    assert list(target.parent.iterdir()) == [target]


def test_it_is_told_where_the_source_is(tmp_path: Path, target: Path) -> None:
    script = step(tmp_path, '#!/bin/sh\necho "$CONTAINERPKG_SOURCE"\n')
    lines: list[str] = []
    prepare(image="x", executable=script, target=target, source=tmp_path, on_line=lines.append)
    assert lines == [str(tmp_path)]


def test_a_complete_output_is_taken_and_not_made_again(tmp_path: Path, target: Path) -> None:
    script = step(tmp_path, '#!/bin/sh\necho >>"$1/file"; echo ran >>count\n')
    lines: list[str] = []
    for _ in range(2):
        run(script, target, lines)
    assert (script.parent / "count").read_text() == "ran\n"
    assert lines == [f"prepare: the files of the last attempt are still there: {target}"]
    prepare(image="base", executable=script, target=target, on_line=lines.append, anew=True)
    assert (script.parent / "count").read_text() == "ran\nran\n"
    assert (target / "file").read_text() == "\n"
    assert len(lines) == 1


@pytest.mark.parametrize(
    ("script", "mode", "message"),
    [
        (
            '#!/bin/sh\necho half >"$1/file"\necho no room >&2\nexit 7\n',
            0o755,
            "prepare failed with status 7:\nno room",
        ),
        ('#!/bin/sh\necho half >"$1/file"\nkill -9 $$\n', 0o755, "prepare was ended by SIGKILL"),
        ("#!/bin/sh\n", 0o644, "the program '{}' may not be executed"),
        ("echo no first line\n", 0o755, "the program '{}' cannot be started: Exec format error"),
        (
            "#!/no/such/shell\n",
            0o755,
            "the program '{}' cannot be started: what its first line names is not there",
        ),
    ],
)
def test_a_failure_leaves_nothing(
    tmp_path: Path, target: Path, script: str, mode: int, message: str
) -> None:
    executable = step(tmp_path, script, mode)
    with pytest.raises(BuildError) as caught:
        run(executable, target)
    assert caught.value.message == (
        f"image 'base': its prepare step {executable} failed: {message.format(executable)}"
    )
    assert caught.value.hint == (f"run it by hand: mkdir /tmp/base; '{executable}' /tmp/base")
    assert list(target.parent.iterdir()) == []


def test_an_interrupt_leaves_nothing(tmp_path: Path, target: Path) -> None:
    executable = step(tmp_path, '#!/bin/sh\necho half >"$1/file"; echo up; sleep 600\n')

    def interrupt(_: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(image="base", executable=executable, target=target, on_line=interrupt)
    assert list(target.parent.iterdir()) == []
