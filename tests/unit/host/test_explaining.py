"""What the journal gets to know of an image that was not loaded."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from containerpkg_host.explaining import explain
from containerpkg_host.host import Host, write_whole
from containerpkg_host.layout import Layout
from containerpkg_host.space import SpaceFinding, find_space

LAYOUT = Layout(
    name="probe",
    package="probe-container",
    version="1",
    reference="example/probe:1",
    digest="sha256:1",
    id="sha256:2",
    layers=(),
    services=(),
    units="quadlet",
    runs="example/probe@sha256:1",
    volumes=(),
    archive="",
    neighbours=(),
)
FULL = SpaceFinding("/a", 300 << 20, 99 << 20)
ROOM = SpaceFinding("/b", 1 << 20, 1 << 20)
TIGHT = SpaceFinding("/c", 2 << 20, 1 << 20)
LACK = (
    "/a has 99 MiB free where 300 MiB are needed at most"
    " and /c has 1 MiB free where 2 MiB are needed at most"
)


@pytest.mark.parametrize(
    ("result", "code", "status", "space", "why"),
    [
        ("success", "exited", "0", (FULL,), ""),
        ("exec-condition", "", "", (FULL,), ""),
        ("exit-code", "", "", (FULL,), ""),
        (
            "exit-code",
            "exited",
            "125",
            (FULL, ROOM, TIGHT),
            f"{LACK}; make room and start it again",
        ),
        (
            "exit-code",
            "exited",
            "125",
            (ROOM,),
            "podman ended with the status 125, what it said is in the same journal",
        ),
        (
            "signal",
            "killed",
            "KILL",
            (FULL,),
            "podman was ended by the signal KILL; the next start loads it again",
        ),
        (
            "timeout",
            "killed",
            "TERM",
            (),
            "podman was ended because it took longer than TimeoutStartSec= of the unit allows",
        ),
    ],
)
def test_one_sentence_or_none(
    result: str, code: str, status: str, space: tuple[SpaceFinding, ...], why: str
) -> None:
    ended = {"SERVICE_RESULT": result, "EXIT_CODE": code, "EXIT_STATUS": status}
    said = "image probe of package probe-container was not loaded: "
    assert explain(LAYOUT, "podman", space, ended) == (f"{said}{why}" if why else "")


def test_folders_on_one_file_system_share_its_room(tmp_path: Path) -> None:
    (tmp_path / "var").mkdir()
    found = find_space(Host(tmp_path), {"/var/a/b": 5, "/c": 1 << 60})
    status = os.statvfs(tmp_path)
    assert [(one.folder, one.needed, one.enough) for one in found] == [
        ("/c", (1 << 60) + 5, False),
        ("/var/a/b", (1 << 60) + 5, False),
    ]
    assert all(0 < one.free <= status.f_blocks * status.f_frsize for one in found)


def test_a_full_disk_is_named_and_nothing_stays_beside(tmp_path: Path) -> None:
    path = tmp_path / "name"
    path.write_text("old")
    (tmp_path / f".name.{os.getpid()}").symlink_to("/dev/full")
    with pytest.raises(OSError, match=f"No space left on device: '{path}'"):
        write_whole(path, "new")
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("name", "old")]
