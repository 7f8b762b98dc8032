"""The package of the program that keeps a host's containers and packages in step."""

from __future__ import annotations

import re
from pathlib import Path

from containerpkg import __version__
from containerpkg.errors import HostError
from containerpkg.packages import spec
from containerpkg.packages.layer import SHARE
from containerpkg.packages.plan import SHARED_TIME, PackageFile, PackagePlan, Symlink
from containerpkg.packages.version import Nevra
from containerpkg.templates import render

NAME = "containerpkg-runtime"
"""What image packages with services require."""

_PACKAGE = Path(__file__).resolve().parents[1]

_HOST = f"{SHARE}/host"
_LIBEXEC = "/usr/libexec/containerpkg"
_SYSTEM = "/usr/lib/systemd/system"
_STATE = "/var/lib/containerpkg"


def sources() -> Path:
    """The folder ``runtime`` of the source tree, or of the wheel.

    Raises :class:`HostError` if it is nowhere.
    """
    for folder in (_PACKAGE / "data/runtime", _PACKAGE.parent / "runtime"):
        if folder.is_dir():
            return folder
    raise HostError("the files of containerpkg-runtime are missing", hint="reinstall containerpkg")


def plan_runtime(stamp: str) -> PackagePlan:
    """The package, with the release that ``stamp`` ends. No project changes it."""
    nevra = Nevra(name=NAME, version=_version(__version__), release=f"1.{stamp}", arch="noarch")
    folder = sources()
    program, package = "containerpkg-host", f"{_HOST}/containerpkg_host"
    files = [
        PackageFile(target=f"{_HOST}/__main__.py", content=folder / "__main__.py"),
        *(
            PackageFile(target=f"{package}/{path.name}", content=path)
            for path in (folder / "containerpkg_host").glob("*.py")
        ),
        PackageFile(target=f"{_LIBEXEC}/{program}", content=folder / program, mode=0o755),
        PackageFile(target=f"/usr/bin/{program}", content=Symlink(to=f"../..{_LIBEXEC}/{program}")),
        PackageFile(
            target=f"{_SYSTEM}/containerpkg-sync.service",
            content=folder / "containerpkg-sync.service",
        ),
        # Switched on by itself; 'systemctl mask' is how to have it never run.
        PackageFile(
            target=f"{_SYSTEM}/multi-user.target.wants/containerpkg-sync.service",
            content=Symlink(to="../containerpkg-sync.service"),
        ),
        PackageFile(
            target="/etc/containerpkg/host.conf", content=folder / "host.conf", config=True
        ),
        PackageFile(
            target="/usr/share/man/man8/containerpkg-host.8",
            content=folder / "containerpkg-host.8",
        ),
    ]
    files.sort(key=lambda file: file.target)
    directories = tuple(sorted(("/etc/containerpkg", _LIBEXEC, SHARE, _HOST, package, _STATE)))
    return PackagePlan(
        nevra=nevra,
        time=SHARED_TIME,
        directories=directories,
        files=tuple(files),
        payload="w1.gzdio",  # what rpm 4.11 of Enterprise Linux 7 certainly reads
        spec=render(
            "runtime.spec.j2",
            {
                "nevra": nevra,
                # Enterprise Linux 8 provides it with a Python that is no package 'python3'.
                "requires": [spec.dependency("python(abi) >= 3.6"), spec.dependency("systemd")],
                "directories": [spec.path(path) for path in directories],
                "files": spec.files(files),
            },
            kind="spec-templates",
            serialize=spec.line,
        ),
    )


def _version(python: str) -> str:
    """RPM orders what comes before a release only after a tilde: 1.0rc1 becomes 1.0~rc1."""
    return re.sub(r"\.?(a|b|rc|dev)(?=\d)", r"~\1", python)
