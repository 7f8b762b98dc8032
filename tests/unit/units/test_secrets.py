from difflib import ndiff

import pytest

from containerpkg.definitions.service import Service
from containerpkg.errors import PackageError
from containerpkg.units.flavour import Flavour, render_units

SECRETS: dict[str, object] = {
    "key": {"source": "/etc/pki/100% $key.pem", "target": "/etc/a/key.pem", "owner": "400:401"},
    "token": {"credential": "a.token", "owner": "400", "mode": "0440"},
    "same": {"credential": "a.token"},
}


def unit(flavour: Flavour, secrets: dict[str, object], *, systemd: int = 250) -> list[str]:
    made = render_units(
        "a",
        {"a": Service.model_validate({"secrets": secrets})},
        flavour=flavour,
        engine={"quadlet": (5, 0), "podman": (4, 7), "docker": (25, 0)}[flavour],
        systemd=systemd,
        summary="A",
        package="a-container",
        repository="quay.io/foreman/a",
        tag="1.0",
        digest=f"sha256:{64 * 'a'}",
        image_id=f"sha256:{64 * 'b'}",
    )
    (file,) = (f for f in made if f.path.endswith(("/a.container", "/a.service")))
    return file.text.splitlines()


def added(flavour: Flavour) -> list[str]:
    lines = ndiff(unit(flavour, {}), unit(flavour, SECRETS))
    return [line[2:] for line in lines if line[0] in "-+"]


INSTALL = """\
ExecStartPre=/bin/sh -c 'say="$$1"; shift; install "$$@" || { echo "$$say" >&2; exit 1; }' sh \
"""
COPIES = f"""\
# In memory, until the unit stops; in neither image nor package.
RuntimeDirectory=a-secrets
RuntimeDirectoryMode=0700
LoadCredential=a.token
{INSTALL}"the secret key of a has to be in the file /etc/pki/100%% $$key.pem" \
--mode=0400 --owner=400 --group=401 --no-target-directory \
"/etc/pki/100%% $$key.pem" /run/a-secrets/key
{INSTALL}"the secret token of a has to be the credential a.token: put it into \
/etc/credstore/a.token, or say LoadCredential=a.token:FILE in a drop-in" \
--mode=0440 --owner=400 --group=400 --no-target-directory %d/a.token /run/a-secrets/token
{INSTALL}"the secret same of a has to be the credential a.token: put it into \
/etc/credstore/a.token, or say LoadCredential=a.token:FILE in a drop-in" \
--mode=0400 --owner=root --group=root --no-target-directory %d/a.token /run/a-secrets/same
""".splitlines()
MOUNTS = 'RequiresMountsFor="/etc/pki/100%% $key.pem"'
BINDINGS = [
    "/run/a-secrets/key:/etc/a/key.pem:ro,Z",
    "/run/a-secrets/token:/run/secrets/token:ro,Z",
    "/run/a-secrets/same:/run/secrets/same:ro,Z",
]


def test_a_service_gets_copies_and_the_engine_mounts_them() -> None:
    assert added("quadlet") == [MOUNTS, *(f"Volume={b}" for b in BINDINGS), *COPIES]
    for flavour in ("podman", "docker"):
        assert added(flavour) == [MOUNTS, *COPIES, *(f"  --volume={b} \\" for b in BINDINGS)]


def test_an_older_systemd_has_no_credentials() -> None:
    unit("docker", {"key": SECRETS["key"]}, systemd=219)
    with pytest.raises(PackageError) as error:
        unit("docker", SECRETS, systemd=239)
    assert error.value.message == (
        "service 'a': the secret 'token' is a credential, which systemd 239 of the target does "
        "not know"
    )
