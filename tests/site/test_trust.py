"""What a host with gpgcheck=1 and repo_gpgcheck=1 takes, and what it refuses."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from containerpkg.definitions.project import Signing
from containerpkg.packages import signing
from containerpkg.packages.rpmfile import load_headers
from containerpkg.repository.metadata import publish_metadata, revision_of
from tests.site.host import Host, new_host
from tests.site.tree import cache_folder
from tests.trust import Keys, Publisher, containerpkg, made_keys

KEY = "/etc/pki/rpm-gpg/RPM-GPG-KEY-containerpkg"

REPO_FILE = f"""\
[containerpkg]
name=Container packages
baseurl=file:///srv/repo
enabled=1
gpgcheck=1
repo_gpgcheck=1
gpgkey=file://{KEY}
"""


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keys]:
    with made_keys(tmp_path_factory.mktemp("k") / "g") as keys:
        yield keys


@pytest.fixture(scope="module")
def publisher(keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> Publisher:
    """Two versions of app, signed; ``first`` is the repository as it was before the second."""
    publisher = Publisher(tmp_path_factory.mktemp("signed"))
    publisher.make(keys)
    shutil.copytree(publisher.repo, publisher.root / "first")
    publisher.change("2")
    publisher.make(keys)
    return publisher


@pytest.fixture
def site(tree: Path, keys: Keys) -> Iterator[Host]:
    """A host that trusts our key and has an empty folder for a repository."""
    with new_host(tree, cache_folder()) as host:
        host.boot()
        place = host.path(KEY)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(keys.public(keys.ours))
        host.run("rpm", "--import", KEY)
        host.path("/etc/yum.repos.d/containerpkg.repo").write_text(REPO_FILE)
        yield host


def publish(host: Host, repo: Path) -> None:
    """Bring a repository to the host, as a mirror or a stick would."""
    host.run("rm", "-rf", "/srv/repo")
    host.copy_in(repo, "/srv/repo")


def dnf(host: Host, *arguments: str) -> tuple[int, str]:
    done = host.run("dnf", "--assumeyes", "--refresh", *arguments, check=False)
    return done.returncode, done.stdout + done.stderr


def installed(host: Host) -> set[str]:
    found = host.run("rpm", "-qa").stdout.split()
    return {name for name in found if name.startswith(("app-", "base-", "oci-layer-"))}


def app(repo: Path) -> Path:
    return max((repo / "packages").glob("app-*.rpm"))


def run(publisher: Publisher, *arguments: str | Path) -> None:
    done = containerpkg(*arguments, cwd=publisher.root)
    assert done.returncode == 0, done.stdout + done.stderr


def sign(path: Path, keys: Keys, key: str) -> None:
    with signing.opened(Signing(**Publisher.signing(keys, key)), path.parent) as signer:
        signer.sign_package(path)


def sign_metadata(repo: Path, keys: Keys, key: str) -> None:
    with signing.opened(Signing(**Publisher.signing(keys, key)), repo) as signer:
        publish_metadata(repo, signer=signer)


def unsigned(repo: Path, keys: Keys) -> None:
    subprocess.run(["rpmsign", "--delsign", app(repo)], check=True, capture_output=True)
    sign_metadata(repo, keys, keys.ours)


def signed_by_others(repo: Path, keys: Keys) -> None:
    sign(app(repo), keys, keys.theirs)
    sign_metadata(repo, keys, keys.ours)


def altered(repo: Path, keys: Keys) -> None:
    """A package that is not what the metadata says."""
    _flip(app(repo), load_headers(app(repo)).payload + 400)


def altered_with_metadata(repo: Path, keys: Keys) -> None:
    """A package whose header was changed, in metadata that says so and is signed."""
    _flip(app(repo), load_headers(app(repo)).payload - 40)
    sign_metadata(repo, keys, keys.ours)


def metadata_of_others(repo: Path, keys: Keys) -> None:
    (repo / "repodata/repomd.xml.asc").unlink()
    sign_metadata(repo, keys, keys.theirs)


def metadata_unsigned(repo: Path, keys: Keys) -> None:
    (repo / "repodata/repomd.xml.asc").unlink()


def _flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


FAULTS: dict[Callable[[Path, Keys], None], str] = {
    unsigned: "is not signed\nError: GPG check FAILED",
    signed_by_others: "are already installed but they are not correct for this package",
    altered: "has incorrect checksum",
    altered_with_metadata: "Error: GPG check FAILED",
    metadata_of_others: "repomd.xml GPG signature verification error: Bad GPG signature",
    metadata_unsigned: "GPG verification is enabled, but GPG signature is not available",
}


@pytest.mark.timeout(600)
def test_signed_packages_install_and_nothing_else_does(
    site: Host, publisher: Publisher, keys: Keys, tmp_path: Path
) -> None:
    for fault, message in FAULTS.items():
        repo = Path(shutil.copytree(publisher.repo, tmp_path / fault.__name__))
        fault(repo, keys)
        publish(site, repo)
        status, said = dnf(site, "install", "app-container")
        assert status == 1, f"{fault.__name__}: {said}"
        assert message in said, said
        assert installed(site) == set(), fault.__name__

    publish(site, publisher.repo)
    status, said = dnf(site, "install", "app-container")
    assert status == 0, said
    newest = app(publisher.repo).name.removesuffix(".rpm")
    assert {name for name in installed(site) if name.startswith("app-")} == {newest}
    verified = site.run("rpm", "--verify", newest).stdout
    assert verified == ""


@pytest.mark.timeout(300)
def test_metadata_of_yesterday(site: Host, publisher: Publisher, keys: Keys) -> None:
    """It is validly signed, so dnf takes it; its revision is what tells."""
    publish(site, publisher.root / "first")
    status, said = dnf(site, "install", "base-container", "app-container")
    assert status == 0, said
    old = installed(site)
    publish(site, publisher.repo)
    # Until the metadata that it has expires, dnf does not look.
    cached = site.run("dnf", "--assumeyes", "--cacheonly", "update").stdout
    assert "Nothing to do." in cached
    publish(site, publisher.root / "first")
    status, said = dnf(site, "update")
    assert (status, installed(site)) == (0, old), "dnf sees no update, and does not complain"
    publish(site, publisher.repo)
    status, said = dnf(site, "update")
    assert status == 0, said
    new = installed(site)
    assert new != old
    publish(site, publisher.root / "first")
    status, said = dnf(site, "update")
    assert (status, installed(site)) == (0, new), "what is installed is never made older by it"
    assert revision_of(publisher.root / "first/repodata") < revision_of(publisher.repo / "repodata")


@pytest.mark.timeout(300)
def test_a_bundle_installs_as_its_readme_says(
    site: Host, publisher: Publisher, keys: Keys, tmp_path: Path
) -> None:
    site.path("/etc/yum.repos.d/containerpkg.repo").unlink()
    run(publisher, "bundle", "-o", tmp_path / "new.tar")
    site.copy_in(tmp_path / "new.tar", "/media/new.tar")
    site.run(
        "tar", "--extract", "--no-same-owner", "--directory", "/srv", "--file", "/media/new.tar"
    )
    place = "/srv/containerpkg"
    site.run("sh", "-c", f"cd {place} && sha256sum --quiet --check SHA256SUMS")
    site.run("rpm", "--import", f"{place}/RPM-GPG-KEY-containerpkg")
    site.run("cp", f"{place}/containerpkg.repo", "/etc/yum.repos.d/")
    status, said = dnf(site, "install", "app-container")
    assert status == 0, said

    # What the site has stays out of the next one, and what is new finds its layers there.
    exported = site.run("sh", "-c", "rpm -qa 'oci-layer-*' '*-container' | sort").stdout
    (tmp_path / "site.txt").write_text(exported)
    publisher.change("3")
    publisher.make(keys)
    run(publisher, "bundle", "-o", tmp_path / "next.tar", "--since", tmp_path / "site.txt")
    listing = subprocess.run(
        ["tar", "-tf", tmp_path / "next.tar"], check=True, capture_output=True, text=True
    ).stdout
    assert sum("/oci-layer-" in line for line in listing.splitlines()) == 1
    site.run("rm", "-rf", place)
    site.copy_in(tmp_path / "next.tar", "/media/next.tar")
    site.run(
        "tar", "--extract", "--no-same-owner", "--directory", "/srv", "--file", "/media/next.tar"
    )
    status, said = dnf(site, "update")
    assert status == 0, said
    assert app(publisher.repo).name.removesuffix(".rpm") in installed(site)
