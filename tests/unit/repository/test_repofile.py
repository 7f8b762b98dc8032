"""The .repo file."""

from __future__ import annotations

from pathlib import Path

from containerpkg.definitions.project import Repository
from containerpkg.repository.repofile import render_repo_file, write_repo_file

HOSTED = """\
[site:9]
name=Packages of the site
baseurl=https://yum.example.org/el9/
enabled=1
metadata_expire=5m
gpgcheck=0
repo_gpgcheck=0
"""
LOCAL = """\
[containerpkg]
name=Container packages
baseurl=file:///srv/a%20b/100%25/repo
enabled=1
metadata_expire=5m
gpgcheck=0
repo_gpgcheck=0
"""


def test_text():
    hosted = Repository(
        id="site:9", name="Packages of the site", baseurl="https://yum.example.org/el9/"
    )
    assert render_repo_file(hosted, Path("/srv/repo")) == HOSTED
    assert render_repo_file(Repository(), Path("/srv/a b/100%/repo")) == LOCAL


def test_written_once(tmp_path):
    path = write_repo_file(Repository(), tmp_path)
    assert path == tmp_path / "containerpkg.repo"
    assert path.read_text() == render_repo_file(Repository(), tmp_path)
    before = path.stat()
    write_repo_file(Repository(), tmp_path)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    write_repo_file(Repository(name="Other"), tmp_path)
    assert path.read_text() == render_repo_file(Repository(name="Other"), tmp_path)
