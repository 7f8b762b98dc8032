"""The list that a site sends, and the page that it gets."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from containerpkg.definitions.project import Repository
from containerpkg.errors import UsageError
from containerpkg.packages.plan import PackagePlan
from containerpkg.packages.rpmbuild import build
from containerpkg.packages.version import Nevra
from containerpkg.repository.archive import Entry, Format, write_bundle
from containerpkg.repository.bundle import Selection, parse_installed, render_readme, select
from containerpkg.repository.metadata import publish_metadata

LIST = """\
# of the site
oci-layer-0123456789abcdef-1-1.noarch

redis-container-7.0-1.20261124074224.el9.x86_64
with-epoch-2:1.0~rc1-3.el9.aarch64
none-(none):1-1.noarch
gpg-pubkey-fd431d51-4ae0493b
"""

README = """\
Packages of Example
===================

A yum repository as of 2026-11-24 08:28 UTC (revision 1795508923), for hosts without a network.

  redis-container-7.0-1.x86_64
  packages of layers, which those need: 1
  left out, as the site has them: 1

1. Put this folder to /srv/example, and keep it there:
     tar --extract --no-same-owner --directory /srv --file FILE.tar
     mkdir -p /srv/example && mount -o loop,ro FILE.iso /srv/example

2. Look whether all of it arrived:
     cd /srv/example && sha256sum --quiet --check SHA256SUMS

3. Compare the key's fingerprint with the one that you were told, and trust it:
     gpg --show-keys /srv/example/RPM-GPG-KEY-example
     rpm --import /srv/example/RPM-GPG-KEY-example

4. Tell dnf, once, by a file that says gpgcheck=1 and repo_gpgcheck=1:
     cp /srv/example/example.repo /etc/yum.repos.d/

5. Install, or update what is there:
     dnf --refresh install PACKAGE
     dnf --refresh update

6. For a smaller bundle next time, send this list to whoever makes it:
     rpm -qa 'oci-layer-*' '*-container' 'containerpkg-*' | sort > site.txt
"""


def test_the_list_of_a_site() -> None:
    assert parse_installed(LIST, "site.txt") == {
        "oci-layer-0123456789abcdef-1-1.noarch",
        "redis-container-7.0-1.20261124074224.el9.x86_64",
        "with-epoch-1.0~rc1-3.el9.aarch64",
        "none-1-1.noarch",
    }
    with pytest.raises(UsageError, match=r"site\.txt:2: 'Installed Packages' is not NAME-VERSION"):
        parse_installed("a-1-1.noarch\nInstalled Packages\n", "site.txt")


def test_the_page_for_the_administrator() -> None:
    packages = tuple(
        SimpleNamespace(name=name, version=version, release="1", arch="x86_64")
        for name, version in (("redis-container", "7.0"), ("oci-layer-0123456789abcdef", "1"))
    )
    selection = Selection(packages=packages, left_out=("oci-layer-1-1.noarch",), whole=False)
    repository = Repository(id="example", name="Packages of Example")
    assert render_readme(repository, selection, revision=1795508923, signed=True) == README
    plain = render_readme(repository, selection, revision=1795508923, signed=False)
    assert plain == README.replace(README[README.index("3. ") : README.index("4. ")], "").replace(
        "4. ", "3. "
    ).replace(", by a file that says gpgcheck=1 and repo_gpgcheck=1", "").replace(
        "5. ", "4. "
    ).replace("6. ", "5. ")


def test_a_bundle_has_every_architecture(tmp_path: Path) -> None:
    packages = tmp_path / "packages"
    packages.mkdir()
    for release, arch in (("1", "x86_64"), ("2", "x86_64"), ("1", "aarch64")):
        plan = PackagePlan(
            nevra=Nevra(name="app", version="1", release=release, arch=arch),
            time=1_000_000_000,
            spec=f"Name: app\nVersion: 1\nRelease: {release}\nSummary: A package\nLicense: MIT\n"
            "%description\nA package.\n%files\n",
        )
        build(plan, tmp_path / "work", packages)
    publish_metadata(tmp_path)
    selection = select(tmp_path)
    assert [package.location_href for package in selection.packages] == [
        "packages/app-1-1.aarch64.rpm",
        "packages/app-1-2.x86_64.rpm",
    ]


@pytest.mark.parametrize(
    ("form", "split", "names"),
    [
        ("tar", None, ["b"]),
        ("tar", 6000, ["001", "002", "b.sha256"]),
        ("iso", None, ["image.iso"]),
        ("iso", 300_000, ["001", "002", "b.sha256"]),
    ],
)
def test_what_is_done_is_on_the_disk(
    form: Format,
    split: int | None,
    names: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept: list[str] = []
    monkeypatch.setattr(
        os, "fsync", lambda handle: kept.append(Path(f"/proc/self/fd/{handle}").readlink().name)
    )
    files = [Entry(name="README.txt", content=b"read")]
    written = write_bundle(
        files, tmp_path / "b", form=form, top="x", time=0, split=split, advance=lambda _: None
    )
    # What is made beside its place and renamed has no name of its own yet.
    assert [n for n in kept if not n.startswith(".containerpkg-")] == [
        n for n in names if n not in {"b", "b.sha256"}
    ]
    assert len(kept) == len(names) == len(written)
