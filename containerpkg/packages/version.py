"""Names, versions and architectures as RPM has them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from containerpkg.errors import PackageError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~^]*")
_ARCHITECTURE = re.compile(r"[a-z0-9_]+")

# OCI calls architectures as Go does, https://go.dev/doc/install/source#environment, RPM as uname.
_ARCHITECTURES = {
    "386": "i686",
    "amd64": "x86_64",
    "arm": "armv7hl",
    "arm/v6": "armv6hl",
    "arm/v7": "armv7hl",
    "arm64": "aarch64",
    "arm64/v8": "aarch64",
    "loong64": "loongarch64",
    "ppc64le": "ppc64le",
    "riscv64": "riscv64",
    "s390x": "s390x",
}


@dataclass(frozen=True, kw_only=True)
class Nevra:
    """What identifies a package: name, epoch, version, release and architecture.

    Raises :class:`PackageError` for a part that RPM does not allow.
    """

    name: str
    epoch: int | None = None
    version: str
    release: str
    arch: str

    def __post_init__(self) -> None:
        for what, value, pattern in (
            ("name", self.name, _NAME),
            ("version", self.version, _VERSION),
            ("release", self.release, _VERSION),
            ("architecture", self.arch, _ARCHITECTURE),
        ):
            if not pattern.fullmatch(value):
                raise PackageError(
                    f"RPM does not allow the {what} {value!r} in package '{self.name}'",
                    hint="use letters, digits and . _ + (in a name also -, in a version also ~ ^), "
                    "beginning with a letter or digit",
                )

    def __str__(self) -> str:
        epoch = "" if self.epoch is None else f"{self.epoch}:"
        return f"{self.name}-{epoch}{self.version}-{self.release}.{self.arch}"

    @property
    def evr(self) -> str:
        """``[EPOCH:]VERSION-RELEASE``, as dependencies are written."""
        return ("" if self.epoch is None else f"{self.epoch}:") + f"{self.version}-{self.release}"

    @property
    def filename(self) -> str:
        """The name of the package's file, in which no epoch is written."""
        return f"{self.name}-{self.version}-{self.release}.{self.arch}.rpm"


def parse_nevra(text: str) -> Nevra:
    """The parts of ``NAME-[EPOCH:]VERSION-RELEASE.ARCH``.

    Raises :class:`PackageError` if ``text`` is not of that form.
    """
    match = re.fullmatch(r"(.+)-(?:(\d+):)?([^-:]+)-([^-]+)\.([^.-]+)", text)
    if not match:
        raise PackageError(f"{text!r} is not NAME-[EPOCH:]VERSION-RELEASE.ARCH")
    name, epoch, version, release, arch = match.groups()
    return Nevra(
        name=name,
        epoch=None if epoch is None else int(epoch),
        version=version,
        release=release,
        arch=arch,
    )


def rpm_architecture(oci: str) -> str:
    """RPM's name of an OCI architecture, with its variant if it has one (``arm/v7``).

    Raises :class:`PackageError` for one that RPM has no name for.
    """
    try:
        return _ARCHITECTURES[oci]
    except KeyError:
        raise PackageError(
            f"RPM has no name for the architecture '{oci}'",
            hint=f"known are {', '.join(_ARCHITECTURES)}",
        ) from None
