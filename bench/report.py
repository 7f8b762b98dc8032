"""The table that a benchmark prints, and what a reader has to know of the machine."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table: what, its value as text, the aim as text and whether it is met."""

    what: str
    value: str
    aim: str = ""
    met: bool | None = None


def at_most(what: str, value: float, limit: float, unit: str) -> Row:
    """A value that should not be larger than ``limit``."""
    aim = f"at most {limit:g} {unit}"
    return Row(what=what, value=f"{value:.2f} {unit}", aim=aim, met=value <= limit)


def render_table(rows: Sequence[Row], facts: Mapping[str, str]) -> str:
    """The table in Markdown, the machine below it."""
    marks = {True: "yes", False: "**no**", None: ""}
    cells = [
        ("", "measured", "aim", "met"),
        *((r.what, r.value, r.aim, marks[r.met]) for r in rows),
    ]
    widths = [max(len(row[column]) for row in cells) for column in range(4)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in cells
    ]
    lines.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return "\n".join((*lines, "", *(f"{name}: {fact}  " for name, fact in facts.items())))


def machine_facts(work: Path) -> dict[str, str]:
    """Date, processor, memory, the disk below ``work``, and system."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "processor": f"{models[0] if models else platform.machine()}, {os.cpu_count()} cores",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "disk": _disk_of(work),
        "system": f"{platform.freedesktop_os_release()['PRETTY_NAME']}, Linux {platform.release()}",
    }


def _disk_of(folder: Path) -> str:
    """File system and block device below a folder."""
    mounts = [
        mount
        for mount in psutil.disk_partitions(all=True)
        if folder.resolve().is_relative_to(mount.mountpoint)
    ]
    mount = max(mounts, key=lambda found: len(found.mountpoint))
    return f"{mount.fstype} on {mount.device}"


def output_of(*argv: str) -> str:
    """What a program prints, without the space around it."""
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()


def note(text: str) -> None:
    """Say on standard error what is going on."""
    print(text, file=sys.stderr, flush=True)
