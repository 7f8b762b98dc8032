"""Renders how a service gets its secrets: as copies that live in memory while its unit does.

The unit copies each into its own RuntimeDirectory=, see systemd.exec(5), with the owner that the
container's user can read it by, and the engine mounts the copy. A credential cannot be mounted as
it is: systemd gives it to root alone.
"""

from __future__ import annotations

from containerpkg.definitions.service import Secret, Service
from containerpkg.errors import PackageError
from containerpkg.units.systemd import UnitText, names, paths, words

CREDENTIALS = 250
"""The first systemd whose units can name the folder of their credentials."""

_INSTALL = UnitText(
    """/bin/sh -c 'say="$$1"; shift; install "$$@" || { echo "$$say" >&2; exit 1; }'"""
)


def secret_bindings(name: str, service: Service) -> tuple[str, ...]:
    """The copies of the service's secrets, as ``SOURCE:TARGET:OPTIONS``."""
    return tuple(
        f"{_copy(name, secret)}:{target}:ro,Z" for secret, target in service.secret_targets.items()
    )


def secret_values(name: str, service: Service) -> dict[str, object]:
    """The values of ``secrets.j2`` and the host paths that must be mounted before."""
    sources = [secret.source for secret in service.secrets.values() if secret.source]
    credentials = [one.credential for one in service.secrets.values() if one.credential]
    return {
        "secret_sources": paths(sources),
        "secret_folder": names([_folder(name)]),
        "credentials": [names([credential]) for credential in dict.fromkeys(credentials)],
        "secret_copies": [_command(name, key, secret) for key, secret in service.secrets.items()],
    }


def check_secrets(name: str, service: Service, systemd: int) -> None:
    """Raise :class:`PackageError` for a secret that this ``systemd`` cannot give."""
    for key, secret in service.secrets.items():
        if secret.credential and systemd < CREDENTIALS:
            raise PackageError(
                f"service '{name}': the secret '{key}' is a credential, which systemd {systemd} "
                "of the target does not know",
                hint="give it a 'source' in place of 'credential', or take another target",
            )


def _command(service: str, key: str, secret: Secret) -> UnitText:
    user, _, group = secret.owner.partition(":")
    if secret.credential:
        how = (
            f"has to be the credential {secret.credential}: put it into "
            f"/etc/credstore/{secret.credential}, or say LoadCredential={secret.credential}:FILE "
            "in a drop-in"
        )
        source = UnitText(f"%d/{names([secret.credential])}")
    else:
        assert secret.source
        how = f"has to be in the file {secret.source}"
        source = words([secret.source])
    options = [f"--mode={secret.mode}", f"--owner={user}", f"--group={group or user}"]
    before = words(
        ["sh", f"the secret {key} of {service} {how}", *options, "--no-target-directory"]
    )
    return UnitText(f"{_INSTALL} {before} {source} {words([_copy(service, key)])}")


def _copy(service: str, key: str) -> str:
    return f"/run/{_folder(service)}/{key}"


def _folder(service: str) -> str:
    return f"{service}-secrets"
