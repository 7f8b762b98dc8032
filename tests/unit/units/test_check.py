from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from containerpkg.errors import Problem
from containerpkg.process import CommandFailed, Result, missing_tool
from containerpkg.units.check import Checked, check_units
from containerpkg.units.quadlet import QUADLET, SYSTEM, UnitFile

FILES = (
    UnitFile(path=f"{QUADLET}/a.container", text="[Container]\nImage=x\n"),
    UnitFile(path=f"{SYSTEM}/a-image.service.d/50.conf", text="[Service]\n"),
    UnitFile(path="/usr/share/containerpkg/images/a/a.env", text="A=b\n"),
)
LOADING = "quadlet-generator[7]: Loading source unit file /x/a.container"


class Fake:
    def __init__(self, quadlet: list[str], verify: Callable[[Path], list[str]] | None) -> None:
        self.quadlet, self.verify, self.version = quadlet, verify, ["5.4.2"]
        self.seen: list[tuple[str, ...]] = []

    def __call__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        on_line: Callable[[str], None],
        **_: object,
    ) -> Result:
        self.seen.append(tuple(Path(word).name for word in argv))
        if argv[1] == "-version":
            lines = self.version
        elif argv[0] != "systemd-analyze":
            folder = Path(env["QUADLET_UNIT_DIRS"])
            self.seen.append(tuple(sorted(path.name for path in folder.iterdir())))
            lines = self.quadlet
        elif self.verify is None:
            raise missing_tool("systemd-analyze")
        else:
            unit = Path(argv[-1])
            self.seen.append(
                (unit.read_text(), (unit.parent / "a-image.service.d/50.conf").read_text())
            )
            lines = self.verify(unit)
        for line in lines:
            on_line(line)
        if any("fail" in line for line in lines):
            raise CommandFailed(argv, 1, "")
        return Result(stdout="")


def checked(tmp_path: Path, fake: Fake) -> Checked:
    generator = tmp_path / "quadlet"
    generator.touch()
    return check_units(FILES, podman=(5, 4), generators=[tmp_path / "none", generator], run=fake)


def test_units_go_through_quadlet_and_then_through_systemd(tmp_path: Path) -> None:
    fake = Fake([LOADING, "---a.service---", "[Service]", "ExecStart=x"], lambda _: [])
    assert checked(tmp_path, fake) == Checked()
    assert fake.seen == [
        ("quadlet", "-version"),
        ("quadlet", "-dryrun"),
        ("a.container",),
        ("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", "a.service"),
        ("[Service]\nExecStart=x\n", "[Service]\n"),
    ]


def test_a_drop_in_is_read_with_a_stand_in_for_its_unit(tmp_path: Path) -> None:
    fake = Fake(["quadlet-generator[7]: converting"], None)
    generator = tmp_path / "quadlet"
    generator.touch()
    dropin = UnitFile(path=f"{QUADLET}/b.image.d/20-archive.conf", text="[Image]\n")
    assert check_units([dropin], podman=(5, 4), generators=[generator], run=fake).problems
    assert fake.seen[2] == ("b.image", "b.image.d")


def test_complaints_of_both(tmp_path: Path) -> None:
    complaint = "quadlet-generator[7]: converting \"a.container\": unsupported key 'X'"
    fake = Fake([LOADING, complaint], lambda _: [])
    assert checked(tmp_path, fake).problems == (
        Problem(path=Path(QUADLET), message="converting \"a.container\": unsupported key 'X'"),
    )
    fake = Fake(["---a.service---", "[X]"], lambda unit: [f"{unit}:3: fail", "of another unit"])
    assert checked(tmp_path, fake).problems == (
        Problem(path=Path(QUADLET), message="a.service:3: fail"),
    )


def test_what_nobody_here_can_check_is_said(tmp_path: Path) -> None:
    assert check_units(FILES, podman=(5, 0), generators=[tmp_path / "none"]) == Checked(
        unchecked="units were not checked: there is no podman with Quadlet here"
    )
    fake = Fake(["---a.service---", "[X]"], None)
    assert checked(tmp_path, fake) == Checked(
        unchecked="units were not checked by systemd: there is no systemd-analyze here"
    )


@pytest.mark.parametrize(
    ("version", "found"),
    [("5.3.9", "5.3.9"), ("4.10.0-dev", "4.10.0-dev"), ("fail", "of an unknown version")],
)
def test_an_older_podman_is_not_asked(tmp_path: Path, version: str, found: str) -> None:
    fake = Fake(["quadlet-generator[7]: converting: unsupported key"], None)
    fake.version = [version]
    assert checked(tmp_path, fake) == Checked(
        unchecked=f"units were not checked: podman {found} here is older than 5.4, "
        "which they are for"
    )
    assert fake.seen == [("quadlet", "-version")]


PLAIN = (
    UnitFile(path=f"{SYSTEM}/a.service", text="[Service]\nExecStart=x\n"),
    UnitFile(path=f"{SYSTEM}/a.timer", text="[Timer]\n"),
)


VALUE = "a.timer: Timer unit lacks value setting. Refusing."


@pytest.mark.parametrize(
    ("said", "messages"),
    [
        ([], []),
        (["a.service: Command /usr/bin/docker is not executable: No such file or directory"], []),
        ([VALUE, "b.service: fail"], [VALUE]),
    ],
)
def test_systemd_alone_reads_units_of_its_own(said: list[str], messages: list[str]) -> None:
    seen = []

    def run(argv: Sequence[str], *, on_line: Callable[[str], None], **_: object) -> Result:
        seen.append([Path(word).name for word in argv])
        for line in said:
            on_line(line)
        if said:
            raise CommandFailed(argv, 1, "")
        return Result(stdout="")

    problems = tuple(Problem(path=Path(SYSTEM), message=message) for message in messages)
    assert check_units(PLAIN, podman=(5, 0), generators=[], run=run) == Checked(problems=problems)
    verify = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no"]
    assert seen == [[*verify, "a.service", "a.timer"]]
