import pytest

from containerpkg.errors import PackageError
from containerpkg.packages.version import Nevra, rpm_architecture


def nevra(name: str, version: str, release: str, arch: str) -> Nevra:
    return Nevra(name=name, version=version, release=release, arch=arch)


def test_nevra() -> None:
    made = nevra("a-b", "3.0~rc1^git", "0", "noarch")
    assert (str(made), made.filename) == (
        "a-b-3.0~rc1^git-0.noarch",
        "a-b-3.0~rc1^git-0.noarch.rpm",
    )


@pytest.mark.parametrize(
    "parts",
    [
        ("re dis", "1", "1", "noarch"),
        ("-a", "1", "1", "noarch"),
        ("a", "1%", "1", "noarch"),
        ("a", "1", "1-1", "noarch"),
        ("a", "1", "1", "x/y"),
    ],
)
def test_what_rpm_does_not_allow(parts: tuple[str, str, str, str]) -> None:
    with pytest.raises(PackageError):
        nevra(*parts)


def test_the_part_that_is_wrong_is_named() -> None:
    with pytest.raises(PackageError) as caught:
        nevra("redis", "1-2", "1", "noarch")
    assert caught.value.message == "RPM does not allow the version '1-2' in package 'redis'"


def test_architectures() -> None:
    names = ["amd64", "arm64", "arm/v7", "386", "ppc64le", "s390x", "riscv64"]
    assert [rpm_architecture(name) for name in names] == [
        "x86_64",
        "aarch64",
        "armv7hl",
        "i686",
        "ppc64le",
        "s390x",
        "riscv64",
    ]
    with pytest.raises(PackageError, match="RPM has no name for the architecture 'pdp11'"):
        rpm_architecture("pdp11")
