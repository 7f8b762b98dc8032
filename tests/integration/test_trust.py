"""Signatures: who signs what, what is signed again, and where ``verify`` sees a chain break."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import createrepo_c
import pytest

from containerpkg.definitions.project import Signing
from containerpkg.errors import RepositoryError
from containerpkg.packages import image as packaged_image
from containerpkg.packages import signing
from containerpkg.packages.plan import PackageFile
from containerpkg.packages.rpmfile import load_headers
from containerpkg.packages.signing import PASSPHRASE as VARIABLE
from containerpkg.packages.signing import SignatureError, SigningError
from containerpkg.repository import metadata
from containerpkg.repository.chain import verify
from containerpkg.repository.metadata import publish_metadata
from tests.trust import (
    PASSPHRASE,
    Keys,
    Publisher,
    containerpkg,
    forget_passphrases,
    made_keys,
)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keys]:
    with made_keys(tmp_path_factory.mktemp("k") / "g") as keys:
        yield keys


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    return Publisher(tmp_path)


@pytest.fixture(scope="module")
def signed(keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> Publisher:
    """A signed repository with two versions of app; tests work on copies of its ``repo``."""
    publisher = Publisher(tmp_path_factory.mktemp("signed"))
    publisher.make(keys)
    shutil.copytree(publisher.repo, publisher.root / "first")
    publisher.change("2")
    publisher.make(keys)
    return publisher


@pytest.fixture
def repo(signed: Publisher, tmp_path: Path) -> Path:
    return Path(shutil.copytree(signed.repo, tmp_path / "repo"))


@pytest.fixture
def key_file(keys: Keys, tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text(keys.public(keys.ours))
    return path


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def rpm_says(package: Path, public: str, folder: Path) -> str:
    """What rpm itself thinks of a package when it knows one key."""
    database = folder / "db"
    database.mkdir(parents=True, exist_ok=True)
    (folder / "public").write_text(public)
    argv = ["rpmkeys", f"--dbpath={database}"]
    subprocess.run([*argv, "--import", folder / "public"], check=True)
    done = subprocess.run([*argv, "--checksig", package], capture_output=True, text=True)
    return done.stdout.removeprefix(f"{package}: ").strip()


def test_an_unsigned_repository_is_signed_whole_and_then_left_alone(
    publisher: Publisher, keys: Keys, tmp_path: Path
) -> None:
    publisher.make()
    publisher.change("2")
    publisher.make()
    plain = {path.name: path.read_bytes() for path in publisher.packages.iterdir()}
    assert len(plain) == 6

    report = publisher.make(keys)
    assert [(p.fresh, len(p.reused)) for p in report.packaged] == [((), 2), ((), 3)]
    for path in publisher.packages.iterdir():
        assert rpm_says(path, keys.public(keys.ours), tmp_path) == "digests signatures OK"
        # The signature is the only change: header and payload are byte for byte what they were.
        (tmp_path / "plain.rpm").write_bytes(plain[path.name])
        before, after = load_headers(tmp_path / "plain.rpm"), load_headers(path)
        start = after.payload - len(after.main.raw)
        assert (
            path.read_bytes()[start:] == plain[path.name][before.payload - len(before.main.raw) :]
        )
    names = {path.name for path in publisher.repo.iterdir()}
    assert names == {"packages", "repodata", "containerpkg.repo", "RPM-GPG-KEY-containerpkg"}
    assert (publisher.repo / "containerpkg.repo").read_text().splitlines()[3:] == [
        "enabled=1",
        "metadata_expire=5m",
        "gpgcheck=1",
        "repo_gpgcheck=1",
        f"gpgkey={publisher.repo.as_uri()}/RPM-GPG-KEY-containerpkg",
    ]

    before = digests(publisher.repo)
    publisher.make(keys)
    assert digests(publisher.repo) == before

    publisher.make(keys, keys.theirs)
    assert rpm_says(publisher.package("app"), keys.public(keys.theirs), tmp_path / "theirs") == (
        "digests signatures OK"
    )
    after = digests(publisher.repo)
    same = {name for name in before if after.get(name) == before[name]}
    assert {name for name in same if not name.endswith(".xml.gz")} == {"containerpkg.repo"}


def test_a_repository_stays_as_it_is_until_all_of_it_is_signed(
    publisher: Publisher, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher.make()
    before = digests(publisher.repo)
    real, signed = signing.Signer.sign_package, []

    def sign_package(signer: signing.Signer, package: Path) -> None:
        if len(signed) == 3:
            raise KeyboardInterrupt
        signed.append(package.name)
        real(signer, package)

    with monkeypatch.context() as patch:
        patch.setattr(signing.Signer, "sign_package", sign_package)
        with pytest.raises(KeyboardInterrupt):
            publisher.make(keys)
    assert digests(publisher.repo) == before
    assert len(publisher.make(keys).signed) == 4


def test_a_signed_repository_is_not_published_without_the_key(
    publisher: Publisher, keys: Keys
) -> None:
    publisher.make(keys)
    before = digests(publisher.repo)
    publisher.change("2")
    with pytest.raises(RepositoryError, match="is signed, and this run has no key"):
        publisher.make()
    assert digests(publisher.repo) == before


def test_a_key_on_the_command_line(publisher: Publisher, keys: Keys, tmp_path: Path) -> None:
    publisher.make()
    names = [path.name for path in sorted(publisher.packages.iterdir())]

    def package(*arguments: str) -> subprocess.CompletedProcess[str]:
        env = {"GNUPGHOME": str(keys.home), VARIABLE: PASSPHRASE}
        return containerpkg("package", "--sign", *arguments, cwd=publisher.root, **env)

    planned = json.loads(package(keys.theirs, "--dry-run", "--json").stdout)["packages"]
    assert [(p["action"], p["reason"]) for p in planned] == [
        *[("keep", "there")] * 4,
        *[("sign", "not signed by the key")] * 4,
    ]
    assert [p["package"] for p in planned[4:]] == names
    done = package("theirs@example.org")
    assert done.returncode == 0, done.stderr
    told = [line.partition("] ")[2] for line in done.stderr.splitlines() if "signed" in line]
    assert told == [f"signed {name}" for name in names]
    assert done.stdout.endswith(f"{publisher.repo}: nothing new, 4 packages signed\n")
    for name in names:
        said = rpm_says(publisher.packages / name, keys.public(keys.theirs), tmp_path / "rpm")
        assert said == "digests signatures OK"
    done = package("nobody", "--json")
    assert (done.returncode, json.loads(done.stdout)["error"]["message"]) == (
        8,
        "GnuPG has no secret key 'nobody': gpg: error reading key: No secret key",
    )


@pytest.mark.parametrize("exchange", [metadata.exchange, lambda *_: False], ids=["swap", "move"])
def test_metadata_and_signature_belong_together_and_old_files_stay(
    exchange: Callable[[Path, Path], bool], repo: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    app(repo).unlink()
    monkeypatch.setattr(metadata, "exchange", exchange)
    before = metadata.revision_of(repo / "repodata")
    with signing.opened(Signing(**Publisher.signing(keys)), repo) as signer:
        assert publish_metadata(repo, signer=signer).changed
        assert not publish_metadata(repo, signer=signer).changed
        # A run that was killed between repomd.xml and its signature is made good.
        signature = repo / "repodata/repomd.xml.asc"
        signature.write_bytes(b"-----BEGIN PGP SIGNATURE-----\n\nnonsense\n")
        assert publish_metadata(repo, signer=signer).changed
    assert metadata.revision_of(repo / "repodata") > before
    assert containerpkg("verify", repo).returncode == 0
    assert sorted(path.name for path in repo.iterdir() if path.name.startswith(".")) == []
    newest = {
        Path(r.location_href).name
        for r in createrepo_c.Repomd(f"{repo}/repodata/repomd.xml").records
    }
    found = {path.name for path in (repo / "repodata").iterdir()}
    assert newest | {"repomd.xml", "repomd.xml.asc"} <= found


def test_a_key_that_the_hosts_of_a_target_do_not_know(publisher: Publisher, keys: Keys) -> None:
    publisher.make()
    before = digests(publisher.repo)
    env = {"GNUPGHOME": str(keys.home), VARIABLE: PASSPHRASE}
    argv = ("package", "--sign", keys.ours, "--target", "el8-podman")
    done = containerpkg(*argv, cwd=publisher.root, **env)
    said = (
        "containerpkg: error: hosts of the target 'el8-podman' read RSA signatures alone, and the "
        f"key '{keys.ours}' makes others\n"
        "hint: gpg --quick-generate-key 'NAME <ADDRESS>' rsa4096 sign 2y\n"
    )
    assert (done.returncode, done.stderr) == (8, said)
    assert digests(publisher.repo) == before


def test_where_the_passphrase_comes_from(keys: Keys, tmp_path: Path) -> None:
    file = tmp_path / "text"
    file.write_text("text")
    given: list[list[str]] = []

    def run(argv, **options):
        given.append(list(argv))
        return signing.process.run(argv, **options)

    def sign(settings: dict[str, str], environment: dict[str, str]) -> None:
        forget_passphrases(keys)
        with signing.opened(Signing(**settings), tmp_path, environment, run=run) as signer:
            signer.sign_file(file)

    bare = {"key": "ours@example.org", "home": str(keys.home)}
    sign(bare, {VARIABLE: PASSPHRASE})
    sign({**bare, "passphrase_file": str(keys.home / "passphrase")}, {VARIABLE: "wrong"})
    assert not any("words" in word for argv in given for word in argv)
    for settings, environment, message in (
        (bare, {VARIABLE: "wrong"}, f"the key {keys.ours} could not sign text:"),
        (bare, {}, f"the key {keys.ours} could not sign text:"),
        ({**bare, "key": "nobody"}, {}, f"GnuPG has no secret key 'nobody' in {keys.home}: "),
        (
            {**bare, "key": "example.org"},
            {},
            f"GnuPG has 2 secret keys 'example.org' in {keys.home}",
        ),
    ):
        with pytest.raises(SigningError) as caught:
            sign(settings, environment)
        assert caught.value.message.startswith(message)
        assert caught.value.hint


def test_the_digest_is_not_what_gpg_conf_says(keys: Keys, repo: Path) -> None:
    settings = keys.home / "gpg.conf"
    settings.write_text("digest-algo SHA1\n")
    try:
        with signing.opened(Signing(**Publisher.signing(keys)), repo) as signer:
            signer.sign_package(app(repo))
            file = signer.sign_file(repo / "containerpkg.repo")
    finally:
        settings.unlink()
    of_package = repo / "signature"
    of_package.write_bytes(load_headers(app(repo)).signatures)
    for path in (of_package, file):
        assert "digest algo 8," in keys.gpg("--list-packets", str(path))


def test_a_whole_chain(repo: Path, key_file: Path) -> None:
    done = containerpkg("verify", repo, "--key", key_file, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    links = json.loads(done.stdout)["links"]
    assert [link["kind"] for link in links] == ["metadata", *["package"] * 6, *["image"] * 3]
    assert all(link["good"] for link in links)
    # One package alone: the layers that it needs lie beside it.
    alone = json.loads(containerpkg("verify", app(repo), "--json").stdout)
    assert [link["kind"] for link in alone["links"]] == ["package"] * 3 + ["image"]
    assert alone["whole"]


def alter(path: Path, place: int) -> None:
    with path.open("r+b") as file:
        file.seek(place, os.SEEK_SET if place > 0 else os.SEEK_END)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))


def layer(repo: Path) -> Path:
    return min((repo / "packages").glob("oci-layer-*.rpm"))


def app(repo: Path) -> Path:
    return max((repo / "packages").glob("app-*.rpm"))


def metadata_file(repo: Path, kind: str) -> str:
    return str(createrepo_c.Repomd(f"{repo}/repodata/repomd.xml")[kind].location_href)


def resign(path: Path, keys: Keys) -> None:
    with signing.opened(Signing(**Publisher.signing(keys, keys.theirs)), path.parent) as signer:
        signer.sign_package(path)


def republish(repo: Path, keys: Keys) -> None:
    """What somebody who has the metadata's key, but not the packages' key, could publish."""
    with signing.opened(Signing(**Publisher.signing(keys)), repo) as signer:
        publish_metadata(repo, signer=signer)


def downgrade(repo: Path, signed: Publisher) -> None:
    shutil.rmtree(repo / "repodata")
    shutil.copytree(signed.root / "first/repodata", repo / "repodata")


Fault = Callable[[Path, Keys], object]

FAULTS: dict[str, tuple[Fault, bool, int, str]] = {
    "a byte of a layer": (
        lambda repo, keys: alter(layer(repo), -2000),
        True,
        9,
        "the package {layer} is not the file that the metadata names: its checksum differs",
    ),
    "a byte of a layer, packages alone": (
        lambda repo, keys: alter(layer(repo), -2000),
        False,
        7,
        "the package {layer} was altered: its blob sha256:",
    ),
    "a byte of an image package": (
        lambda repo, keys: alter(app(repo), -1500),
        False,
        7,
        "the package {app} was altered: ",
    ),
    "a number in a header": (
        lambda repo, keys: alter(
            app(repo), load_headers(app(repo)).payload - len(load_headers(app(repo)).main.raw) + 280
        ),
        False,
        9,
        "the package {app} is not what was signed: the signature is of other bytes",
    ),
    "a byte of a header": (
        lambda repo, keys: alter(app(repo), load_headers(app(repo)).payload - 40),
        False,
        9,
        "the package {app} is not what was signed: the signature is of other bytes",
    ),
    "signed by another key": (
        lambda repo, keys: (resign(app(repo), keys), republish(repo, keys)),
        True,
        9,
        "the package {app} is signed by another key (",
    ),
    "not signed": (
        lambda repo, keys: (
            subprocess.run(["rpmsign", "--delsign", app(repo)], check=True, capture_output=True),
            republish(repo, keys),
        ),
        True,
        9,
        "the package {app} is not signed",
    ),
    "a layer package is missing": (
        lambda repo, keys: layer(repo).unlink(),
        True,
        9,
        "the package {packages}/{layer} in the metadata is missing",
    ),
    "a layer package was never there": (
        lambda repo, keys: (layer(repo).unlink(), republish(repo, keys)),
        True,
        7,
        "the image ",
    ),
    "no signature of the metadata": (
        lambda repo, keys: (repo / "repodata/repomd.xml.asc").unlink(),
        True,
        9,
        "the metadata {repo}/repodata/repomd.xml is not signed",
    ),
    "a .repo file that trusts everybody": (
        lambda repo, keys: (repo / "containerpkg.repo").write_text(
            (repo / "containerpkg.repo").read_text().replace("\ngpgcheck=1", "\ngpgcheck=0")
        ),
        True,
        9,
        "the file {repo}/containerpkg.repo would have dnf check no signatures\n",
    ),
    "a byte of repomd.xml": (
        lambda repo, keys: alter(repo / "repodata/repomd.xml", -30),
        True,
        9,
        "the metadata {repo}/repodata/repomd.xml is not what was signed: the signature is of oth",
    ),
    "a byte of primary.xml": (
        lambda repo, keys: alter(repo / metadata_file(repo, "primary"), -30),
        True,
        9,
        "{repo}/repodata/",
    ),
}


@pytest.mark.parametrize(("fault", "whole", "status", "message"), FAULTS.values(), ids=FAULTS)
def test_the_first_broken_link_is_named(
    fault: Fault, whole: bool, status: int, message: str, repo: Path, keys: Keys, key_file: Path
) -> None:
    names = {
        "repo": repo,
        "packages": repo / "packages",
        "layer": layer(repo).name,
        "app": app(repo).name,
    }
    fault(repo, keys)
    place = repo if whole else repo / "packages"
    done = containerpkg("verify", place, "--key", key_file)
    assert done.returncode == status, done.stdout + done.stderr
    assert done.stderr.startswith(f"containerpkg: error: {message.format(**names)}")
    assert "BROKEN" in done.stdout


def test_an_earlier_package_under_a_later_name(repo: Path, key_file: Path) -> None:
    """It is signed: only the metadata, or its own name, tells it from the later one."""
    old, new = sorted((repo / "packages").glob("app-*.rpm"))
    shutil.copy(old, new)
    verify = ("verify", "--key", key_file, "--json")
    done = containerpkg(*verify, repo, repo / "packages")
    assert done.returncode == 9
    assert f"{new.name} is not the file that the metadata names" in done.stderr
    links = json.loads(containerpkg(*verify, new).stdout)["links"]
    assert links[0]["result"].startswith(f"is {old.name.removesuffix('.rpm')}, signed by ")


def test_a_repository_without_metadata(repo: Path, key_file: Path) -> None:
    shutil.rmtree(repo / "repodata")
    done = containerpkg("verify", "--key", key_file, repo)
    said = f"containerpkg: error: the repository {repo} has no metadata\n"
    assert (done.returncode, done.stderr[: len(said)]) == (9, said)
    place = repo / "packages"
    assert containerpkg("verify", "--key", key_file, place).returncode == 0
    assert containerpkg("verify", "--key", key_file, "--oldest", "1", place).returncode == 9


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("id", "sha256:0", " is another one: its manifest has sha256:"),
        ("manifest", "sha256:0", " has several manifests: image.json names sha256:0, index.json "),
        ("layers", [], " has other layers than image.json names"),
        ("reference", "quay.io/example/app:2", " would be loaded as quay.io/example/app:1.0, "),
        ("reference", "a.example/b:1", " would be loaded as quay.io/example/app:1.0, quay.io/"),
    ],
)
def test_a_description_of_another_image(
    key: str, value: object, message: str, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be ours: whoever has no key cannot change it."""
    about = packaged_image._about

    def other(*arguments: Any) -> PackageFile:
        file = about(*arguments)
        return replace(file, content=json.dumps(json.loads(str(file.content)) | {key: value}))

    monkeypatch.setattr(packaged_image, "_about", other)
    publisher.make()
    *_, image = verify([publisher.package("app")], None)
    assert image.error
    assert message in image.error.message


