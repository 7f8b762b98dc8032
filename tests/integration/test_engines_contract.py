"""Every engine gives the same images for the same awkward Dockerfiles, after import into the store.

The Dockerfiles are in dockerfiles/, what they give is in dockerfiles/expected/. All are built once
by each engine, as one project, and then compared one by one.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import stat
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import zstandard

from containerpkg import process
from containerpkg.definitions.load import load_project
from containerpkg.engines.choice import choose_engine
from containerpkg.progress import Silent
from containerpkg.release.building import BuildOutcome
from containerpkg.release.make import Options, Workshop
from containerpkg.store.content import StoredImage

DOCKERFILES = Path(__file__).parent / "dockerfiles"
EXPECTED = DOCKERFILES / "expected"
CASES = sorted(path.parent.name for path in DOCKERFILES.glob("*/Dockerfile"))
CASES.remove("tools")
MARK = "org.example.enginetests=1"

ENGINES: Mapping[str, Mapping[str, str]] = {
    "docker-classic": {"engine": "docker", "builder": "classic"},
    "docker-buildkit": {"engine": "docker", "builder": "buildkit"},
    "podman": {"engine": "podman"},
    "buildah": {"engine": "buildah"},
    "buildah-chroot": {"engine": "buildah", "isolation": "chroot"},
}


def release(*argv: str) -> tuple[int, ...]:
    """The first two numbers of what a program says of itself."""
    return tuple(map(int, process.run(argv).stdout.strip().split(".")[:2]))


def old_docker() -> bool:
    return release("docker", "version", "--format={{.Server.Version}}") < (23, 0)


def old_podman() -> bool:
    return release("podman", "version", "--format={{.Client.Version}}") < (4, 9)


def refusal(engine: str, case: str) -> str:
    """How the error starts where an engine does not know what a Dockerfile uses."""
    classic = f"image '{case}' needs BuildKit for %s, and build.builder is 'classic'"
    match engine, case:
        case "docker-classic", "heredoc":
            return classic % "heredoc (Dockerfile:2)"
        case "docker-classic", "modes":
            return classic % "COPY --chmod (Dockerfile:2)"
        case "docker-classic", "mounts":
            return classic % "RUN --mount (Dockerfile:4)"
        case "docker-buildkit", "heredoc" if old_docker():
            return "image 'heredoc' did not build: failed to solve"
        case (("podman" | "buildah" | "buildah-chroot"), "heredoc") if old_podman():
            program = engine.partition("-")[0]
            return f"image 'heredoc' uses a heredoc (Dockerfile:2), which {program} "
    return ""


def deviation(engine: str, case: str) -> Mapping[str, Mapping[str, Any]]:
    """What an engine is known to do in its own way; the documentation tells it."""
    match engine, case:
        case "docker-classic", "users":
            return {"files": {"srv/made/here/below": "drwxr-xr-x 0:0 0"}}
        case "docker-buildkit", "modes" if old_docker():
            digest = "73cb3858a687a8494ca3323053016282f3dad39d42cf62ca4e79dda2aac7d9ac"
            return {"files": {"setuid": f"-rwxr-xr-x 1234:2345 2 {digest}"}}
        case "docker-buildkit", "mounts":
            return {"files": dict.fromkeys(["cache", "context", "scratch"], "drwxr-xr-x 0:0 0")}
        case "docker-buildkit", "ignored":
            path = DOCKERFILES / "ignored/.dockerignore"
            content = path.read_bytes()
            digest = sha256(content).hexdigest()
            own = f"-rw-r--r-- 0:0 {len(content)} {digest}"
            return {"files": {"context/.dockerignore": own}}
        case (("podman" | "buildah" | "buildah-chroot"), "behaviour"):
            ports: dict[str, Any] = {"53/udp": {}, "7000-7002/tcp": {}, "80/tcp": {}}
            shell = ["/bin/sh", "-c", "exec top -b"]
            return {"config": {"ExposedPorts": ports, "Entrypoint": shell}}
    return {}


def write_project(root: Path, settings: Mapping[str, str]) -> None:
    lines = "".join(f"  {key}: {value}\n" for key, value in settings.items())
    (root / "containerpkg.yaml").write_text(
        f"registry: quay.io/enginetests\nvendor: Tests\nbuild:\n{lines}"
    )
    shutil.copytree(
        DOCKERFILES, root / "images", symlinks=True, ignore=lambda _, names: {"expected"} & {*names}
    )
    for folder in (root / "images").iterdir():
        if not (folder / "image.yaml").exists():
            (folder / "image.yaml").write_text("summary: An image\nlicense: MIT\n")
    busybox = shutil.which("busybox")
    assert busybox
    shutil.copy(busybox, root / "images/tools/busybox")
    strange = root / "images/names/files" / os.fsdecode(b"caf\xe9 \n\\x")
    strange.write_text("s")
    write_archive(root / "images/archives/made.tar", "w")
    write_archive(root / "images/archives/made.tar.gz", "w:gz")


def write_archive(path: Path, mode: str) -> None:
    """With set-user-ID, owners, links of both kinds and a device."""
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, kind, permissions, target in (
            ("folder", tarfile.DIRTYPE, 0o2750, ""),
            ("folder/plain", tarfile.REGTYPE, 0o4711, ""),
            ("folder/hard", tarfile.LNKTYPE, 0o4711, "folder/plain"),
            ("folder/soft", tarfile.SYMTYPE, 0o777, "/plain"),
            ("null", tarfile.CHRTYPE, 0o666, ""),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.linkname = kind, permissions, target
            info.uid, info.gid, info.mtime = 1234, 2345, 1
            info.devmajor, info.devminor = 1, 3
            content = b"content" if kind == tarfile.REGTYPE else b""
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


@dataclass(frozen=True, kw_only=True)
class Built:
    """All Dockerfiles, as one engine has built them."""

    workshop: Workshop
    outcomes: Mapping[str, BuildOutcome]

    def stored(self, name: str) -> StoredImage:
        if error := self.outcomes[name].error:
            raise error
        stored = self.workshop.store.image(self.outcomes[name].image_id)
        assert stored
        return stored

    def config(self, stored: StoredImage) -> dict[str, Any]:
        """What says how the image runs; what is empty has no meaning."""
        path = self.workshop.store.blob_path(stored.config.digest)
        config = json.loads(path.read_bytes())
        assert len([h for h in config["history"] if not h.get("empty_layer")]) == len(stored.layers)
        # The classic builder adds the container that it made the image in, BuildKit a remark
        # that only Windows reads. "/" is what an empty folder means.
        noise = {"Hostname", "Domainname", "Image", "ArgsEscaped"}
        found = {k: v for k, v in config["config"].items() if v and k not in noise}
        if found.get("WorkingDir") == "/":
            del found["WorkingDir"]
        if author := config.get("author"):
            found["author"] = author
        return {**found, "platform": f"{config['os']}/{config['architecture']}"}

    def files(self, stored: StoredImage) -> dict[str, str]:
        """Each file of the image: type, permissions, owner, size, and what it holds."""
        found: dict[str, str] = {}
        for layer in stored.layers:
            above: dict[str, str] = {}
            with (
                self.workshop.store.blob_path(layer.blob.digest).open("rb") as blob,
                zstandard.ZstdDecompressor().stream_reader(blob, read_across_frames=True) as plain,
                tarfile.open(fileobj=io.BytesIO(plain.read())) as tar,
            ):
                for info in tar:
                    path = info.name.strip("/").removeprefix("./")
                    folder, _, name = path.rpartition("/")
                    if name == ".wh..wh..opq":
                        remove(found, folder, itself=False)
                    elif name.startswith(".wh."):
                        remove(found, f"{folder}/{name[4:]}".strip("/"))
                    elif path not in {"", "."}:
                        if not info.isdir():
                            remove(found, path)
                        above[path] = described(tar, info, {**found, **above})
            found |= above
        return found


def remove(found: dict[str, str], path: str, *, itself: bool = True) -> None:
    for name in [n for n in found if n.startswith(f"{path}/") or (itself and n == path)]:
        del found[name]


def described(tar: tarfile.TarFile, info: tarfile.TarInfo, before: Mapping[str, str]) -> str:
    if info.islnk():
        return before[info.linkname.strip("/").removeprefix("./")]  # hard links are equal files
    kinds = {
        tarfile.REGTYPE: stat.S_IFREG,
        tarfile.DIRTYPE: stat.S_IFDIR,
        tarfile.SYMTYPE: stat.S_IFLNK,
        tarfile.CHRTYPE: stat.S_IFCHR,
        tarfile.FIFOTYPE: stat.S_IFIFO,
    }
    kind = kinds[info.type]
    # Nobody reads the permissions of a link, and not everyone writes the same.
    mode = 0o777 if info.issym() else info.mode & 0o7777
    content = tar.extractfile(info) if info.isreg() else None
    what = sha256(content.read()).hexdigest() if content else info.linkname
    if info.ischr():
        what = f"{info.devmajor},{info.devminor}"
    return f"{stat.filemode(kind | mode)} {info.uid}:{info.gid} {info.size} {what}".rstrip()


@pytest.fixture(scope="module", params=ENGINES)
def built(request: pytest.FixtureRequest, containers: Path) -> Iterator[tuple[str, Built]]:
    settings = ENGINES[request.param]
    with tempfile.TemporaryDirectory(prefix="ct") as folder:
        root = Path(folder)
        write_project(root, settings)
        project = load_project(root)
        workshop = Workshop(project, progress=Silent())
        engine = choose_engine(project.file.build)
        report = workshop.build(project.images, engine, Options(jobs=2, no_cache=True))
        yield (
            request.param,
            Built(
                workshop=workshop,
                outcomes={outcome.image.name: outcome for outcome in report.outcomes},
            ),
        )
    if settings["engine"] == "docker":
        newest_first = process.run(
            ["docker", "images", "--quiet", "--no-trunc", f"--filter=label={MARK}"]
        ).stdout.split()
        process.run(["docker", "rmi", "--force", *dict.fromkeys(newest_first)])


# What a builder mounts over while it runs something, and leaves empty.
STUBS = {
    *("dev", "etc/hostname", "etc/hosts", "etc/resolv.conf"),
    *("proc", "run", "run/.containerenv", "run/secrets", "sys"),
}


@pytest.mark.parametrize("case", CASES)
def test_every_engine_gives_the_same_image(built: tuple[str, Built], case: str) -> None:
    engine, images = built
    if start := refusal(engine, case):
        error = images.outcomes[case].error
        assert error
        assert error.message.startswith(start)
        return
    stored = images.stored(case)
    base = images.files(images.stored("tools"))
    files = images.files(stored)
    for name in STUBS:
        assert files.get(name, "")[:1] == "d" or files.get(name, "").split()[2:3] in ([], ["0"])
    found = {
        "config": images.config(stored),
        "files": {n: e for n, e in files.items() if base.get(n) != e and n not in STUBS},
        "removed": sorted(base.keys() - files.keys()),
    }
    expected = json.loads((EXPECTED / f"{case}.json").read_text())
    for part, changes in deviation(engine, case).items():
        expected[part] |= changes
    assert found == expected
