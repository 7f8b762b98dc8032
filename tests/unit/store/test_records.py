"""Records of builds and packages: what is newest, and stamps that only ever go up."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from containerpkg.errors import StoreError
from containerpkg.store.records import BuildRecord, PackageRecord, Records

NOON = datetime(2024, 5, 6, 12, 0, 0, tzinfo=UTC)


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return Records(tmp_path)


def build(key: str, built: datetime = NOON, **changes: object) -> BuildRecord:
    values: dict[str, object] = {
        "image": "redis",
        "key": key,
        "inputs": {"file Dockerfile": "ab"},
        "image_id": f"sha256:{key}",
        "built": built,
        "seconds": 1.5,
    }
    return BuildRecord.model_validate(values | changes)


def package(key: str, stamp: str, name: str = "redis-container") -> PackageRecord:
    return PackageRecord(
        package=name,
        key=key,
        target="el9",
        version="7.0",
        stamp=stamp,
        manifest="sha256:00",
        layers={"oci-layer-0": 5},
        size=9,
    )


def test_nothing_is_known_at_first(records: Records) -> None:
    assert records.build("redis", "aa") is None
    assert records.last_build("redis") is None
    assert records.packages("redis-container") == ()


def test_builds_are_found_by_their_inputs_and_the_newest_by_its_time(
    tmp_path: Path, records: Records
) -> None:
    older, newest, other = (
        build("aa", NOON),
        build("bb", NOON + timedelta(seconds=1)),
        build("cc", NOON + timedelta(days=1), image="squid"),
    )
    for record in (newest, older, other):
        records.add_build(record)
    again = Records(tmp_path)
    assert (again.build("redis", "aa"), again.build("redis", "cc")) == (older, None)
    assert again.last_build("redis") == newest


def test_a_later_build_from_old_inputs_is_the_newest(records: Records) -> None:
    records.add_build(build("aa", NOON))
    records.add_build(build("bb", NOON + timedelta(hours=1)))
    back = build("aa", NOON + timedelta(hours=2), image_id="sha256:dd")
    records.add_build(back)
    assert records.last_build("redis") == records.build("redis", "aa") == back


def test_packages_come_oldest_first(records: Records) -> None:
    late, early = package("aa", "20240506120001"), package("bb", "20240506120000")
    for record in (late, early, package("cc", "20250101000000", "squid-container")):
        records.add_package(record)
    assert records.packages("redis-container") == (early, late)


@pytest.mark.parametrize(
    ("known", "now", "stamp"),
    [
        ([], NOON, "20240506120000"),
        ([], NOON.astimezone(timezone(timedelta(hours=5))), "20240506120000"),
        (["20240506115959"], NOON, "20240506120000"),
        (["20240506120000"], NOON, "20240506120001"),
        (["20240506120000"], NOON + timedelta(microseconds=999_999), "20240506120001"),
        (["20240506120007", "20240506120000"], NOON, "20240506120008"),
        (["20311231235959"], NOON, "20320101000000"),  # the clock was set back
    ],
)
def test_the_next_stamp(records: Records, known: list[str], now: datetime, stamp: str) -> None:
    for number, one in enumerate(known):
        records.add_package(package(f"a{number}", one))
    assert records.next_stamp("redis-container", now) == stamp


def test_stamps_neither_repeat_nor_go_back_whatever_the_clock_does(records: Records) -> None:
    stamps = []
    for number, hours in enumerate([0, 0, 5, -3, -3, 5, 6, 0]):
        stamps.append(records.next_stamp("redis-container", NOON + timedelta(hours=hours)))
        records.add_package(package(f"a{number}", stamps[-1]))
    assert stamps == sorted(set(stamps))
    assert records.next_stamp("squid-container", NOON) == "20240506120000"


@pytest.mark.parametrize("content", [b"", b"{", b"null", b"{}", b"\xff"])
@pytest.mark.parametrize("kind", ["builds", "packages"])
def test_a_torn_record_names_its_file(
    tmp_path: Path, records: Records, content: bytes, kind: str
) -> None:
    records.add_build(build("aa"))
    records.add_package(package("aa", "20240506120000"))
    (path,) = (tmp_path / kind).glob("*/aa.json")
    path.write_bytes(content)
    with pytest.raises(StoreError, match=re.escape(f"{path} in the store is damaged")) as caught:
        records.last_build("redis") if kind == "builds" else records.packages("redis-container")
    assert caught.value.hint == f"remove it: rm {path}"


def test_what_a_killed_run_left_beside_a_record_is_not_one(
    tmp_path: Path, records: Records
) -> None:
    records.add_build(build("aa"))
    (tmp_path / "builds/redis/.aa.json.x1y2z3").write_bytes(b"{")
    assert records.last_build("redis") == build("aa")
