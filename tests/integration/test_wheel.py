"""The wheel, installed into an empty venv, is the whole program."""

from __future__ import annotations

import json
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from containerpkg import __version__, process

ROOT = Path(__file__).parents[2]
TEMPLATE_FOLDERS = ("spec-templates", "systemd")


@dataclass(frozen=True, kw_only=True)
class Installed:
    """A venv that holds the wheel, its dependencies and nothing else."""

    wheel: Path
    program: Path

    def run(self, *arguments: str, cwd: Path) -> str:
        """Standard output of ``containerpkg ARGUMENTS``, blind to the checkout under test."""
        env = {"PYTHONPATH": "", "PYTHONNOUSERSITE": "1"}
        return process.run((str(self.program), *arguments), cwd=cwd, env=env).stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("wheel")
    venv = folder / "venv"
    build = (sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(ROOT))
    process.run(build)
    (wheel,) = folder.glob("*.whl")
    process.run((sys.executable, "-m", "venv", "--without-pip", str(venv)))
    pip = (sys.executable, "-m", "pip", "--python", str(venv / "bin/python"))
    process.run((*pip, "install", "--no-input", str(wheel)))
    return Installed(wheel=wheel, program=venv / "bin/containerpkg")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    image = tmp_path / "images/hello"
    image.mkdir(parents=True)
    (tmp_path / "containerpkg.yaml").write_text("registry: quay.io/example\nvendor: Example\n")
    (image / "image.yaml").write_text("summary: Greets\nlicense: MIT\n")
    (image / "Dockerfile").write_text("FROM scratch\nCOPY greeting /\n")
    (image / "greeting").write_text("hello\n")
    return tmp_path


def test_the_wheel_carries_every_template(installed: Installed) -> None:
    wanted = {
        f"containerpkg/data/{path.relative_to(ROOT)}"
        for folder in TEMPLATE_FOLDERS
        for path in (ROOT / folder).rglob("*.j2")
    }
    with zipfile.ZipFile(installed.wheel) as wheel:
        carried = {name for name in wheel.namelist() if name.endswith(".j2")}
    assert wanted
    assert carried == wanted


def test_the_wheel_carries_the_program_of_hosts(installed: Installed) -> None:
    runtime = ROOT / "runtime"
    wanted = {
        f"containerpkg/data/runtime/{path.relative_to(runtime)}"
        for path in runtime.rglob("*")
        if path.is_file() and path.parent.name != "__pycache__"
    }
    with zipfile.ZipFile(installed.wheel) as wheel:
        carried = {name for name in wheel.namelist() if "/data/runtime/" in name}
    assert carried == wanted


def test_the_installed_program_knows_its_version(installed: Installed, tmp_path: Path) -> None:
    assert __version__ in installed.run("--version", cwd=tmp_path)


def test_the_installed_program_checks_a_project(installed: Installed, project: Path) -> None:
    installed.run("check", cwd=project)

    (project / "images/hello/image.yaml").write_text("sumary: Greets\nlicense: MIT\n")
    with pytest.raises(process.CommandFailed) as failure:
        installed.run("check", cwd=project)
    assert failure.value.status == 3
    assert "sumary" in failure.value.tail


def test_the_installed_program_packages_an_image(installed: Installed, project: Path) -> None:
    made = json.loads(installed.run("--quiet", "make", "--json", cwd=project))

    (image,) = made["images"]
    (package,) = made["packages"]
    query = "%{NAME} %{SUMMARY} %{VENDOR}"
    (rpm,) = (project / "out/repo/packages").glob("*.rpm")
    assert image["status"] == "built"
    assert package["new"] == [rpm.name]
    read = process.run(("rpm", "--query", "--queryformat", query, "--package", str(rpm)))
    assert read.stdout == "hello-container Greets Example"