def test_metadata_of_yesterday_is_seen_by_its_revision(
    repo: Path, signed: Publisher, key_file: Path
) -> None:
    revision = metadata.revision_of(repo / "repodata")
    downgrade(repo, signed)
    verify = ("verify", repo, "--key", key_file)
    assert containerpkg(*verify).returncode == 0, "it is validly signed"
    done = containerpkg(*verify, "--oldest", str(revision))
    assert done.returncode == 9
    assert done.stderr.startswith(
        f"containerpkg: error: the metadata of {repo} is older than it was: "
    )


def unpack(tar: Path, folder: Path) -> Path:
    folder.mkdir()
    subprocess.run(["tar", "-xf", tar, "-C", folder], check=True)
    return folder / "containerpkg"


def listed(repo: Path) -> set[str]:
    reader = createrepo_c.RepositoryReader.from_path(str(repo))
    return {Path(package.location_href).name for package in reader.iter_packages()}


def test_bundles(signed: Publisher, keys: Keys, key_file: Path, tmp_path: Path) -> None:
    everything = {path.name for path in signed.packages.iterdir()}
    old = min(signed.packages.glob("app-*.rpm"))

    def bundle(name: str, *arguments: str | Path) -> Path:
        done = containerpkg("bundle", "-o", tmp_path / name, *arguments, cwd=signed.root)
        assert done.returncode == 0, done.stdout + done.stderr
        return tmp_path / name

    # The newest of each image and its layers: the same bytes each time, and signed.
    newest = bundle("newest.tar")
    assert newest.read_bytes() == bundle("again.tar").read_bytes()
    tree = unpack(newest, tmp_path / "newest")
    there = {path.name for path in (tree / "packages").iterdir()}
    assert len(there) == 4
    assert there == listed(tree) < everything
    assert old.name not in there
    assert containerpkg("verify", tree, "--key", key_file).returncode == 0
    subprocess.run(["sha256sum", "--quiet", "--check", "SHA256SUMS"], cwd=tree, check=True)
    assert sorted(path.name for path in tree.iterdir()) == [
        "README.txt",
        "RPM-GPG-KEY-containerpkg",
        "SHA256SUMS",
        "containerpkg.repo",
        "packages",
        "repodata",
    ]
    assert "baseurl=file:///srv/containerpkg\n" in (tree / "containerpkg.repo").read_text()

    # All of it needs no key: the metadata is the repository's own.
    forget_passphrases(keys)
    whole = unpack(bundle("all.tar", "--all"), tmp_path / "all")
    assert listed(whole) == everything
    assert digests(whole / "packages") == digests(signed.packages)

    # Without what a site has, in parts, whose sum is the whole.
    have = tmp_path / "site.txt"
    have.write_text("".join(f"{path.name.removesuffix('.rpm')}\n" for path in [layer(signed.repo)]))
    since = bundle("since.tar", "--since", have)
    small = unpack(since, tmp_path / "since")
    assert listed(small) == there - {layer(signed.repo).name}
    bundle("parts.tar", "--since", have, "--split", "1M")
    subprocess.run(["sh", "-c", "cat parts.tar.??? > parts.tar"], cwd=tmp_path, check=True)
    assert (tmp_path / "parts.tar").read_bytes() == since.read_bytes()
    subprocess.run(
        ["sha256sum", "--quiet", "--check", "parts.tar.sha256"], cwd=tmp_path, check=True
    )

    # An image has the same files.
    iso = bundle("newest.iso")
    assert iso.read_bytes() == bundle("again.iso").read_bytes()
    argv = ["xorriso", "-osirrox", "on", "-indev", iso, "-extract", "/", tmp_path / "iso"]
    subprocess.run(argv, check=True, capture_output=True)
    assert digests(tmp_path / "iso") == digests(tree)


