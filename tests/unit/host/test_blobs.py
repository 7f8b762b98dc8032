"""Blobs that several images share are looked at by several programs at once."""

from __future__ import annotations

import hashlib
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from containerpkg_host import blobs
from containerpkg_host.errors import HostProblem
from containerpkg_host.host import Host, Settings, parse_settings
from containerpkg_host.layout import Layout


def _layout(root: Path) -> Layout:
    digests = []
    for name in ("manifest", "config"):
        number = hashlib.sha256(name.encode()).hexdigest()
        path = root / "usr/share/containerpkg/blobs/sha256" / number
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
        digests.append(f"sha256:{number}")
    return Layout(
        "probe", "probe-container", "1", "example/probe:1", *digests, (), (), "podman", "", ""
    )


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
