"""The package of the host's program."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from containerpkg.packages.plan import PackageFile, Symlink
from containerpkg.packages.runtime import _version, plan_runtime, sources


def _shown(file: PackageFile) -> str:
    match file.content:
        case Symlink(to=to):
            return f"{file.target} -> {to}"
        case _:
            return f"{file.target} {file.mode:o}{' config' if file.config else ''}"


def test_what_is_in_the_package() -> None:
    plan = plan_runtime("20260102030405")
    assert re.fullmatch(r"containerpkg-runtime-.*-1\.20260102030405\.noarch", str(plan.nevra))
    assert plan.payload == "w1.gzdio"
    assert [
        _shown(file) for file in plan.files if "/host/containerpkg_host/" not in file.target
    ] == [
        "/etc/containerpkg/host.conf 644 config",
        "/usr/bin/containerpkg-host -> ../../usr/libexec/containerpkg/containerpkg-host",
        "/usr/lib/systemd/system/containerpkg-sync.service 644",
        (
            "/usr/lib/systemd/system/multi-user.target.wants/containerpkg-sync.service"
            " -> ../containerpkg-sync.service"
        ),
        "/usr/libexec/containerpkg/containerpkg-host 755",
        "/usr/share/containerpkg/host/__main__.py 644",
        "/usr/share/man/man8/containerpkg-host.8 644",
    ]
    modules = {file.target.rpartition("/")[2] for file in plan.files if "_host/" in file.target}
    assert modules == {path.name for path in (sources() / "containerpkg_host").glob("*.py")}


def test_every_line_is_python_3_6_and_the_standard_library() -> None:
    for path in sources().rglob("*.py"):
        tree = ast.parse(path.read_text(), feature_version=(3, 6))
        assert not [node for node in ast.walk(tree) if isinstance(node, ast.NamedExpr)]
        imported = {
            (node.module or "") if isinstance(node, ast.ImportFrom) else node.names[0].name
            for node in ast.walk(tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
        }
        assert {name.partition(".")[0] for name in imported} <= {
            "abc", "argparse", "containerpkg_host", "contextlib", "fcntl", "hashlib", "io", "json",
            "os", "pathlib", "re", "shlex", "signal", "socket", "struct", "subprocess", "sys",
            "tarfile", "tempfile", "time", "typing",
        }, path  # fmt: skip


@pytest.mark.parametrize(
    ("python", "rpm"),
    [("1.2.3", "1.2.3"), ("1.0rc1", "1.0~rc1"), ("1.0.dev4", "1.0~dev4"), ("2.0b1", "2.0~b1")],
)
def test_a_version_before_a_release_is_older(python: str, rpm: str) -> None:
    assert _version(python) == rpm


def test_the_sources_are_beside_the_package() -> None:
    assert sources() == Path(__file__).parents[3] / "runtime"
