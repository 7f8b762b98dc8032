import pytest

from containerpkg.errors import PackageError
from containerpkg.packages.version import Nevra, parse_nevra, rpm_architecture


@pytest.mark.parametrize(
    ("text", "name", "evr", "filename"),
    [
        ("redis-7.0-1.el9.x86_64", "redis", "7.0-1.el9", "redis-7.0-1.el9.x86_64.rpm"),
        ("a-b-2:3.0~rc1^git-0.noarch", "a-b", "2:3.0~rc1^git-0", "a-b-3.0~rc1^git-0.noarch.rpm"),
    ],
)
def test_nevra(text: str, name: str, evr: str, filename: str) -> None:
    nevra = parse_nevra(text)
    assert (str(nevra), nevra.name, nevra.evr, nevra.filename) == (text, name, evr, filename)


@pytest.mark.parametrize(
    "text",
    ["redis", "redis-1-1", "re dis-1-1.noarch", "-a-1-1.noarch", "a-1%-1.noarch", "a-1-1.x/y"],
)
def test_what_rpm_does_not_allow(text: str) -> None:
    with pytest.raises(PackageError):
        parse_nevra(text)


def test_the_part_that_is_wrong_is_named() -> None:
    with pytest.raises(PackageError) as caught:
        Nevra(name="redis", version="1-2", release="1", arch="noarch")
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