def test_bundles_that_cannot_be(signed: Publisher, tmp_path: Path) -> None:
    have = tmp_path / "site.txt"
    have.write_text("one-1-1.noarch\nwhat is this\n")
    done = containerpkg("bundle", "-o", tmp_path / "x", "--since", have, cwd=signed.root)
    assert done.returncode == 2
    assert done.stderr.startswith(
        f"containerpkg: error: {have}:2: 'what is this' is not NAME-VERSION-RELEASE.ARCH\n"
        "hint: make the list at the site: rpm -qa"
    )
    # A project that has no key cannot sign the metadata of a part.
    other = Publisher(tmp_path / "other")
    other.write("containerpkg.yaml", "registry: quay.io/example\nvendor: Example\n")
    elsewhere = ("bundle", "-o", tmp_path / "x", "--repository")
    done = containerpkg(*elsewhere, signed.repo, cwd=other.root)
    said = (
        f"containerpkg: error: the repository {signed.repo} is signed, and so must be the metadata "
        "of its part\n"
        "hint: name the key with --sign KEY, or take the whole of it with --all\n"
    )
    assert (done.returncode, done.stderr) == (2, said)
    repo = Path(shutil.copytree(signed.repo, tmp_path / "repo"))
    alter(layer(repo), -2000)
    done = containerpkg(*elsewhere, repo, "--all", cwd=other.root)
    assert done.returncode == 9
    assert f"{layer(repo)} is missing or not the file that the metadata names" in done.stderr
    # Nor is one made that has its site check less than the repository's own sites do.
    repo = Path(shutil.copytree(signed.repo, tmp_path / "torn"))
    signature = repo / "repodata/repomd.xml.asc"
    shutil.copy(signed.root / "first/repodata/repomd.xml.asc", signature)
    done = containerpkg(*elsewhere, repo, "--all", cwd=other.root)
    said = (
        f"containerpkg: error: the metadata {repo}/repodata/repomd.xml is not what was signed: the "
        "signature is of other bytes\n"
        "hint: 'containerpkg make' signs it anew\n"
    )
    assert (done.returncode, done.stderr) == (9, said)
    signature.unlink()
    done = containerpkg(*elsewhere, repo, "--all", cwd=signed.root)
    assert done.returncode == 9
    assert f"the repository {repo} is not signed, and there is a key that signs" in done.stderr
    assert not (tmp_path / "x").exists()


