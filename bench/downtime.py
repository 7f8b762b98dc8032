#!/usr/bin/env python3
"""How long a client goes without an answer while its service is updated, beside the usual ways.

    .venv/bin/python bench/downtime.py             everything, about half an hour
    .venv/bin/python bench/downtime.py --rounds 1 --megabytes 10 --target el9    does it run at all

It needs root and what the tests of tests/site need. For each flavour of units a host without
network boots, with redis of images/ and 150 MB on top; version 2 has other 150 MB. A client on the
host asks redis for a PONG every 20 ms; downtime is the longest time between two polls that were
answered, so nothing is under 0.02 s. In each round it sees

    restart    ``systemctl restart redis``, nothing changed
    update     ``dnf upgrade`` from version 1 to 2, and what follows from it
    bare       ``systemctl restart`` of a unit with the same options and none of our program
    load       with that unit: ``podman load`` or ``docker load`` of version 2, then restart
    stopped    with that unit: stop, load, start, as a unit does that loads before it starts

The table (Markdown, on standard output) holds medians, least and most; only ratios travel from
machine to machine. The status is 1 if an aim is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from content import write_tree
from report import Row, at_most, machine_facts, note, output_of, render_table

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.site.host import Host, new_host  # noqa: E402 - the path comes first
from tests.site.transactions import dnf  # noqa: E402
from tests.site.tree import TRIXIE, cache_folder, ready  # noqa: E402

TARGETS = ("el9", "el9-podman", "el9-docker")
REGISTRY = "quay.io/downtime"
REFERENCE = f"{REGISTRY}/redis:7.0"
MARK = "/usr/share/version"
"""In the images: says which it is."""

CHANNEL, ARCHIVES = "/srv/channel", "/srv/archives"
POLLER, POLLS = "/root/poll.py", "/run/polls"
WAYS = {
    "restart": "`systemctl restart`",
    "update": "`dnf upgrade`",
    "bare": "bare unit: restart",
    "load": "bare unit: load, restart",
    "stopped": "bare unit: stop, load, start",
}
AIM = 1.2


# ------------------------------------------------------------------ the two versions


@dataclass(frozen=True, kw_only=True)
class Versions:
    """``folder`` has TARGET/1 and TARGET/2, repositories, and archives/{1,2}.tar."""

    folder: Path
    ids: tuple[str, str]
    """The image IDs."""


def make_versions(work: Path, *, megabytes: float) -> Versions:
    """Build both images and package them for every target; ``work`` is an empty folder."""
    containerpkg("build", "base", root=ROOT)
    project, folder = work / "project", work / "versions"
    image = project / "images/redis"
    shutil.copytree(ROOT / "images/redis", image)
    settings = {
        "registry": REGISTRY,
        "vendor": "Benchmark",
        "repository": {"baseurl": f"file://{CHANNEL}/now"},
    }
    (project / "containerpkg.yaml").write_text(json.dumps(settings))
    with (image / "Dockerfile").open("a") as file:
        file.write(f"LABEL bench={work.name}\nCOPY version {MARK}\nADD root.tar /\n")
    (folder / "archives").mkdir(parents=True)
    ids = []
    for number in ("1", "2"):
        note(f"making version {number}")
        (image / "version").write_text(number)
        write_tree(image / "root.tar", seed=number, size=int(megabytes * 1_000_000))
        for target in TARGETS:
            output = project / "out" / target
            verb = "make" if target == TARGETS[0] else "package"
            containerpkg(verb, f"--target={target}", f"--output={output}", root=project)
            # Nothing in a repository is ever written to: a file is replaced, or new.
            shutil.copytree(output / "repo", folder / target / number, copy_function=os.link)
        archive = folder / "archives" / f"{number}.tar"
        output_of("docker", "save", f"--output={archive}", REFERENCE)
        ids.append(output_of("docker", "image", "inspect", "--format={{.Id}}", REFERENCE))
    return Versions(folder=folder, ids=(ids[0], ids[1]))


def containerpkg(*arguments: str, root: Path) -> None:
    """Run the program of this source tree."""
    done = subprocess.run(
        [sys.executable, "-m", "containerpkg", "-C", str(root), *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)


def remove_images(work: Path) -> None:
    """Take our images out of this machine's engine again."""
    ours = ["docker", "image", "ls", "--quiet", "--filter", f"label=bench={work.name}"]
    if images := output_of(*ours).split():
        output_of("docker", "image", "rm", "--force", *dict.fromkeys(images))


