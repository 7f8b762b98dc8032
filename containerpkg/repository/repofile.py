"""The ``.repo`` file that an administrator puts into /etc/yum.repos.d.

https://dnf.readthedocs.io/en/latest/conf_ref.html#repo-options
"""

from __future__ import annotations

from pathlib import Path

from containerpkg.definitions.project import Repository
from containerpkg.files import write_atomic


def render_repo_file(repository: Repository, folder: Path) -> str:
    """The file's text; a repository without an address is named by the folder it is in."""
    # The models allow one line of text each, and dnf reads the rest of a line as it stands.
    lines = [
        f"[{repository.id}]",
        f"name={repository.name}",
        f"baseurl={repository.baseurl or folder.absolute().as_uri()}",
        "enabled=1",
        "gpgcheck=0",
        "repo_gpgcheck=0",
    ]
    return "\n".join(lines) + "\n"


def write_repo_file(repository: Repository, folder: Path) -> Path:
    """Write ``ID.repo`` into ``folder`` unless it is there and right; give its path."""
    path = folder / f"{repository.id}.repo"
    text = render_repo_file(repository, folder)
    if not path.is_file() or path.read_text() != text:
        write_atomic(path, text)
    return path
