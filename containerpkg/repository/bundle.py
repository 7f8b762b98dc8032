"""One file with a repository, to be carried to a site that has no network.

Its top folder is called as the repository's id:

    README.txt            for the administrator
    RPM-GPG-KEY-ID        if the repository is signed
    ID.repo               for /etc/yum.repos.d
    SHA256SUMS            of everything else
    packages/  repodata/  metadata of what is inside, and nothing else

The same repository, key and selection give the same bytes.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import createrepo_c

from containerpkg.definitions.project import Repository
from containerpkg.errors import RepositoryError, UsageError
from containerpkg.files import sha256_bytes, sha256_file
from containerpkg.packages.ordering import Evr
from containerpkg.packages.signing import SignatureError, Signer, open_keyring
from containerpkg.repository.archive import Entry
from containerpkg.repository.metadata import REPOMD, SIGNATURE, revision_of, write_metadata
from containerpkg.repository.repofile import key_name, render_repo_file

EXPORT = "rpm -qa 'oci-layer-*' '*-container' 'containerpkg-*' | sort > site.txt"
"""The command of a site that lists what it has."""

SITE = "/srv"
"""The folder of a site that a bundle is unpacked into."""

_NEVRA = re.compile(r"(\S+)-(?:(?:\d+|\(none\)):)?([^-\s]+-[^-\s]+\.[^.\s-]+)")


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What goes into a bundle."""

    packages: tuple[createrepo_c.Package, ...]
    left_out: tuple[str, ...]
    """NEVRAs that would be in it, and that the site has."""

    whole: bool
    """Whether it is everything that the repository has."""


def parse_installed(text: str, name: str) -> frozenset[str]:
    """The packages in the output of :data:`EXPORT`, without epochs.

    Raises :class:`UsageError`, naming file ``name`` and line, for what is no such list.
    """
    found = set()
    for number, line in enumerate(text.splitlines(), 1):
        # rpm lists the keys that it trusts as packages, which have no architecture.
        if not line.strip() or line.startswith(("#", "gpg-pubkey-")):
            continue
        match = _NEVRA.fullmatch(line.strip())
        if not match:
            raise UsageError(
                f"{name}:{number}: {line.strip()!r} is not NAME-VERSION-RELEASE.ARCH",
                hint=f"make the list at the site: {EXPORT}",
            )
        found.add(f"{match[1]}-{match[2]}")
    return frozenset(found)


def select(
    folder: Path, *, everything: bool = False, installed: frozenset[str] = frozenset()
) -> Selection:
    """The newest package of each name and architecture and what those require, or ``everything``.

    Layers come only as they are required. What is in ``installed`` is left out.
    Raises :class:`RepositoryError` for a repository whose metadata cannot be read.
    """
    try:
        reader = createrepo_c.RepositoryReader.from_path(str(folder))
        packages = sorted(reader.iter_packages(), key=lambda package: str(package.location_href))
    except (OSError, KeyError, createrepo_c.CreaterepoCError) as error:
        raise RepositoryError(
            f"{folder} is not a repository that can be read: {error}", hint="containerpkg make"
        ) from error
    chosen = packages if everything else _required(packages)
    left_out = {p.pkgId: _name(p) for p in chosen if _name(p) in installed}
    kept = tuple(package for package in chosen if package.pkgId not in left_out)
    return Selection(
        packages=kept,
        left_out=tuple(sorted(left_out.values())),
        whole=len(kept) == len(packages),
    )


@contextmanager
def entries(
    folder: Path,
    selection: Selection,
    repository: Repository,
    *,
    signs: bool = False,
    signer: Signer | None = None,
) -> Iterator[tuple[Entry, ...]]:
    """All files of the bundle, sorted by name, for the block.

    The repository in ``folder`` is signed or not, and so is the bundle; ``signer`` signs the
    metadata of a part of a signed one. Raises :class:`RepositoryError` for packages that are not
    what the metadata says, or not signed by ``signer``, for metadata that is not signed right, or
    not at all by a project that ``signs``, and :class:`UsageError` if there has to be a signer and
    is none.
    """
    repodata = folder / "repodata"
    signed = (repodata / SIGNATURE).exists()
    if signs and not signed:
        # A bundle of it would tell its site to check nothing.
        raise RepositoryError(
            f"the repository {folder} is not signed, and there is a key that signs",
            hint="run 'containerpkg make' with that key, or name none to make a bundle without "
            "signatures",
        )
    revision = revision_of(repodata)
    _check_packages(folder, selection.packages, signer if signed else None)
    with tempfile.TemporaryDirectory(prefix="containerpkg-") as beside:
        if signed:
            _check_metadata(folder, folder / key_name(repository), Path(beside))
        if not selection.whole:
            if signed and not signer:
                raise UsageError(
                    f"the repository {folder} is signed, and so must be the metadata of its part",
                    hint="name the key with --sign KEY, or take the whole of it with --all",
                )
            repodata = write_metadata(
                Path(beside),
                len(selection.packages),
                selection.packages,
                revision=revision,
                signer=signer if signed else None,
            )
        there = repository.model_copy(update={"baseurl": f"file://{SITE}/{repository.id}"})
        found = [
            Entry(name=package.location_href, content=folder / package.location_href)
            for package in selection.packages
        ]
        found += [Entry(name=f"repodata/{name}", content=path) for name, path in _files(repodata)]
        repo_file = render_repo_file(there, folder, signed=signed)
        found.append(Entry(name=f"{repository.id}.repo", content=repo_file.encode()))
        if signed:
            key = folder / key_name(repository)
            found.append(Entry(name=key.name, content=key.read_bytes()))
        readme = render_readme(repository, selection, revision=revision, signed=signed)
        found.append(Entry(name="README.txt", content=readme.encode()))
        sums = _sums(found, {p.location_href: p.pkgId for p in selection.packages})
        found.append(Entry(name="SHA256SUMS", content=sums.encode()))
        yield tuple(sorted(found, key=lambda entry: entry.name))


