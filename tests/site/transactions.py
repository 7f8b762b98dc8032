"""What an administrator does with dnf on a host, and all that follows from it."""

from __future__ import annotations

from tests.site.host import Host

_REPO_FILE = """\
[containerpkg]
name=Container packages
baseurl=file:///srv/repo
gpgcheck=0
metadata_expire=0
"""


def use_repository(host: Host) -> None:
    """Have dnf look at /srv/repo, each time, and at nothing else."""
    host.path("/etc/yum.repos.d/containerpkg.repo").write_text(_REPO_FILE)


def dnf(host: Host, *arguments: str) -> str:
    """A transaction, and what containerpkg does after it; everything that dnf printed."""
    done = host.run("dnf", "--assumeyes", "--refresh", *arguments)
    settle(host)
    return done.stdout + done.stderr


def settle(host: Host) -> None:
    """Wait for what a transaction, or the start of the host, has begun."""

    def idle() -> bool:
        state = host.run("systemctl", "is-active", "containerpkg-sync", check=False).stdout
        return state.strip() in {"inactive", "failed", "unknown"}

    host.wait_for(idle, "end of what dnf began", 300)
