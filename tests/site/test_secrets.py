"""A service gets what is secret from its host alone, and says what it lacks."""

from __future__ import annotations

from pathlib import Path

import pytest

from containerpkg.definitions.project import Layers
from containerpkg.store.content import ContentStore
from tests.site.host import Host
from tests.site.probe import build_packages, build_runtime, store_image

_KEY, _TOKEN = "the key of the test", "the token of the test"

_SERVICE: dict[str, object] = {
    "user": "4321:4322",
    "command": ["sh", "-c", "trap exit TERM; sleep 9999 & wait"],
    "mounts": [{"source": "/usr", "target": "/usr"}],
    "secrets": {
        "key": {
            "source": "/etc/pki/probe's key.pem",
            "target": "/etc/probe/key.pem",
            "owner": "4321:4322",
        },
        "token": {"credential": "probe.token", "owner": "4321", "mode": "0440"},
    },
    "health": {"command": "true", "interval": "1s"},
    "restart": "no",
    "stop_timeout": "1s",
}


def _seen(host: Host, engine: str, file: str) -> list[str]:
    shell = 'cat "$1"; stat --format="%u:%g %a" "$1"; : >"$1"'
    done = host.run(engine, "exec", "probe", "sh", "-c", shell, "sh", file, check=False)
    assert "Read-only file system" in done.stderr
    return done.stdout.splitlines()


def _fails(host: Host) -> str:
    assert host.run("systemctl", "start", "probe", check=False).returncode == 1
    return host.journal("probe")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("target", ["el9", "el9-podman", "el9-docker"])
def test_a_key_in_a_file_and_a_token_as_a_credential(
    host: Host, tmp_path: Path, target: str
) -> None:
    engine = "docker" if target.endswith("-docker") else "podman"
    store = ContentStore(tmp_path / "store", Layers())
    stored = store_image(store, "secrets")
    built = [
        build_runtime(tmp_path, tmp_path / "out"),
        build_packages(tmp_path, tmp_path / "out", store, stored, _SERVICE, "1", target=target)[0],
    ]
    for package in built:
        host.copy_in(package, f"/srv/{package.name}")
    host.run("rpm", "--install", "--nodeps", *(f"/srv/{package.name}" for package in built))

    said = _fails(host)
    assert "the secret key of probe has to be in the file /etc/pki/probe's key.pem" in said
    host.path("/etc/pki").mkdir(exist_ok=True)
    host.path("/etc/pki/probe's key.pem").write_text(_KEY)
    host.path("/etc/pki/probe's key.pem").chmod(0o600)
    assert (
        "the secret token of probe has to be the credential probe.token: put it into "
        "/etc/credstore/probe.token, or say LoadCredential=probe.token:FILE in a drop-in"
    ) in _fails(host)
    host.path("/srv/token").write_text(_TOKEN)
    dropins = host.path("/etc/systemd/system/probe.service.d")
    dropins.mkdir()
    (dropins / "token.conf").write_text("[Service]\nLoadCredential=probe.token:/srv/token\n")
    host.run("systemctl", "daemon-reload")
    host.run("systemctl", "start", "probe")

    assert _seen(host, engine, "/etc/probe/key.pem") == [_KEY + "4321:4322 400"]
    assert _seen(host, engine, "/run/secrets/token") == [_TOKEN + "4321:4321 440"]
    shown = host.run(engine, "inspect", "probe").stdout
    shown += host.run(engine, "image", "inspect", stored.id).stdout
    shown += host.run("systemctl", "show", "probe").stdout
    files = host.run("rpm", "--query", "--list", "probe-container").stdout.split()
    packaged = b"".join(host.path(f).read_bytes() for f in files if host.path(f).is_file())
    for secret in (_KEY, _TOKEN):
        assert secret not in shown
        assert secret.encode() not in packaged
    mode = host.path("/run/probe-secrets").stat().st_mode
    assert mode & 0o777 == 0o700

    # Encrypted with the host's key.
    encrypt = ["systemd-creds", "encrypt", "--with-key=host", "--name=probe.token"]
    host.run(*encrypt, "-", "/srv/token.encrypted", stdin="an encrypted token")
    (dropins / "token.conf").write_text(
        "[Service]\nLoadCredentialEncrypted=probe.token:/srv/token.encrypted\n"
    )
    host.run("systemctl", "daemon-reload")
    host.run("systemctl", "restart", "probe")
    assert _seen(host, engine, "/run/secrets/token") == ["an encrypted token4321:4321 440"]

    # The token that the host keeps for all units, after a restart.
    (dropins / "token.conf").unlink()
    host.path("/etc/credstore").mkdir(exist_ok=True)
    host.path("/etc/credstore/probe.token").write_text("another token")
    host.run("systemctl", "daemon-reload")
    host.run("systemctl", "restart", "probe")
    assert _seen(host, engine, "/run/secrets/token") == ["another token4321:4321 440"]

    host.run("systemctl", "stop", "probe")
    assert not host.path("/run/probe-secrets").exists()