def render_readme(
    repository: Repository, selection: Selection, *, revision: int, signed: bool
) -> str:
    """What an administrator needs to know, on a page."""
    place = f"{SITE}/{repository.id}"
    made = datetime.fromtimestamp(revision, UTC).strftime("%Y-%m-%d %H:%M UTC")
    wanted = [p for p in selection.packages if not p.name.startswith("oci-layer-")]
    layers = len(selection.packages) - len(wanted)
    lines = [
        repository.name,
        "=" * len(repository.name),
        "",
        f"A yum repository as of {made} (revision {revision}), for hosts without a network.",
        "",
        *(f"  {_name(package)}" for package in wanted),
        f"  packages of layers, which those need: {layers}",
    ]
    if selection.left_out:
        lines.append(f"  left out, as the site has them: {len(selection.left_out)}")
    steps = [
        (
            f"Put this folder to {place}, and keep it there:",
            [
                f"tar --extract --no-same-owner --directory {SITE} --file FILE.tar",
                f"mkdir -p {place} && mount -o loop,ro FILE.iso {place}",
            ],
        ),
        (
            "Look whether all of it arrived:",
            [f"cd {place} && sha256sum --quiet --check SHA256SUMS"],
        ),
    ]
    told = "Tell dnf, once:"
    if signed:
        told = "Tell dnf, once, by a file that says gpgcheck=1 and repo_gpgcheck=1:"
        key = f"{place}/{key_name(repository)}"
        steps.append(
            (
                "Compare the key's fingerprint with the one that you were told, and trust it:",
                [f"gpg --show-keys {key}", f"rpm --import {key}"],
            )
        )
    steps += [
        (told, [f"cp {place}/{repository.id}.repo /etc/yum.repos.d/"]),
        (
            "Install, or update what is there:",
            ["dnf --refresh install PACKAGE", "dnf --refresh update"],
        ),
        (
            "For a smaller bundle next time, send this list to whoever makes it:",
            [EXPORT],
        ),
    ]
    for number, (text, commands) in enumerate(steps, 1):
        lines += ["", f"{number}. {text}", *(f"     {command}" for command in commands)]
    return "\n".join(lines) + "\n"


def _required(packages: Sequence[createrepo_c.Package]) -> list[createrepo_c.Package]:
    """The newest package of each name and architecture that is no layer, and what those require."""
    newest: dict[tuple[str, str], createrepo_c.Package] = {}
    providers: dict[str, createrepo_c.Package] = {}
    for package in packages:
        best = newest.get((package.name, package.arch))
        if best is None or _evr(best) < _evr(package):
            newest[package.name, package.arch] = package
    for package in newest.values():
        providers |= {provide[0]: package for provide in package.provides}
    wanted = [p for p in newest.values() if not p.name.startswith("oci-layer-")]
    chosen: dict[str, createrepo_c.Package] = {}
    while wanted:
        package = wanted.pop()
        if package.pkgId in chosen:
            continue
        chosen[package.pkgId] = package
        wanted += [providers[name[0]] for name in package.requires if name[0] in providers]
    return [package for package in packages if package.pkgId in chosen]


def _evr(package: createrepo_c.Package) -> Evr:
    return Evr(package.epoch, package.version, package.release)


def _name(package: createrepo_c.Package) -> str:
    return f"{package.name}-{package.version}-{package.release}.{package.arch}"


def _check_metadata(folder: Path, key: Path, work: Path) -> None:
    repomd = folder / "repodata" / REPOMD
    try:
        signature = repomd.with_name(SIGNATURE).read_bytes()
        open_keyring(key.read_bytes(), work, str(key)).check(signature, repomd.read_bytes())
    except SignatureError as error:
        raise RepositoryError(
            f"the metadata {repomd} {error.message}",
            hint="'containerpkg make' signs it anew",
        ) from error


def _check_packages(
    folder: Path, packages: Iterable[createrepo_c.Package], signer: Signer | None
) -> None:
    def check(package: createrepo_c.Package) -> None:
        path = folder / package.location_href
        if not path.is_file() or sha256_file(path) != package.pkgId:
            raise RepositoryError(
                f"{path} is missing or not the file that the metadata names",
                hint=f"containerpkg verify {folder} tells what else is wrong",
            )
        if signer and not signer.made(path):
            raise RepositoryError(
                f"{path} is not signed by {signer.fingerprint}",
                hint="run 'containerpkg make' with that key: it signs what is there",
            )

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        list(pool.map(check, packages))


def _files(repodata: Path) -> list[tuple[str, Path]]:
    """The metadata that repomd.xml names, itself and its signature, without older files."""
    records = createrepo_c.Repomd(str(repodata / REPOMD)).records
    names = [*(Path(record.location_href).name for record in records), REPOMD, SIGNATURE]
    return [(name, repodata / name) for name in names if (repodata / name).exists()]


def _sums(files: Iterable[Entry], known: Mapping[str, str]) -> str:
    def digest(file: Entry) -> str:
        if isinstance(file.content, bytes):
            return sha256_bytes(file.content)
        return known.get(file.name) or sha256_file(file.content)

    return "".join(sorted(f"{digest(file)}  {file.name}\n" for file in files))
