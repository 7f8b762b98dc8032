"""What RPM knows of this host's packages."""

import fcntl
from pathlib import Path
from typing import Dict, List

from containerpkg_host.door import Done
from containerpkg_host.host import Host

# Without a terminal rpm does not wait for a transaction to end.
_ERASE = """\
for package; do
    tries=0
    until rpm --quiet --erase "$package" || ! rpm --quiet --query "$package"; do
        tries=$((tries + 1))
        [ $tries -lt 120 ] || break
        sleep 0.5
    done
done
"""


def wait_for_transaction(host: Host) -> None:
    """Return when no rpm or dnf transaction is under way.

    rpm holds a POSIX write lock on one file for the whole of a transaction.
    """
    name = host.run(["rpm", "--eval", "%{_rpmlock_path}"]).out.strip()
    if not name.startswith("/"):
        name = host.run(["rpm", "--eval", "%{_dbpath}"]).out.strip() + "/.rpm.lock"
    path = host.root / name.lstrip("/")
    try:
        with path.open("rb") as file:
            fcntl.lockf(file, fcntl.LOCK_SH)
    except FileNotFoundError:
        pass


def unneeded_layers(host: Host) -> List[str]:
    """The layer packages whose blob no installed package requires, sorted."""
    listed = host.run(
        ["rpm", "--query", "--all", "--queryformat=[%{=NAME} %{PROVIDENAME}\n]", "oci-layer-*"]
    )
    blobs: Dict[str, str] = {}
    for line in listed.out.splitlines():
        package, _, provided = line.partition(" ")
        if provided.startswith("oci-blob("):
            blobs[provided] = package
    if listed.status or not blobs:
        return []
    required = host.run(["rpm", "--query", "--all", "--queryformat=[%{REQUIRENAME}\n]"])
    if required.status:
        return []
    needed = set(required.out.split())
    return sorted({package for blob, package in blobs.items() if blob not in needed})


def erase(host: Host, packages: List[str]) -> Done:
    """Remove packages when no transaction is under way; rpm refuses all if one is needed.

    It is one transaction: a dnf that nobody sits at fails if it meets one, and does not wait.
    """
    wait_for_transaction(host)
    return host.run(["rpm", "--erase", *packages])


def erase_later(host: Host, packages: List[str]) -> None:
    """Remove packages after the transaction that we are part of, one by one."""
    if packages:
        argv = ["systemd-run", "--quiet", "--collect", "--no-block", "--unit=containerpkg-leave"]
        host.run([*argv, "/bin/sh", "-c", _ERASE, "sh", *packages])


def file_sha256(host: Host, path: Path) -> str:
    """64 hexadecimal digits: what a file's package says of its content; empty if rpm has none."""
    query = "--queryformat=[%{FILENAMES} %{FILEDIGESTS}\n]"
    done = host.run(["rpm", "--query", query, "--file", str(path)])
    for line in done.out.splitlines() if done.status == 0 else ():
        name, _, rest = line.partition(" ")
        if name == str(path) and len(rest) == 64:
            return rest
    return ""


def owners(host: Host, path: Path) -> int:
    """How many packages have a file: two while one takes the place of the other."""
    done = host.run(["rpm", "--query", "--queryformat=1\n", "--file", str(path)])
    return len(done.out.split()) if done.status == 0 else 0


def owner(host: Host, path: Path) -> str:
    """NAME-VERSION-RELEASE.ARCH of the package that a file belongs to, or empty."""
    query = "--queryformat=%{NAME}-%{VERSION}-%{RELEASE}.%{ARCH}\n"
    done = host.run(["rpm", "--query", query, "--file", str(path)])
    return done.out.splitlines()[0] if done.status == 0 and done.out else ""
