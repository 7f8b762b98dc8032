"""What is told of a package of which a byte was changed: always a sentence, never less."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from containerpkg.errors import PackageError
from containerpkg.packages.contents import read_contents
from containerpkg.packages.plan import PackageFile, PackagePlan
from containerpkg.packages.rpmbuild import build
from containerpkg.packages.rpmfile import load_headers
from containerpkg.packages.version import Nevra

SPEC = """\
Name: one
Version: 1
Release: 1
Summary: A package
License: MIT
BuildArch: noarch
%description
A package.
%files
/usr/share/one
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("one")
    return build(
        PackagePlan(
            nevra=Nevra(name="one", version="1", release="1", arch="noarch"),
            time=1_000_000_000,
            files=(PackageFile(target="/usr/share/one", content="one"),),
            spec=SPEC,
        ),
        folder / "work",
        folder,
    )


def told(content: bytes, folder: Path) -> str:
    """What :func:`read_contents` says is wrong."""
    path = folder / "changed.rpm"
    path.write_bytes(content)
    try:
        return " ".join(read_contents(path).broken)
    except PackageError as error:
        return error.message


def test_no_byte_of_header_or_payload_changes_unseen(package: Path, tmp_path: Path) -> None:
    headers, content = load_headers(package), package.read_bytes()
    assert told(content, tmp_path) == ""
    start = headers.payload - len(headers.main.raw)
    for place in range(start, len(content)):
        changed = bytearray(content)
        changed[place] ^= 0xFF
        assert told(changed, tmp_path), f"byte {place - start} of the header"


def test_a_header_that_promises_more_than_it_has(package: Path, tmp_path: Path) -> None:
    headers, content = load_headers(package), bytearray(package.read_bytes())
    start = headers.payload - len(headers.main.raw)
    entries = struct.unpack_from(">I", content, start + 8)[0]
    for entry in range(entries):
        for field, value in ((4, 5), (8, 0xFFFF_FFF0), (12, 0x7FFF_FFFF)):
            changed = bytearray(content)
            struct.pack_into(">I", changed, start + 16 + 16 * entry + field, value)
            assert told(changed, tmp_path), f"entry {entry}, field {field}"