# ------------------------------------------------------------------ what a client sees


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Seconds without an answer, and from the first command to the first answer after them."""

    downtime: float
    total: float


def parse_polls(text: str) -> list[float]:
    """When the polls began that were answered, in seconds, in order."""
    lines = [line.split() for line in text.splitlines() if line.count(" ") == 1]
    return sorted(float(began) for began, answered in lines if answered == "1")


def longest_gap(polls: Sequence[float], begun: float) -> Seen:
    """What a client saw who polled since before ``begun``."""
    pairs = pairwise(polls)
    last, first = max((pair for pair in pairs if pair[1] > begun), key=lambda p: p[1] - p[0])
    return Seen(downtime=first - last, total=first - begun)


class Site:
    """A booted host with the service at version 1, see :func:`new_site`."""

    def __init__(self, host: Host, target: str, versions: Versions) -> None:
        self.host, self.target, self.versions = host, target, versions
        self.engine = "docker" if target.endswith("-docker") else "podman"

    def publish(self, number: int) -> None:
        """The mirror has that version."""
        to = f"{CHANNEL}/now"
        self.host.run("ln", "--symbolic", "--force", "--no-dereference", str(number), to)

    def dnf(self, *arguments: str) -> None:
        """A transaction, and all that follows from it."""
        dnf(self.host, *arguments)

    def systemctl(self, *arguments: str) -> None:
        """Run systemctl; it has to succeed."""
        self.host.run("systemctl", *arguments)

    def runs(self, number: int) -> None:
        """Wait for the container, which docker may still be starting; raise if it is another."""
        read = (self.engine, "exec", "redis", "cat", MARK)
        found = self.host.wait_for(
            lambda: self.host.run(*read, check=False).stdout.strip(), "container to look into"
        )
        if found != str(number):
            raise SystemExit(f"{self.target}: version {found} runs instead of {number}")

    def watch(self, action: Callable[[], object]) -> Seen:
        """What the client sees while ``action`` runs."""
        self.host.path(POLLS).unlink(missing_ok=True)
        self.systemctl("start", "poll")
        self._wait_for_polls(25)
        begun = time.monotonic()
        action()
        self._wait_for_polls(len(self._polls()) + 25)
        self.systemctl("stop", "poll")
        return longest_gap(self._polls(), begun)

    def _polls(self) -> list[float]:
        path = self.host.path(POLLS)
        return parse_polls(path.read_text()) if path.exists() else []

    def _wait_for_polls(self, count: int) -> None:
        self.host.wait_for(lambda: len(self._polls()) >= count, "answers to the client")


@contextmanager
def new_site(target: str, versions: Versions) -> Iterator[Site]:
    """A host with version 1 installed and running, gone after the block."""
    binds = {versions.folder / target / n: f"{CHANNEL}/{n}" for n in ("1", "2")}
    binds[versions.folder / "archives"] = ARCHIVES
    with new_host(ready(TRIXIE, cache_folder()), cache_folder(), binds=binds) as host:
        host.boot()
        site = Site(host, target, versions)
        site.publish(1)
        host.run("cp", f"{CHANNEL}/now/containerpkg.repo", "/etc/yum.repos.d/")
        host.copy_in(Path(__file__).with_name("poll.py"), POLLER)
        unit = host.path("/etc/systemd/system/poll.service")
        # It has its turn when the machine is busy, as a client elsewhere would.
        unit.write_text(f"[Service]\nNice=-10\nExecStart=/usr/bin/python3 {POLLER} {POLLS}\n")
        # It is restarted more often than systemd would have it.
        limit = host.path("/etc/systemd/system/service.d/limit.conf")
        limit.parent.mkdir()
        limit.write_text("[Unit]\nStartLimitIntervalSec=0\n")
        if site.engine == "docker":
            site.systemctl("start", "docker")
        site.dnf("install", "redis-container")
        site.systemctl("start", "redis")
        yield site


# ------------------------------------------------------------------ our way


def see_restart(site: Site) -> Seen:
    """A restart, nothing changed."""
    seen = site.watch(lambda: site.systemctl("restart", "redis"))
    site.runs(1)
    return seen


def see_update(site: Site) -> Seen:
    """From version 1 to 2; afterwards the host is as it was."""
    site.publish(2)
    before = layers_of(site.host)
    seen = site.watch(lambda: site.dnf("upgrade"))
    site.runs(2)
    site.dnf("downgrade", "redis-container")
    site.runs(1)
    site.publish(1)
    # Else the next round would have the new layer already.
    site.host.run("rpm", "--erase", *(layers_of(site.host) - before))
    return seen


def layers_of(host: Host) -> set[str]:
    """The installed layer packages."""
    return set(host.run("rpm", "--query", "--all", "oci-layer-*").stdout.split())


# ------------------------------------------------------------------ the usual ways


_OURS = (
    # Lines with those that continue them. Podman's own cleanup stays, which its generators write.
    (r"(?m)^Exec(StartPre|StartPost)=(.*\\\n)*.*\n", ""),
    (r"(?m)^ExecStopPost=-/bin/sh(.*\\\n)*.*\n", ""),
    (r"(?m)^(Requires|After)=redis-image.service\n", ""),
    (r"(?m)^Environment=CONTAINERPKG_IMAGE=.*$", f"Environment=CONTAINERPKG_IMAGE={REFERENCE}"),
    (r"(?m)^Image=.*$", f"Image={REFERENCE}"),
)


def render_bare(unit: str) -> str:
    """Our unit with the same options, but as one writes it who tags and loads images by hand."""
    for pattern, text in _OURS:
        unit = re.sub(pattern, text, unit)
    return unit


@contextmanager
def bare_unit(site: Site) -> Iterator[None]:
    """For the block redis is a unit without our program, at version 1."""
    name, places = "redis.service", ("/usr/lib/systemd/system", "/etc/systemd/system")
    if site.target == "el9":
        name = "redis.container"
        places = ("/usr/share/containers/systemd", "/etc/containers/systemd")
    ours, bare = (site.host.path(f"{place}/{name}") for place in places)
    site.host.run(site.engine, "tag", site.versions.ids[0], REFERENCE)
    bare.write_text(render_bare(ours.read_text()))
    site.systemctl("daemon-reload")
    site.systemctl("restart", "redis")
    try:
        yield
    finally:
        bare.unlink()
        site.systemctl("daemon-reload")
        site.systemctl("restart", "redis")


def see_bare(site: Site) -> Seen:
    """A restart, nothing changed."""
    seen = site.watch(lambda: site.systemctl("restart", "redis"))
    site.runs(1)
    return seen


def see_loaded(site: Site, *verbs: str) -> Seen:
    """From version 1 to 2 by ``verbs`` of systemctl and ``load``; afterwards it is as it was."""
    load = (site.engine, "load", "--quiet", f"--input={ARCHIVES}/2.tar")

    def act() -> None:
        for verb in verbs:
            site.host.run(*(load if verb == "load" else ("systemctl", verb, "redis")))

    seen = site.watch(act)
    site.runs(2)
    site.host.run(site.engine, "tag", site.versions.ids[0], REFERENCE)
    site.systemctl("restart", "redis")
    site.runs(1)
    site.host.run(site.engine, "image", "rm", site.versions.ids[1])
    return seen


# ------------------------------------------------------------------ the rounds and the table


Figures = dict[str, dict[str, list[Seen]]]
"""What was seen by target and way."""


def measure(versions: Versions, targets: Sequence[str], *, rounds: int) -> Figures:
    """Run everything, the ways in turn within each round."""
    figures: Figures = {}
    for target in targets:
        with new_site(target, versions) as site:
            for number in range(rounds):
                note(f"{target}, round {number + 1} of {rounds}")
                for way, seen in measure_round(site):
                    note(f"  {way}: {seen.downtime:.2f} s of {seen.total:.2f} s")
                    figures.setdefault(target, {}).setdefault(way, []).append(seen)
    return figures


def measure_round(site: Site) -> Iterator[tuple[str, Seen]]:
    """Each way once."""
    yield "restart", see_restart(site)
    yield "update", see_update(site)
    with bare_unit(site):
        yield "bare", see_bare(site)
        yield "load", see_loaded(site, "load", "restart")
        yield "stopped", see_loaded(site, "stop", "load", "start")


def plan_table(figures: Figures) -> tuple[Row, ...]:
    """The comparisons that the aims speak of, then the figures they come from."""

    def down(target: str, way: str) -> float:
        return statistics.median(seen.downtime for seen in figures[target][way])

    def three(values: Sequence[float]) -> str:
        return f"{statistics.median(values):.2f} s ({min(values):.2f} to {max(values):.2f})"

    rows = []
    for target in figures:
        update = down(target, "update")
        for way, what in (("restart", "`systemctl restart`"), ("bare", "restart of a bare unit")):
            ratio = update / down(target, way)
            rows.append(at_most(f"{target}: downtime of an update : {what}", ratio, AIM, "times"))
        ratio = down(target, "stopped") / update
        rows.append(
            Row(what=f"{target}: stop, load, start : an update", value=f"{ratio:.1f} times")
        )
    for target, ways in figures.items():
        for way, seen in ways.items():
            what = f"{target}, {WAYS[way]}"
            rows.append(Row(what=f"{what}: downtime", value=three([s.downtime for s in seen])))
            if way not in ("restart", "bare"):
                rows.append(
                    Row(what=f"{what}: until the new answers", value=three([s.total for s in seen]))
                )
    return tuple(rows)


def main() -> int:
    """Measure, print, clean up; the exit status."""
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="containerpkg-bench-", dir=arguments.work) as folder:
        work = Path(folder)
        try:
            versions = make_versions(work, megabytes=arguments.megabytes)
            targets = arguments.target or TARGETS
            figures = measure(versions, targets, rounds=arguments.rounds)
        finally:
            remove_images(work)
        facts = machine_facts(work)
    facts["host"] = f"Debian {TRIXIE.suite} in systemd-nspawn, a poll every 20 ms"
    facts["run"] = (
        f"medians (least to most) of {arguments.rounds}, a changed layer of "
        f"{arguments.megabytes:g} MB"
    )
    rows = plan_table(figures)
    print(render_table(rows, facts))
    return int(any(row.met is False for row in rows))


def parse_arguments() -> argparse.Namespace:
    """The command line as a namespace."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="runs of each; medians are printed")
    parser.add_argument("--megabytes", type=float, default=150, help="size of the changed layer")
    parser.add_argument("--target", action="append", choices=TARGETS, help="only this; repeatable")
    parser.add_argument("--work", type=Path, help="folder to work in (2 GB)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
