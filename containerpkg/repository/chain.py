"""Joins the chain from a signature to the bytes of every layer.

    metadata signature → repomd.xml → package checksums → package signature → package header →
    payload → manifest digest (provides, index.json, image.json) → manifest → layers → blobs
    payload → archive → configuration (image ID in provides, image.json) → diff IDs → layers

Every package is read once. What is found is a row for each thing, in the order of the chain; the
first row that is broken is where the chain ends.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import createrepo_c

from containerpkg.errors import ContainerpkgError, PackageError, RepositoryError, StoreError
from containerpkg.files import sha256_file
from containerpkg.packages.contents import Contents, read_contents
from containerpkg.packages.image import REFERENCE
from containerpkg.packages.layer import BLOBS
from containerpkg.packages.signing import Keyring, SignatureError
from containerpkg.repository.metadata import REPOMD, SIGNATURE, revision_of
from containerpkg.units.quadlet import IMAGES

_REINSTALL = "take a fresh copy of it from where it was signed"


@dataclass(frozen=True, kw_only=True)
class Link:
    """One thing that was looked at. ``result`` is what is known of it, or what is wrong."""

    kind: Literal["metadata", "package", "image"]
    name: str
    result: str
    error: ContainerpkgError | None = None


@dataclass(frozen=True, kw_only=True)
class _Expected:
    """A package file, and what the metadata says of it, if any does."""

    path: Path
    sha256: str | None = None


def verify(
    places: Sequence[Path], keyring: Keyring | None, *, oldest: int | None = None
) -> tuple[Link, ...]:
    """Check packages, folders of packages and repositories (folders with ``repodata``).

    Without ``keyring`` no signature is looked at, only digests. Packages of layers that lie beside
    a package are read with it. ``oldest`` is the lowest revision that a repository may have.

    Nothing is raised for what is broken; see :attr:`Link.error`. Raises OSError.
    """
    links: list[Link] = []
    packages: dict[Path, _Expected] = {}
    for place in places:
        if (place / "repodata").is_dir():
            found, listed = _repository(place, keyring, oldest)
            links += found
        elif place.is_dir() and (oldest is not None or any(place.glob("*.repo"))):
            lost = RepositoryError(f"the repository {place} has no metadata", hint=_REINSTALL)
            links.append(_broken("metadata", str(place), lost))
            continue
        elif place.is_dir():
            listed = [_Expected(path=path) for path in sorted(place.rglob("*.rpm"))]
            if not listed:
                none = RepositoryError(f"{place} has no packages")
                links.append(_broken("package", str(place), none))
        else:
            listed = [_Expected(path=place)]
        for one in listed:
            path = one.path.absolute()
            if one.sha256 or path not in packages:
                packages[path] = one
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        read = list(pool.map(_read, packages.values()))
        contents = [package for package in read if isinstance(package, Contents)]
        beside = _layers_beside(contents)
        packages |= {package.path.absolute(): package for package in beside}
        read += pool.map(_read, beside)
    good: dict[str, Contents] = {}
    for expected, package in zip(packages.values(), read, strict=True):
        link = _package(expected, package, keyring)
        links.append(link)
        if isinstance(package, Contents) and not link.error:
            good[package.nevra] = package
    links += _images([package for package in read if isinstance(package, Contents)], good)
    return tuple(links)


def _broken(
    kind: Literal["metadata", "package", "image"], name: str, error: ContainerpkgError
) -> Link:
    return Link(kind=kind, name=name, result=f"BROKEN: {error.message}", error=error)


def _repository(
    folder: Path, keyring: Keyring | None, oldest: int | None
) -> tuple[list[Link], list[_Expected]]:
    """The link of the metadata, and the packages that it lists."""
    repodata = folder / "repodata"
    try:
        # Nothing of it is parsed before its signature is known to be good.
        result = [_metadata_signature(repodata, keyring)] if keyring else []
        revision = revision_of(repodata)
        result.append(f"revision {revision}")
        if oldest is not None and revision < oldest:
            raise RepositoryError(
                f"the metadata of {folder} is older than it was: it has revision {revision}, "
                f"and {oldest} was there before",
                hint="somebody put an earlier state of it back; ask whoever publishes it",
            )
        if keyring:
            _check_repo_files(folder)
        expected = _listed(folder)
    except RepositoryError as error:
        return [_broken("metadata", str(folder), error)], []
    listed = {package.path.absolute() for package in expected}
    extra = [path for path in sorted(folder.rglob("*.rpm")) if path.absolute() not in listed]
    result.append(_counted(len(expected), "package"))
    if extra:
        result.append(f"{_counted(len(extra), 'file')} more that no client sees")
    return [Link(kind="metadata", name=str(folder), result=", ".join(result))], expected


def _metadata_signature(repodata: Path, keyring: Keyring) -> str:
    signature = repodata / SIGNATURE
    try:
        packets = signature.read_bytes() if signature.is_file() else b""
        maker = keyring.check(packets, (repodata / REPOMD).read_bytes())
    except SignatureError as error:
        raise RepositoryError(
            f"the metadata {repodata / REPOMD} {error.message}", hint=_hint(error)
        ) from error
    return f"signed by {_short(maker)}"


def _check_repo_files(folder: Path) -> None:
    """No signature covers these files, and they say whether a host looks at signatures."""
    for path in sorted(folder.glob("*.repo")):
        said = path.read_text(errors="replace").split()
        if said.count("gpgcheck=1") != 1 or said.count("repo_gpgcheck=1") != 1:
            raise RepositoryError(
                f"the file {path} would have dnf check no signatures",
                hint="it has to say gpgcheck=1 and repo_gpgcheck=1; do not use it as it is",
            )


def _listed(folder: Path) -> list[_Expected]:
    """The packages in the metadata, every file of which is what repomd.xml says."""
    try:
        repomd = createrepo_c.Repomd(str(folder / "repodata" / REPOMD))
        for record in repomd.records:
            path = _inside(folder, record.location_href)
            if record.checksum_type != "sha256" or sha256_file(path) != record.checksum:
                raise RepositoryError(
                    f"{path} is not the file that repomd.xml names", hint=_REINSTALL
                )
        reader = createrepo_c.RepositoryReader.from_path(str(folder))
        return [
            _Expected(path=_inside(folder, package.location_href), sha256=package.pkgId)
            for package in reader.iter_packages()
        ]
    except (OSError, KeyError, createrepo_c.CreaterepoCError) as error:
        raise RepositoryError(f"the metadata of {folder} cannot be read: {error}") from error


def _inside(folder: Path, href: str) -> Path:
    if href.startswith("/") or ".." in href.split("/"):
        raise RepositoryError(f"the metadata of {folder} names a file outside: {href}")
    return folder / href


def _read(package: _Expected) -> Contents | ContainerpkgError:
    try:
        return read_contents(package.path)
    except FileNotFoundError:
        why = "in the metadata " if package.sha256 else ""
        return RepositoryError(f"the package {package.path} {why}is missing", hint=_REINSTALL)
    except PackageError as error:
        return RepositoryError(error.message, hint=_REINSTALL)


def _package(
    expected: _Expected, package: Contents | ContainerpkgError, keyring: Keyring | None
) -> Link:
    name = expected.path.name
    if isinstance(package, ContainerpkgError):
        return _broken("package", name, package)
    result = [] if name == f"{package.nevra}.rpm" else [f"is {package.nevra}"]
    if expected.sha256 not in {None, package.sha256}:
        wrong = RepositoryError(
            f"the package {name} is not the file that the metadata names: its checksum differs",
            hint=_REINSTALL,
        )
        return _broken("package", name, wrong)
    if keyring:
        try:
            maker = keyring.check(package.signatures, package.signed, lasting=True)
        except SignatureError as error:
            wrong = RepositoryError(f"the package {name} {error.message}", hint=_hint(error))
            return _broken("package", name, wrong)
        result.append(f"signed by {_short(maker)}")
    if expected.sha256:
        result.append("checksum")
    if package.broken:
        altered = StoreError(
            f"the package {name} was altered: {package.broken[-1]}", hint=_REINSTALL
        )
        return _broken("package", name, altered)
    result.append(_counted(package.files, "file"))
    if package.blobs:
        result.append(_counted(len(package.blobs), "blob"))
    return Link(kind="package", name=name, result=", ".join(result))


def _layers_beside(contents: Sequence[Contents]) -> list[_Expected]:
    """Packages of layers that are needed, were not named, and lie where the others are."""
    provided = {name for package in contents for name in package.provides}
    paths = (
        package.path.parent / f"oci-layer-{name[len('oci-blob(sha256:') :][:16]}-1-1.noarch.rpm"
        for package in contents
        for name in sorted(package.requires - provided)
        if name.startswith("oci-blob(sha256:")
    )
    return [_Expected(path=path) for path in dict.fromkeys(paths) if path.is_file()]


def _images(contents: Sequence[Contents], good: Mapping[str, Contents]) -> Iterator[Link]:
    """The links of all images; ``good`` are the packages without a fault, by NEVRA."""
    providers = {
        name: package
        for package in contents
        for name in package.provides
        if name.startswith("oci-blob(")
    }
    for package in contents:
        homes = {Path(path).parent for path in (*package.descriptions, *package.archives)}
        for home in sorted(homes):
            if home.parent != Path(IMAGES):
                continue
            name = f"{home.name} ({package.nevra})"
            try:
                if package.nevra not in good:
                    raise StoreError(
                        f"the image {home.name} in {package.path.name} is in a package that is "
                        "broken"
                    )
                about = json.loads(package.descriptions[f"{home}/image.json"])
                if "archive" in about or f"{home}/index.json" not in package.descriptions:
                    result = _archived(package, home, about)
                else:
                    result = _image(package, home, about, providers, good)
            except ContainerpkgError as error:
                yield _broken("image", name, error)
            except (ValueError, KeyError, TypeError) as error:
                wrong = StoreError(f"the image {name} has a description that is wrong: {error}")
                yield _broken("image", name, wrong)
            else:
                yield Link(kind="image", name=name, result=result)


def _archived(package: Contents, home: Path, about: Mapping[str, Any]) -> str:
    """Compare an image that is all in one docker-archive with what names it; what was found.

    Raises :class:`StoreError` where the chain breaks.
    """
    described = f"the image {home.name} in {package.path.name}"
    images = package.archives.get(f"{home}/{about.get('archive')}", ())
    there = [path for path in package.archives if Path(path).parent == home]
    if len(images) != 1 or len(there) != 1 or f"{home}/index.json" in package.descriptions:
        raise StoreError(
            f"{described} should be one archive with one image: "
            f"it has {_counted(len(there), 'archive')}, "
            f"and the one that image.json names has {_counted(len(images), 'image')}"
        )
    (image,) = images
    if image.id != about["id"] or f"oci-image-id({image.id})" not in package.provides:
        raise StoreError(
            f"{described} is another one: its archive has {image.id}, image.json names "
            f"{about['id']}"
        )
    if f"oci-manifest({about['manifest']})" not in package.provides:
        raise StoreError(f"{described} is not of the manifest that the package provides")
    named = tuple(str(layer["digest"]) for layer in about["layers"])
    if not image.layers == image.declared == named:
        raise StoreError(f"{described} has other layers than its configuration or image.json names")
    repositories = {reference.rpartition(":")[0] for reference in image.references}
    if about["reference"] not in image.references or len(repositories) != 1:
        raise StoreError(
            f"{described} would be loaded as {', '.join(image.references) or 'nothing'} and not as "
            f"{about['reference']}"
        )
    return f"archive, image ID {image.id[:19]}, {_counted(len(image.layers), 'layer')}"


def _image(
    package: Contents,
    home: Path,
    about: Mapping[str, Any],
    providers: Mapping[str, Contents],
    good: Mapping[str, Contents],
) -> str:
    """Walk from the manifest digest of one image to its blobs; what was found.

    Raises :class:`StoreError` where the chain breaks.
    """
    described = f"the image {home.name} in {package.path.name}"
    index = json.loads(package.descriptions[f"{home}/index.json"])
    digest = str(about["manifest"])
    # Podman reads the index, under whichever name it is asked for.
    named = {str(entry["digest"]) for entry in index["manifests"]}
    if named != {digest} or f"oci-manifest({digest})" not in package.provides:
        raise StoreError(
            f"{described} has several manifests: image.json names {digest}, "
            f"index.json {', '.join(sorted(named))}"
        )
    content = package.descriptions.get(f"{BLOBS}/{digest.removeprefix('sha256:')}")
    if content is None or digest not in package.blobs:
        raise StoreError(f"{described} lacks its manifest {digest}")
    manifest = json.loads(content)
    layers = manifest["layers"]
    # What is asked for and loaded by the image's ID, and which blobs are hashed before.
    image_id = str(manifest["config"]["digest"])
    if about["id"] != image_id or f"oci-image-id({image_id})" not in package.provides:
        raise StoreError(
            f"{described} is another one: its manifest has {image_id}, image.json names "
            f"{about['id']}"
        )
    if [layer["digest"] for layer in about["layers"]] != [layer["digest"] for layer in layers]:
        raise StoreError(f"{described} has other layers than image.json names")
    # Docker reads another description of the same image.
    (archive,) = json.loads(package.descriptions[f"{home}/manifest.json"])
    blobs = [f"blobs/sha256/{blob['digest'][7:]}" for blob in (manifest["config"], *layers)]
    if [archive["Config"], *archive["Layers"]] != blobs:
        raise StoreError(f"{described} is another image for Docker: see its manifest.json")
    names = {str(entry["annotations"][REFERENCE]) for entry in index["manifests"]}
    loaded = {*names, *archive["RepoTags"]}
    if about["reference"] not in loaded or len({n.rpartition(":")[0] for n in loaded}) != 1:
        raise StoreError(
            f"{described} would be loaded as {', '.join(sorted(loaded))} and not as "
            f"{about['reference']}"
        )
    for blob in (manifest["config"], *layers):
        needed, size = str(blob["digest"]), int(blob["size"])
        holder = package if needed in package.blobs else providers.get(f"oci-blob({needed})")
        if holder is None:
            raise StoreError(
                f"{described} needs the blob {needed}, which no package here has",
                hint=f"add the package oci-layer-{needed.removeprefix('sha256:')[:16]}",
            )
        if holder.nevra not in good:
            raise StoreError(f"{described} needs the package {holder.path.name}, which is broken")
        if holder is not package and f"oci-blob({needed})" not in package.requires:
            raise StoreError(f"{described} needs the blob {needed}, and does not require it")
        if holder.blobs.get(needed) != size:
            raise StoreError(
                f"{described} needs the blob {needed}, and {holder.path.name} has another"
            )
    return f"manifest {digest[:19]}, configuration, {_counted(len(layers), 'layer')}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _short(fingerprint: str) -> str:
    return fingerprint[-16:]


def _hint(error: SignatureError) -> str:
    if "another key" in error.message:
        return "ask whoever publishes it for the public key, and name that with --key FILE"
    if "by a key that" in error.message:
        return "ask whoever publishes it for the key of today, or for what is signed with that"
    return _REINSTALL
