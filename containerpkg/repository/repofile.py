"""The ``.repo`` file that an administrator puts into /etc/yum.repos.d.

https://dnf.readthedocs.io/en/latest/conf_ref.html#repo-options
"""

from __future__ import annotations

from pathlib import Path

from containerpkg.definitions.project import Repository
from containerpkg.files import write_atomic


def key_name(repository: Repository) -> str:
    """The name of the public key's file in a signed repository."""
    return f"RPM-GPG-KEY-{repository.id}"


def render_repo_file(repository: Repository, folder: Path, *, signed: bool = False) -> str:
    """The file's text; a repository without an address is named by the folder it is in."""
    address = repository.baseurl or folder.absolute().as_uri()
    checks = int(signed)
    # The models allow one line of text each, and dnf reads the rest of a line as it stands.
    lines = [
        f"[{repository.id}]",
        f"name={repository.name}",
        f"baseurl={address}",
        "enabled=1",
        # A stick is exchanged and a mirror is updated by hand: dnf should look soon.
        "metadata_expire=5m",
        f"gpgcheck={checks}",
        f"repo_gpgcheck={checks}",
    ]
    if signed:
        lines.append(f"gpgkey={address.rstrip('/')}/{key_name(repository)}")
    return "\n".join(lines) + "\n"


def write_repo_file(repository: Repository, folder: Path, *, key: str | None = None) -> Path:
    """Write ``ID.repo`` into ``folder`` unless it is there and right; give its path.

    ``key`` is the armoured public key of a signed repository. It is written first, since the
    ``.repo`` file names it.
    """
    if key is not None:
        _write(folder / key_name(repository), key)
    path = folder / f"{repository.id}.repo"
    _write(path, render_repo_file(repository, folder, signed=key is not None))
    return path


def _write(path: Path, text: str) -> None:
    if not path.is_file() or path.read_text() != text:
        write_atomic(path, text)
