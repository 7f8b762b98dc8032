"""What of OpenPGP must be read without GnuPG: who made a signature, and the armour of a key.

https://www.rfc-editor.org/rfc/rfc9580
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator

_SIGNATURE = 2
_ISSUER, _ISSUER_FINGERPRINT = 16, 33

_ARMOUR = re.compile(
    rb"-----BEGIN PGP PUBLIC KEY BLOCK-----\r?\n(?:[^\r\n]+: [^\r\n]*\r?\n)*\r?\n"
    rb"([A-Za-z0-9+/=\s]+?)(?:\r?\n=[A-Za-z0-9+/]{4}\s*)?-----END PGP PUBLIC KEY BLOCK-----"
)


def parse_issuers(packets: bytes) -> frozenset[str]:
    """The key IDs (16 upper-case hexadecimal digits) that signature packets name as theirs.

    Anybody can write any name into a signature: it says whose key has to be tried, no more.
    Packets that are cut short or unknown name nobody.
    """
    try:
        return frozenset(
            issuer
            for tag, body in _packets(packets)
            if tag == _SIGNATURE
            for issuer in _issuers(body)
        )
    except IndexError:
        return frozenset()


def parse_public_keys(content: bytes) -> bytes:
    """The packets of public keys, armoured (one block or several) or not; ValueError if neither."""
    if content[:1] and content[0] & 0x80:
        return content
    try:
        keys = b"".join(base64.b64decode(block) for block in _ARMOUR.findall(content))
    except binascii.Error as error:
        raise ValueError(f"its armour is damaged: {error}") from error
    if not keys:
        raise ValueError("it holds no public key")
    return keys


def _packets(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        first = data[at]
        if first & 0x40:
            tag = first & 0x3F
            length, at = _length(data, at + 1)
        else:
            tag, width = first >> 2 & 0xF, 1 << (first & 3)
            length, at = int.from_bytes(data[at + 1 : at + 1 + width]), at + 1 + width
        if at + length > len(data):
            raise IndexError("a packet is cut short")
        yield tag, data[at : at + length]
        at += length


def _length(data: bytes, at: int) -> tuple[int, int]:
    """A length as packets of the new form and subpackets have it, and the place behind it."""
    first = data[at]
    if first < 192:
        return first, at + 1
    if first < 255:
        return (first - 192 << 8) + data[at + 1] + 192, at + 2
    return int.from_bytes(data[at + 1 : at + 5]), at + 5


def _issuers(body: bytes) -> Iterator[str]:
    version = body[0]
    if version == 3:
        yield body[7:15].hex().upper()
        return
    if version not in {4, 6}:
        return
    width, at = (2, 4) if version == 4 else (4, 4)
    for _ in ("hashed", "unhashed"):
        end = at + width + int.from_bytes(body[at : at + width])
        at += width
        while at < end:
            length, at = _length(body, at)
            if at + length > len(body):
                raise IndexError("a subpacket is cut short")
            kind, value = body[at] & 0x7F, body[at + 1 : at + length]
            if kind == _ISSUER:
                yield value.hex().upper()
            elif kind == _ISSUER_FINGERPRINT:
                # A version 4 key is called by the end of its fingerprint, a later one by its head.
                yield (value[-8:] if value[0] == 4 else value[1:9]).hex().upper()
            at += length
