"""Image references by the grammar of the distribution project: ``[DOMAIN/]PATH[:TAG][@DIGEST]``."""

from __future__ import annotations

import re
from dataclasses import dataclass

_COMPONENT = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_DOMAIN = re.compile(rf"(?:{_COMPONENT}(?:\.{_COMPONENT})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?")
_PATH = re.compile(
    r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*"
)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}")
_DIGEST_LENGTH = {"sha256": 64, "sha384": 96, "sha512": 128}

DEFAULT_DOMAIN = "docker.io"


class InvalidReference(ValueError):
    """Text that is not an image reference; the message is one sentence."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """An image reference, its short forms written out: ``redis`` is docker.io/library/redis."""

    domain: str
    path: str
    tag: str | None = None
    digest: str | None = None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read a reference; raises :class:`InvalidReference`."""
        rest, at, digest = text.partition("@")
        if at:
            _check_digest(text, digest)
        name, colon, tag = rest.rpartition(":")
        if not colon or "/" in tag:
            name, colon, tag = rest, "", ""
        if colon and not _TAG.fullmatch(tag):
            raise InvalidReference(f"'{text}' has an invalid tag '{tag}'")
        if re.fullmatch(r"[0-9a-f]{64}", rest):
            raise InvalidReference(f"'{text}' looks like an image ID, not like a name")
        domain, path = _split(name)
        if not _DOMAIN.fullmatch(domain):
            raise InvalidReference(f"'{text}' has an invalid registry '{domain}'")
        if not _PATH.fullmatch(path):
            if _PATH.fullmatch(path.lower()):
                raise InvalidReference(f"'{text}' must have its repository in lower case")
            raise InvalidReference(f"'{text}' is not an image reference")
        if len(domain) + len(path) + 1 > 255:
            raise InvalidReference(f"'{text[:40]}…' has a name of more than 255 characters")
        return cls(domain=domain, path=path, tag=tag or None, digest=digest or None)

    @property
    def repository(self) -> str:
        """``DOMAIN/PATH``"""
        return f"{self.domain}/{self.path}"

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.repository}{tag}{digest}"


def _split(name: str) -> tuple[str, str]:
    domain, slash, path = name.partition("/")
    written = slash and (
        "." in domain or ":" in domain or domain == "localhost" or domain != domain.lower()
    )
    if not written:
        domain, path = DEFAULT_DOMAIN, name
    elif domain == "index.docker.io":
        domain = DEFAULT_DOMAIN
    if domain == DEFAULT_DOMAIN and "/" not in path:
        path = f"library/{path}"
    return domain, path


def _check_digest(text: str, digest: str) -> None:
    algorithm, _, value = digest.partition(":")
    length = _DIGEST_LENGTH.get(algorithm)
    if not _DIGEST.fullmatch(digest) or length is None:
        raise InvalidReference(f"'{text}' has an invalid digest")
    if len(value) != length or value != value.lower():
        raise InvalidReference(
            f"'{text}' has an invalid digest: {algorithm} has {length} lower-case hex digits"
        )
