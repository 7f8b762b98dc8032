"""The file system that test hosts boot from, made once and kept in a cache.

A tree is named by the digest of its recipe, so that a changed recipe makes a new one and leaves the
old alone. It is made beside its place and renamed, so what is there is whole.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

MIRROR = "http://deb.debian.org/debian"

_STAND_IN = """\
Name: distribution-stand-in
Version: 1
Release: 1
Summary: What the distribution of the test host gives, for its empty RPM database
License: MIT
BuildArch: noarch
AutoReqProv: no
Provides: /bin/sh
Provides: /usr/bin/sh
Provides: bash
Provides: coreutils
# An epoch as EL 9 has: without it any version would do for a package that names none.
Provides: podman = 4:@PODMAN@
# For packages that are for newer ones, whose epoch has grown.
Provides: podman = 5:@PODMAN@
Provides: podman = 6:@PODMAN@
Provides: docker = @DOCKER@
# By which an older distribution's docker is known.
Provides: /usr/lib/systemd/system/docker.service
Provides: systemd = @SYSTEMD@
# Its rpm knows Python only by what Debian calls it.
Provides: python(abi) = 3.13
%description
%{summary}.
%install
mkdir --parents %{buildroot}/etc/sysconfig %{buildroot}/usr/share/containers/systemd
%files
%dir /etc/sysconfig
%dir /usr/share/containers/systemd
"""

_CONTAINERS_CONF = """\
[containers]
# The machine that runs the tests may not let limits be raised.
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
pids_limit = 0
keyring = false
"""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that goes into a tree."""

    suite: str
    packages: tuple[str, ...]
    files: Mapping[str, str]
    masked: tuple[str, ...]
    disabled: tuple[str, ...]
    stand_in: str

    @property
    def key(self) -> str:
        """16 hexadecimal digits that change with the recipe."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


TRIXIE = Recipe(
    suite="trixie",
    packages=(
        "aardvark-dns",
        "ca-certificates",
        "createrepo-c",
        "crun",
        "curl",
        "dbus",
        "dnf",
        "docker-cli",
        "docker.io",
        "iproute2",
        "netavark",
        "nftables",
        "podman",
        "postgresql-client",
        "procps",
        "python3",
        "redis-tools",
        "rpm",
        "systemd",
        "systemd-sysv",
    ),
    files={
        "etc/containers/containers.conf": _CONTAINERS_CONF,
        "etc/dnf/vars/releasever": "9\n",
        "etc/hostname": "offline\n",
        "etc/hosts": "127.0.0.1 localhost offline\n::1 localhost\n",
        "etc/resolv.conf": "",
        "etc/machine-id": "",
    },
    # Not for a container (no modules, no terminals), or would look for a network.
    masked=(
        "apt-daily-upgrade.timer",
        "apt-daily.timer",
        "console-getty.service",
        "dpkg-db-backup.timer",
        "getty.target",
        "podman-auto-update.timer",
        "podman-restart.service",
        "systemd-modules-load.service",
    ),
    # For the tests that want it: 'systemctl start docker'.
    disabled=("containerd.service", "docker.service", "docker.socket"),
    stand_in=_STAND_IN,
)


def cache_folder() -> Path:
    """``$CONTAINERPKG_TEST_CACHE``, else ``~/.cache/containerpkg-tests``."""
    chosen = os.environ.get("CONTAINERPKG_TEST_CACHE")
    return Path(chosen) if chosen else Path.home() / ".cache" / "containerpkg-tests"


def ready(recipe: Recipe, cache: Path, *, mirror: str = MIRROR) -> Path:
    """The whole tree of ``recipe`` in ``cache``, made now if it is not there (about a minute)."""
    tree = cache / f"tree-{recipe.key}"
    if tree.is_dir():
        return tree
    cache.mkdir(parents=True, exist_ok=True)
    with _waiting_lock(cache / f"tree-{recipe.key}.lock"):
        if not tree.is_dir():
            unfinished = cache / f"tree-{recipe.key}.unfinished"
            _remove(unfinished)
            _make(recipe, unfinished, mirror)
            unfinished.rename(tree)
    return tree


@contextmanager
def _waiting_lock(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _remove(folder: Path) -> None:
    """Take away what a killed debootstrap left; never what is mounted in it."""
    for mount in ("proc", "sys"):
        subprocess.run(["umount", folder / mount], check=False, capture_output=True)
    subprocess.run(["rm", "--recursive", "--force", "--one-file-system", folder], check=True)


def _make(recipe: Recipe, tree: Path, mirror: str) -> None:
    scripts = Path("/usr/share/debootstrap/scripts")
    # A debootstrap older than the suite does not know it, but makes it like any later one.
    script = recipe.suite if (scripts / recipe.suite).exists() else "sid"
    argv = ["debootstrap", "--variant=minbase", f"--include={','.join(recipe.packages)}"]
    _run([*argv, recipe.suite, tree, mirror, scripts / script])
    for name, content in recipe.files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).unlink(missing_ok=True)
        (tree / name).write_text(content)
    for unit in recipe.masked:
        (tree / "etc/systemd/system" / unit).unlink(missing_ok=True)
        (tree / "etc/systemd/system" / unit).symlink_to("/dev/null")
    _run(["chroot", tree, "systemctl", "disable", *recipe.disabled])
    _install_stand_in(recipe, tree)
    shutil.rmtree(tree / "var/cache/apt/archives")


def _install_stand_in(recipe: Recipe, tree: Path) -> None:
    def version(package: str) -> str:
        query = ["dpkg-query", "--showformat=${source:Upstream-Version}", "--show", package]
        return _run(["chroot", tree, *query]).strip().partition("+")[0]

    spec = recipe.stand_in.replace("@PODMAN@", version("podman"))
    spec = spec.replace("@DOCKER@", version("docker.io"))
    spec = spec.replace("@SYSTEMD@", version("systemd"))
    (tree / "etc/yum.repos.d").mkdir(exist_ok=True)
    (tree / "root/stand-in.spec").write_text(spec)
    _run(["chroot", tree, "rpmbuild", "-bb", "--quiet", "/root/stand-in.spec"])
    package = "/root/rpmbuild/RPMS/noarch/distribution-stand-in-1-1.noarch.rpm"
    _run(["chroot", tree, "rpm", "--install", package])
    shutil.rmtree(tree / "root/rpmbuild")
    (tree / "root/stand-in.spec").unlink()


def _run(argv: Sequence[str | Path]) -> str:
    clean = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/root"}
    proxies = {k: v for k, v in os.environ.items() if k.lower().endswith("_proxy")}
    done = subprocess.run(argv, env=clean | proxies, capture_output=True, text=True)
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-30:])
        raise RuntimeError(f"{argv[0]} failed with status {done.returncode}:\n{tail}")
    return done.stdout
