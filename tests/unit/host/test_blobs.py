"""Blobs that several images share are looked at by several programs at once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from containerpkg_host import blobs
from containerpkg_host.door import Done
from containerpkg_host.errors import HostProblem
from containerpkg_host.host import Host, Settings, parse_settings
from containerpkg_host.layout import Layout

from tests.unit.host.test_explaining import LAYOUT


def _layout(root: Path) -> Layout:
    digests = []
    for name in ("manifest", "config"):
        number = hashlib.sha256(name.encode()).hexdigest()
        path = root / "usr/share/containerpkg/blobs/sha256" / number
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
        digests.append(f"sha256:{number}")
    manifest, config = digests
    return LAYOUT._replace(digest=manifest, id=config)


def _look(root: Path, layout: Layout, times: int) -> list[blobs.Damage]:
    found = []
    for _ in range(times):
        for stamp in (root / "var/lib/containerpkg/verified").glob("*"):
            stamp.unlink(missing_ok=True)
        found += blobs.find_damage(Host(root), layout)
    return found


def test_several_at_once_find_no_damage(tmp_path: Path) -> None:
    layout = _layout(tmp_path)
    with ProcessPoolExecutor(2) as pool:
        looks = [pool.submit(_look, tmp_path, layout, 50) for _ in range(2)]
        assert [look.result() for look in looks] == [[], []]


def test_what_was_right_is_hashed_again_when_it_was_written_to(tmp_path: Path) -> None:
    host, layout = Host(tmp_path), _layout(tmp_path)
    assert blobs.find_damage(host, layout) == []
    number = layout.id[7:]
    path = host.blobs / number
    path.write_text("konfig")
    wrong = hashlib.sha256(b"konfig").hexdigest()[:12]
    damage = blobs.Damage(
        f"blob {layout.id[:19]}", "probe-container", f"has the content sha256:{wrong}"
    )
    assert blobs.find_damage(host, layout) == [damage]
    path.unlink()
    assert blobs.find_damage(host, layout) == [damage._replace(how="is missing")]
    blobs.forget_absent(host)
    stamps = [stamp.name for stamp in (host.state / "verified").iterdir()]
    assert stamps == [layout.digest[7:]]


class Rpm:
    """Answers for one file, and counts how often it is asked."""

    def __init__(self, answer: Done) -> None:
        self.answer, self.calls = answer, []

    def __call__(self, argv: Sequence[str]) -> Done:
        self.calls.append(list(argv))
        return self.answer


def test_an_archive_is_what_the_header_of_its_package_says(tmp_path: Path) -> None:
    layout = _layout(tmp_path)._replace(archive="image.tar.zst")
    path = tmp_path / "usr/share/containerpkg/images/probe/image.tar.zst"
    path.parent.mkdir(parents=True)
    path.write_text("archive")
    number = hashlib.sha256(b"archive").hexdigest()
    # Every file of the package is told, one with a digest of MD5 or none among them.
    said = Done(0, f"/usr/lib/a {64 * '0'}\n/usr/share/b {32 * '0'}\n/c \n{path} {number}\n")
    rpm = Rpm(said)
    host = Host(tmp_path, run=rpm)
    assert blobs.find_damage(host, layout) == []
    query = "--queryformat=[%{FILENAMES} %{FILEDIGESTS}\n]"
    assert rpm.calls == [["rpm", "--query", query, "--file", str(path)]]
    blobs.forget_absent(host)
    assert [stamp.name for stamp in (host.state / "verified").iterdir()] == [number]

    damage = blobs.Damage(f"file {path}", "probe-container", "is not known to rpm")
    for answer in (Done(1, "", "not owned"), Done(0, f"{path} {32 * '0'}\n"), Done(0, "")):
        assert blobs.find_damage(Host(tmp_path, run=Rpm(answer)), layout) == [damage]
    path.write_text("Archive")
    wrong = hashlib.sha256(b"Archive").hexdigest()[:12]
    assert blobs.find_damage(host, layout) == [
        damage._replace(how=f"has the content sha256:{wrong}")
    ]
    path.unlink()
    (missing,) = found = blobs.find_damage(host, layout)
    assert missing == damage._replace(how="is missing")
    assert blobs.describe(layout, found) == (
        f"image probe is damaged: file {path} of package probe-container is missing; repair it "
        f"with 'dnf reinstall probe-container'"
    )
    path.write_text("archive")
    assert blobs.find_damage(host, layout) == []
    path.write_text("another version")
    blobs.forget_absent(host)
    assert list((host.state / "verified").iterdir()) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("restart = yes", "'restart = yes' is no setting"),
        ("roll_back", "'roll_back' is no setting"),
        ("\nroll_back = maybe", "host.conf:2: roll_back must be yes or no, not 'maybe'"),
    ],
)
def test_a_setting_that_is_none(text: str, message: str) -> None:
    with pytest.raises(HostProblem, match=message):
        parse_settings(text, Path("host.conf"))
    assert parse_settings("# roll_back = no\n", Path("host.conf")) == Settings()