DAY = 86400


def test_keys_that_have_ended(tmp_path: Path) -> None:
    """gpgv calls all of these good signatures."""
    home = tmp_path / "g"
    home.mkdir(mode=0o700)
    text = tmp_path / "text"
    text.write_text("text")
    born = 1_600_000_000

    def gpg(*arguments: str | Path, day: int = 0) -> None:
        clock = f"--faked-system-time={born + day * DAY}!"
        argv = ["gpg", "--batch", "--quiet", f"--homedir={home}", "--passphrase=", clock]
        subprocess.run([*argv, *arguments], check=True, capture_output=True)

    def check(name: str, *, lasting: bool = False) -> str:
        public = tmp_path / f"{name}.key"
        gpg("--yes", "--armor", f"--output={public}", "--export", name)
        keyring = signing.open_keyring(public.read_bytes(), tmp_path, "the key")
        try:
            signature = (tmp_path / f"{name}.sig").read_bytes()
            keyring.check(signature, text.read_bytes(), lasting=lasting)
        except SignatureError as error:
            return error.message
        return "good"

    try:
        for name, end in (("old", "10d"), ("gone", "never")):
            gpg("--quick-generate-key", name, "ed25519", "sign", end)
            sign = (f"--local-user={name}", f"--output={tmp_path}/{name}.sig", "--detach-sign")
            gpg(*sign, text, day=5)
        assert check("old") == "is signed by a key that expired on 2020-09-23"
        assert check("old", lasting=True) == "good"
        assert check("gone", lasting=True) == "good"
        (revocation,) = (
            path for path in (home / "openpgp-revocs.d").iterdir() if " gone\n" in path.read_text()
        )
        revocation.write_text(revocation.read_text().replace(":-----BEGIN", "-----BEGIN"))
        gpg("--import", revocation)
        assert check("gone", lasting=True) == "is signed by a key that is revoked"
    finally:
        subprocess.run(["gpgconf", f"--homedir={home}", "--kill", "gpg-agent"], check=False)
