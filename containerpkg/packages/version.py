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
    """What identifies a package: name, version, release and architecture; there is no epoch.

    Raises :class:`PackageError` for a part that RPM does not allow.
    """

    name: str
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
        return f"{self.name}-{self.version}-{self.release}.{self.arch}"

    @property
    def filename(self) -> str:
        """The name of the package's file."""
        return f"{self}.rpm"


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
