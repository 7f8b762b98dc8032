"""Who a signature names as its maker, and keys with and without armour."""

from __future__ import annotations

import base64

import pytest

from containerpkg.packages.openpgp import parse_issuers, parse_public_keys

FINGERPRINT = bytes(range(20))
KEY_ID = "0C0D0E0F10111213"


def packet(body: bytes, *, new: bool = False) -> bytes:
    return bytes([0xC2, len(body)]) + body if new else bytes([0x88, len(body)]) + body


def version4(hashed: bytes, unhashed: bytes = b"") -> bytes:
    areas = b"".join(len(area).to_bytes(2) + area for area in (hashed, unhashed))
    return b"\x04\x00\x01\x08" + areas + b"\xab\xcd" + b"\x00\x08\xff"


def subpacket(kind: int, value: bytes) -> bytes:
    return bytes([len(value) + 1, kind]) + value


ISSUER = subpacket(16, FINGERPRINT[-8:])
NAMED = subpacket(33, b"\x04" + FINGERPRINT)


@pytest.mark.parametrize(
    ("packets", "issuers"),
    [
        (packet(version4(NAMED)), {KEY_ID}),
        (packet(version4(subpacket(2, bytes(4)), ISSUER), new=True), {KEY_ID}),
        (packet(b"\x03\x05\x00" + bytes(4) + FINGERPRINT[-8:] + bytes(4)), {KEY_ID}),
        (
            packet(
                b"\x06\x00\x1b\x08" + (35).to_bytes(4) + subpacket(33, b"\x06" + bytes(range(32)))
            ),
            {"0001020304050607"},
        ),
        (
            packet(version4(NAMED)) + packet(version4(b"", subpacket(16, b"\xff" * 8))),
            {KEY_ID, "F" * 16},
        ),
        (packet(version4(NAMED))[:12], set()),
        (packet(b"\x09\x00"), set()),
        (bytes([0x99, 0x00, 0x02, 0x04, 0x00]), set()),
        (b"", set()),
        (b"-----BEGIN PGP SIGNATURE-----", set()),
    ],
)
def test_issuers(packets: bytes, issuers: set[str]) -> None:
    assert parse_issuers(packets) == issuers


def armour(key: bytes, headers: str = "") -> bytes:
    text = base64.encodebytes(key).decode()
    return (
        f"-----BEGIN PGP PUBLIC KEY BLOCK-----\n{headers}\n{text}=AbCd\n"
        "-----END PGP PUBLIC KEY BLOCK-----\n"
    ).encode()


def test_public_keys() -> None:
    one, other = b"\x98" + bytes(range(80)), b"\xc6" + bytes(70)
    assert parse_public_keys(one) == one
    assert parse_public_keys(armour(one)) == one
    both = (
        b"# two keys\n" + armour(one, "Comment: of ours\n") + armour(other).replace(b"\n", b"\r\n")
    )
    assert parse_public_keys(both) == one + other
    for nothing in (b"", b"no key", b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nQUJD\n"):
        with pytest.raises(ValueError, match="holds no public key"):
            parse_public_keys(nothing)
