"""Keys, and a repository of small images that come from no engine, for tests of signatures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from containerpkg.definitions.load import load_project
from containerpkg.progress import Silent
from containerpkg.release.make import Options, Report, Workshop
from tests.unit.release.conftest import FakeEngine

PASSPHRASE = 'two words, "quoted" and %{percent}'
ROOT = Path(__file__).parents[1]
LARGE = (1 << 20) + 4321


@dataclass(frozen=True, kw_only=True)
class Keys:
    """A GnuPG home and the fingerprints of its two secret keys."""

    home: Path
    ours: str
    theirs: str

    def public(self, key: str) -> str:
        """The armoured public key."""
        return self.gpg("--armor", "--export", key)

    def gpg(self, *arguments: str) -> str:
        """What gpg prints."""
        argv = ["gpg", "--batch", "--no-tty", f"--homedir={self.home}", *arguments]
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


@contextmanager
def made_keys(home: Path) -> Iterator[Keys]:
    """Two keys in ``home``, both with :data:`PASSPHRASE`, for the block."""
    home.mkdir(mode=0o700)
    keys = Keys(home=home, ours="", theirs="")
    (home / "passphrase").write_text(f"{PASSPHRASE}\n")
    try:
        for name in ("ours", "theirs"):
            keys.gpg(
                "--pinentry-mode=loopback",
                f"--passphrase-file={home}/passphrase",
                "--quick-generate-key",
                f"{name} <{name}@example.org>",
                "ed25519",
                "sign",
                "never",
            )
        listing = keys.gpg("--with-colons", "--list-secret-keys").splitlines()
        ours, theirs = (line.split(":")[9] for line in listing if line.startswith("fpr:"))
        yield Keys(home=home, ours=ours, theirs=theirs)
    finally:
        subprocess.run(["gpgconf", f"--homedir={home}", "--kill", "gpg-agent"], check=False)


def forget_passphrases(keys: Keys) -> None:
    """End the agent, which remembers what it was told."""
    subprocess.run(["gpgconf", f"--homedir={keys.home}", "--kill", "gpg-agent"], check=True)


def containerpkg(
    *arguments: str | Path, cwd: Path = ROOT, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run the program as a person does."""
    return subprocess.run(
        [sys.executable, "-m", "containerpkg", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **env},
        capture_output=True,
        text=True,
    )


class Publisher:
    """A project of an image ``base`` and an image ``app`` on it, each with a layer of 1 MiB."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.repo = root / "out/repo"
        self.packages = self.repo / "packages"
        self.engine = FakeEngine(sizes={"base": LARGE, "app": LARGE})
        self.write("images/base/Dockerfile", "FROM scratch\n")
        self.write("images/app/Dockerfile", "FROM quay.io/example/base:1.0\n")
        for name in ("base", "app"):
            self.write(f"images/{name}/image.yaml", f"summary: The {name}\nlicense: MIT\n")
        self.change("1")

    def write(self, name: str, text: str) -> None:
        """Write a file of the project."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def change(self, text: str) -> None:
        """Give the image ``app`` another layer of its own."""
        self.write("images/app/file", text)

    def make(self, keys: Keys | None = None, key: str = "") -> Report:
        """Make everything, signed by ``key`` (by default ours) where there are ``keys``."""
        settings: dict[str, object] = {"registry": "quay.io/example", "vendor": "Example"}
        if keys:
            settings["signing"] = self.signing(keys, key)
        self.write("containerpkg.yaml", json.dumps(settings))
        project = load_project(self.root)
        workshop = Workshop(project, progress=Silent())
        return workshop.make(project.images, self.engine, Options(jobs=2))

    @staticmethod
    def signing(keys: Keys, key: str = "") -> Mapping[str, str]:
        """What containerpkg.yaml says of signing."""
        return {
            "key": key or keys.ours,
            "home": str(keys.home),
            "passphrase_file": str(keys.home / "passphrase"),
        }

    def package(self, start: str) -> Path:
        """The newest package whose name begins so."""
        return max(self.packages.glob(f"{start}*.rpm"))
