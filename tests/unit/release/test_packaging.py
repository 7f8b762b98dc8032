"""Which packages are made for which content, with a program in rpmbuild's place."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from containerpkg.errors import ContainerpkgError, HostError, PackageError, StoreError
from containerpkg.packages.runtime import sources
from containerpkg.process import CommandFailed, Result
from containerpkg.progress import Silent
from containerpkg.release.make import Options
from containerpkg.release.packages import PackagePlanner
from containerpkg.release.packaging import PackagedImage, Packager
from containerpkg.repository.metadata import Published

MIB = 1 << 20
OVERHEAD = 5000
PUBLISHED = Published(packages=0, changed=False)

PROJECT = "registry: quay.io/example\nvendor: Example\n"
IMAGE = """\
summary: A service
license: MIT
services:
  app:
    config: [{source: app.conf, target: /etc/app.conf}]
    environment: {LEVEL: one}
"""
TREE = {
    "containerpkg.yaml": PROJECT,
    "images/base/Dockerfile": "FROM scratch\n",
    "images/app/Dockerfile": "FROM quay.io/example/base:1.0\n",
    "images/app/.dockerignore": "app.conf\n",
    "images/app/app.conf": "a = 1\n",
    "images/app/image.yaml": IMAGE,
    "systemd/sysconfig.j2": "# theirs\n",
}


@dataclass
class FakeRpmbuild:
    """Makes a file as large as what was staged and a little more; refuses what ``failing`` has."""

    failing: dict[str, str] = field(default_factory=dict)
    """Package → what is printed."""

    failing_prefix: str = "-"
    made: list[str] = field(default_factory=list)

    def __call__(self, argv, *, env=None, cwd=None, stdin=None, on_line=None) -> Result:
        if argv[0] == "systemd-analyze":
            return Result(stdout="")
        spec = (cwd / Path(argv[-1]).name).read_text()
        name, version, release = (
            re.search(rf"^{tag}: (.*)$", spec, re.MULTILINE)[1]
            for tag in ("Name", "Version", "Release")
        )
        if name in self.failing:
            raise CommandFailed(argv, 1, self.failing[name])
        if name.startswith(self.failing_prefix):
            raise CommandFailed(argv, 1, "error: no")
        [arch] = [a.removeprefix("--target=")[: -len("-linux")] for a in argv if "--target=" in a]
        staged = [path for path in (cwd / "root").rglob("*") if path.is_file()]
        size = OVERHEAD + sum(path.lstat().st_size for path in staged)
        file = cwd / "out" / f"{name}-{version}-{release}.{arch}.rpm"
        file.write_bytes(bytes(size))
        self.made.append(name)
        return Result(stdout="")


@pytest.fixture
def rpmbuild(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeRpmbuild:
    settings = tmp_path / "rpm"
    settings.mkdir()
    for name in ("macros", "rpmrc"):
        (settings / name).touch()
    monkeypatch.setattr("containerpkg.packages.rpmbuild.RPM", settings)
    return FakeRpmbuild()


@pytest.fixture
def release(workshop, engine, rpmbuild):
    """Build and package a project as its files are now; give the packages by image."""
    engine.sizes |= {"base": 3 * MIB, "app": 2 * MIB}

    def run(root: Path, *, rebuild: bool = False, out: str = "out") -> dict[str, PackagedImage]:
        state = workshop(root)
        report = state.build(state.project.images, engine, Options(jobs=1))
        images = {o.image.name: state.store.image(o.image_id) for o in report.outcomes}
        folder = root / out / "packages"
        with state.store.workspace("packages") as work:
            packager = Packager(
                state.project,
                state.store,
                state.records,
                folder,
                work,
                planner=PackagePlanner(
                    state.project, state.store, state.records, folder, rebuild=rebuild
                ),
                progress=Silent(),
                run=rpmbuild,
            )
            try:
                packaged = packager.finish(images)
                for error in packaged.failed.values():
                    raise error
            finally:
                packager.close()
        return {one.image.name: one for one in packaged.images}

    return run


def sizes(root: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in (root / "out/packages").iterdir()}


def records(root: Path) -> dict[str, tuple[int, int]]:
    found = (root / ".containerpkg/packages").rglob("*.json")
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in found}


def layer(packaged: PackagedImage, index: int) -> str:
    return f"oci-layer-{packaged.stored.layers[index].blob.digest[7:23]}-1-1.noarch.rpm"


def test_an_image_in_one_file_has_no_layer_packages(make_project, release, rpmbuild):
    archived = {"images/app/image.yaml": f"{IMAGE}payload: archive\n"}
    root = make_project(TREE | archived)
    first = release(root)
    image = f"{first['app'].nevra}.rpm"
    assert sizes(root).keys() == {layer(first["base"], 0), image, f"{first['base'].nevra}.rpm"}
    assert (first["app"].fresh, first["app"].reused) == ((image,), ())
    assert first["app"].total_bytes == first["app"].update_bytes == sizes(root)[image] > 5 * MIB

    rpmbuild.made.clear()
    assert release(root)["app"].reused == (image,)
    assert rpmbuild.made == []

    (root / "containerpkg.yaml").write_text(f"{PROJECT}target: el7\n")
    for_el7 = release(root, out="el7")
    assert {path.name for path in (root / "el7/packages").iterdir()} == {
        f"{one.nevra}.rpm" for one in for_el7.values()
    }


def test_figures_of_the_first_version_of_no_change_and_of_one_layer(
    make_project, release, rpmbuild
):
    root = make_project(TREE)
    first = release(root)
    size = sizes(root)
    base, app = layer(first["base"], 0), layer(first["app"], 1)
    assert layer(first["app"], 0) == base
    assert size[base] == OVERHEAD + first["base"].stored.layers[0].blob.size > 3 * MIB
    image = f"{first['app'].nevra}.rpm"
    assert size.keys() == {base, app, image, f"{first['base'].nevra}.rpm"}
    assert (first["app"].fresh, first["app"].reused) == ((base, app, image), ())
    whole = size[base] + size[app] + size[image]
    assert (first["app"].total_bytes, first["app"].update_bytes) == (whole, whole)
    rpmbuild.made.clear()
    kept = records(root)

    second = release(root)["app"]
    assert (second.nevra, second.fresh, second.reused) == (
        first["app"].nevra,
        (),
        (base, app, image),
    )
    assert (second.total_bytes, second.update_bytes) == (whole, 0)
    assert rpmbuild.made == []
    assert records(root) == kept, "nothing is written where nothing is new"

    (root / "images/app/file").touch()
    third = release(root)
    new, image = layer(third["app"], 1), f"{third['app'].nevra}.rpm"
    size = sizes(root)
    assert (third["app"].fresh, third["app"].reused) == ((new, image), (base,))
    assert third["app"].update_bytes == size[new] + size[image]
    assert third["app"].total_bytes == size[base] + size[new] + size[image]
    assert third["base"].update_bytes == 0
    assert len(size) == 6, "the old ones stay"
    assert third["app"].nevra > first["app"].nevra


MATTERS = {
    "images/app/app.conf": "a = 2\n",
    "images/app/image.yaml": {
        "summary": IMAGE.replace("A service", "Another"),
        "license": IMAGE.replace("MIT", "BSD-2-Clause"),
        "description": f"{IMAGE}description: Something\n",
        "url": f"{IMAGE}url: https://example.org\n",
        "version": f"{IMAGE}version: '1.1'\n",
        "package": f"{IMAGE}package: other\n",
        "environment": IMAGE.replace("one", "two"),
        "mode": IMAGE.replace("app.conf}", "app.conf, mode: '0600'}"),
        "path": IMAGE.replace("app.conf}", "app.conf, path: /etc/other.conf}"),
        "port": f"{IMAGE}    ports: ['80:80']\n",
    },
    "containerpkg.yaml": {
        "vendor": PROJECT.replace("Example", "Another"),
        "packager": f"{PROJECT}packager: Me\n",
        "project url": f"{PROJECT}url: https://example.org\n",
        "release": f"{PROJECT}release: 2\n",
        "target": f"{PROJECT}target: el10\n",
    },
    "systemd/sysconfig.j2": "# ours\n",
}
CHANGES = {
    what: (file, text)
    for file, texts in MATTERS.items()
    for what, text in (texts if isinstance(texts, dict) else {file: texts}).items()
}


@pytest.mark.parametrize(("file", "text"), CHANGES.values(), ids=CHANGES)
def test_a_new_release_for_whatever_is_in_the_package(file, text, make_project, release):
    root = make_project(TREE)
    first = release(root)["app"]
    (root / file).parent.mkdir(exist_ok=True)
    (root / file).write_text(text)
    second = release(root)["app"]
    image = f"{second.nevra}.rpm"
    assert second.nevra != first.nevra
    assert second.fresh == (image,)
    if not re.search("package: other|target:", text):  # neither has a version before this one
        assert second.update_bytes == sizes(root)[image]


def test_no_new_release_for_what_is_not_in_it(make_project, release, rpmbuild):
    root = make_project(TREE)
    first = release(root)["app"]
    (root / "images/app/image.yaml").write_text(f"# a comment\n{IMAGE}\n\n")
    (root / "images/app/app.conf").touch()
    (root / "containerpkg.yaml").write_text(f"{PROJECT}repository: {{id: other}}\n")
    rpmbuild.made.clear()
    assert release(root)["app"].nevra == first.nevra
    assert rpmbuild.made == []
    # Another folder gets the same packages under the same names.
    elsewhere = release(root, out="elsewhere")["app"]
    assert (elsewhere.nevra, elsewhere.update_bytes) == (first.nevra, 0)
    assert sorted(p.name for p in (root / "elsewhere/packages").iterdir()) == sorted(sizes(root))


def test_stamps_increase_however_quickly_releases_follow(make_project, release):
    root = make_project(TREE)
    nevras = []
    for number in range(4):
        (root / "images/app/app.conf").write_text(f"{number}")
        nevras.append(release(root)["app"].nevra)
    assert sorted(nevras) == nevras
    assert len(set(nevras)) == 4


def test_a_release_that_was_broken_off_is_finished_under_its_name(make_project, release, rpmbuild):
    root = make_project(TREE)
    first = release(root)["app"]
    rpmbuild.failing = {
        "app-container": "error: create archive failed: cpio: write: No space left on device"
    }
    (root / "images/app/app.conf").write_text("a = 2\n")
    with pytest.raises(HostError) as caught:
        release(root)
    name = re.escape("the package app-container-1.0-1.") + r"\d{14}\.el9\.x86_64"
    assert re.fullmatch(f"no space left on the disk for {name}", caught.value.message)
    assert caught.value.hint is not None
    assert "df -h" in caught.value.hint
    [record] = [
        path
        for path in (root / ".containerpkg/packages/app-container").iterdir()
        if '"size":0' in path.read_text()
    ]
    rpmbuild.failing = {}
    second = release(root)["app"]
    assert re.search(r"\d{14}", second.nevra)[0] in record.read_text()
    assert second.update_bytes == sizes(root)[f"{second.nevra}.rpm"]
    assert second.update_bytes < first.total_bytes


def test_a_release_that_never_was_is_not_what_a_site_has(make_project, release, rpmbuild):
    root = make_project(TREE)
    release(root)
    rpmbuild.failing = {"app-container": "no"}
    (root / "images/app/app.conf").write_text("a = 2\n")
    with pytest.raises(ContainerpkgError):
        release(root)
    rpmbuild.failing = {}
    (root / "images/app/app.conf").write_text("a = 3\n")
    third = release(root)["app"]
    assert third.update_bytes == sizes(root)[f"{third.nevra}.rpm"]


def test_rebuild_makes_all_again_and_changes_nothing(make_project, release, rpmbuild):
    root = make_project(TREE)
    first = release(root)
    before = sizes(root)
    rpmbuild.made.clear()
    again = release(root, rebuild=True)
    assert {one.nevra for one in again.values()} == {one.nevra for one in first.values()}
    assert (again["app"].reused, again["app"].update_bytes) == ((), 0)
    assert sizes(root) == before
    assert len(rpmbuild.made) == 4, "a shared layer once"


def test_a_damaged_blob_reaches_no_package(make_project, release, rpmbuild):
    root = make_project(TREE)
    blob = release(root)["base"].stored.layers[0].blob
    path = root / ".containerpkg/blobs/sha256" / blob.digest[7:]
    damaged = bytearray(path.read_bytes())
    damaged[MIB] ^= 1
    path.chmod(0o644)
    path.write_bytes(damaged)
    (root / f"out/packages/oci-layer-{blob.digest[7:23]}-1-1.noarch.rpm").unlink()
    with pytest.raises(StoreError, match=blob.digest):
        release(root)
    assert f"oci-layer-{blob.digest[7:23]}-1-1.noarch.rpm" not in sizes(root)
    # The engine still has it.
    assert release(root)["base"].fresh == (f"oci-layer-{blob.digest[7:23]}-1-1.noarch.rpm",)


def test_going_back_is_an_update_too(make_project, release):
    root = make_project(TREE)
    first = release(root)["app"]
    (root / "images/app/image.yaml").write_text(IMAGE.replace("summary: ", "summary: Other "))
    second = release(root)["app"]
    (root / "images/app/image.yaml").write_text(IMAGE)
    third = release(root)["app"]
    again = release(root)["app"]
    assert first.nevra < second.nevra < third.nevra == again.nevra
    assert third.update_bytes == sizes(root)[f"{third.nevra}.rpm"]
    assert again.fresh == ()


def test_each_architecture_has_a_history_of_its_own(make_project, release, engine, monkeypatch):
    root = make_project(TREE)
    made = []
    for architecture in ("amd64", "arm64", "amd64", "arm64"):
        monkeypatch.setenv("DOCKER_DEFAULT_PLATFORM", f"linux/{architecture}")
        engine.architecture = architecture
        made.append(release(root)["app"])
    assert made[0].nevra.endswith(".x86_64")
    assert made[1].nevra.endswith(".aarch64")
    assert [package.nevra for package in made[2:]] == [package.nevra for package in made[:2]]
    assert [package.fresh for package in made[2:]] == [(), ()]


def test_a_volume_that_podman_would_delete_is_refused(make_project, release, engine, rpmbuild):
    engine.volumes["app"] = ("/data", "/cache")
    root = make_project(TREE)
    named = f"{IMAGE}    volumes: {{data: /data}}\n"
    (root / "images/app/image.yaml").write_text(named)
    with pytest.raises(PackageError) as caught:
        release(root)
    assert caught.value.message == (
        "image 'app' declares VOLUME /cache, which has no name in 'volumes:' of the service 'app', "
        "so podman would delete what is in it at each stop"
    )
    assert caught.value.hint == (
        "in images/app/image.yaml add 'volumes: {NAME: /cache}', "
        "or 'tmpfs: [/cache]' if that is meant"
    )
    assert "app-container" not in rpmbuild.made
    (root / "images/app/image.yaml").write_text(f"{named}    tmpfs: [/cache]\n")
    assert release(root)["app"].fresh


@pytest.fixture
def make(workshop, engine, rpmbuild, monkeypatch):
    """``make`` of a project as its files are now."""
    engine.sizes |= {"base": 3 * MIB, "app": 2 * MIB}
    monkeypatch.setattr(Packager.__init__, "__kwdefaults__", {"run": rpmbuild})
    monkeypatch.setattr("containerpkg.release.make.publish_metadata", lambda _, signer: PUBLISHED)
    monkeypatch.setattr("shutil.which", lambda _: "/bin/true")

    def run(root: Path):
        state = workshop(root)
        return state.make(state.project.images, engine, Options(jobs=1))

    return run


def test_a_package_that_cannot_be_made_keeps_no_other_from_being_published(
    make_project, make, rpmbuild
):
    root = make_project({**TREE, "images/web/Dockerfile": "FROM quay.io/example/base:1.0\n"})
    rpmbuild.failing = {"app-container": "error: bad thing"}
    report = make(root)
    assert [one.image.name for one in report.packaged] == ["base", "web"]
    assert [*report.unpackaged] == ["app"]
    assert isinstance(report.failure, PackageError)
    assert report.failure.message == report.unpackaged["app"].message
    assert "bad thing" in report.failure.message
    assert report.repository == root / "out/repo"
    rpmbuild.failing = {}
    report = make(root)
    assert [one.image.name for one in report.packaged] == ["base", "app", "web"]
    assert report.failure is None


def test_no_image_is_published_without_its_layers(make_project, make, rpmbuild, engine):
    root = make_project({**TREE, "images/web/Dockerfile": "FROM scratch\n"})
    rpmbuild.failing_prefix = "oci-layer-"
    report = make(root)
    assert [one.image.name for one in report.packaged] == ["web"]
    assert sorted(report.unpackaged) == ["app", "base"]
    assert [path.name[:4] for path in (root / "out/repo/packages").iterdir()] == ["web-"]
    lines = report.failure.message.splitlines()
    assert len(lines) == len(set(lines)), "what is wrong with both is told once"


def test_the_runtime_is_released_by_its_content(
    make_project, workshop, rpmbuild, tmp_path, monkeypatch
):
    state = workshop(make_project(TREE))
    folder = tmp_path / "out/packages"

    def make() -> tuple[str, bool]:
        planner = PackagePlanner(state.project, state.store, state.records, folder)
        with state.store.workspace("packages") as work:
            packager = Packager(
                state.project,
                state.store,
                state.records,
                folder,
                work,
                planner=planner,
                progress=Silent(),
                run=rpmbuild,
            )
            packager.close()
            made = packager.make_runtime()
        return made.nevra, made.fresh

    first, fresh = make()
    assert fresh
    assert re.fullmatch(r"containerpkg-runtime-.*-1\.\d{14}\.noarch", first)
    assert make() == (first, False)

    changed = tmp_path / "changed"
    shutil.copytree(sources(), changed)
    (changed / "host.conf").write_text("# another\n")
    monkeypatch.setattr("containerpkg.packages.runtime.sources", lambda: changed)
    second, fresh = make()
    assert fresh
    assert second > first
    assert rpmbuild.made == ["containerpkg-runtime"] * 2
