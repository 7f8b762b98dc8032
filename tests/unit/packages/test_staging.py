from pathlib import Path

import pytest

from containerpkg.errors import HostError, PackageError, ToolError
from containerpkg.packages import rpmbuild
from containerpkg.packages.plan import SHARED_TIME, PackageFile, PackagePlan, Symlink
from containerpkg.packages.version import Nevra
from containerpkg.process import CommandFailed, Result


def plan(*files: PackageFile) -> PackagePlan:
    return PackagePlan(
        nevra=Nevra(name="a", version="1", release="1", arch="noarch"),
        time=1_000_000_000,
        directories=("/usr/share/a",),
        files=files,
        spec="Name: a\n",
    )


@pytest.fixture(autouse=True)
def rpm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with rpm's own settings, whether or not this machine has rpm."""
    folder = tmp_path / "rpm"
    folder.mkdir()
    for name in ("macros", "rpmrc"):
        (folder / name).touch()
    monkeypatch.setattr(rpmbuild, "RPM", folder)
    return folder


class Fake:
    """Looks at what was staged, and leaves a package."""

    def __init__(self, *, fails: bool = False) -> None:
        self.fails, self.calls = fails, []

    def __call__(self, argv, *, env, cwd, **_: object) -> Result:
        staged = {
            str(path.relative_to(cwd / "root")): (
                path.readlink() if path.is_symlink() else path.stat().st_ino,
                int(path.lstat().st_mtime),
            )
            for path in sorted((cwd / "root").rglob("*"))
            if path.is_symlink() or path.is_file() or path.name == "a"
        }
        self.calls.append((tuple(argv), dict(env), (cwd / "a.spec").read_text(), staged))
        if self.fails:
            raise CommandFailed(argv, 1, "error: line 1: Bad")
        (cwd / "out" / "a-1-1.noarch.rpm").write_text("rpm")
        return Result(stdout="")


def test_the_whole_command_and_what_is_staged(tmp_path: Path, rpm: Path) -> None:
    large, small = tmp_path / "large", tmp_path / "small"
    large.write_bytes(bytes(1 << 20))
    small.write_text("small")
    before = large.stat()
    fake = Fake()
    built = rpmbuild.build(
        plan(
            PackageFile(target="/usr/share/a/large", content=large),
            PackageFile(target="/usr/share/a/link", content=Symlink(to="../x")),
            PackageFile(target="/usr/share/a/other-large", content=large, shared=True),
            PackageFile(target="/usr/share/a/shared", content="text", shared=True),
            PackageFile(target="/usr/share/a/small", content=small),
            PackageFile(target="/usr/share/a/text", content="text"),
        ),
        tmp_path / "work",
        tmp_path / "out",
        run=fake,
    )
    assert built == tmp_path / "out" / "a-1-1.noarch.rpm"
    assert built.stat().st_mode & 0o777 == 0o644
    assert list((tmp_path / "work").iterdir()) == []
    (argv, env, spec, staged) = fake.calls[0]
    assert list(argv) == [
        "rpmbuild",
        f"--macros={rpm}/macros",
        f"--rcfile={rpm}/rpmrc",
        "-bb",
        "--quiet",
        "--nodeps",
        "--noclean",
        "--target=noarch-linux",
        "--buildroot=/proc/self/cwd/root",
        "--define=_binary_payload w.ufdio",
        "--define=_binary_filedigest_algorithm 8",
        "--define=_rpmformat 4",
        "--define=_build_name_fmt %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm",
        "--define=_buildhost localhost",
        "--define=_target_platform %{_target_cpu}-%{_target_os}",
        "--define=use_source_date_epoch_as_buildtime 1",
        "--define=clamp_mtime_to_source_date_epoch 1",
        "--define=build_mtime_policy clamp_to_source_date_epoch",
        "--define=debug_package %{nil}",
        "--define=_build_id_links none",
        "--define=__os_install_post %{nil}",
        "--define=__check_files %{nil}",
        "--define=_topdir .",
        "--define=_builddir build",
        "--define=_rpmdir out",
        "--define=_tmppath tmp",
        "--define=_dbpath db",
        "/proc/self/cwd/a.spec",
    ]
    assert Path(env.pop("HOME")).parent == tmp_path / "work"
    assert env == {"LC_ALL": "C.UTF-8", "SOURCE_DATE_EPOCH": "1000000000", "TZ": "UTC"}
    assert spec == "Name: a\n"
    inodes = {name: what for name, (what, _) in staged.items()}
    assert inodes["usr/share/a/large"] == before.st_ino
    assert inodes["usr/share/a/link"] == Path("../x")
    assert inodes["usr/share/a/small"] != small.stat().st_ino
    times = {name.removeprefix("usr/share/a"): time for name, (_, time) in staged.items()}
    # A link shares its time with the store; rpm sets it back.
    assert times.pop("/large") == int(before.st_mtime)
    assert times == {
        "": SHARED_TIME,
        "/link": 1_000_000_000,
        "/other-large": SHARED_TIME,
        "/shared": SHARED_TIME,
        "/small": 1_000_000_000,
        "/text": 1_000_000_000,
    }
    after = large.stat()
    assert (after.st_mode, after.st_mtime_ns) == (before.st_mode, before.st_mtime_ns)


def test_a_failure_names_the_package_and_what_rpmbuild_said(tmp_path: Path) -> None:
    with pytest.raises(PackageError) as caught:
        rpmbuild.build(plan(), tmp_path / "work", tmp_path / "out", run=Fake(fails=True))
    assert list((tmp_path / "work").iterdir()) == []
    assert caught.value.message == (
        "rpmbuild could not build the package a-1-1.noarch:\nerror: line 1: Bad"
    )
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(HostError) as caught:
        rpmbuild.build(
            plan(PackageFile(target="/usr/share/a/b", content=missing)),
            tmp_path / "work",
            tmp_path / "out",
            run=Fake(),
        )
    assert caught.value.message == (
        f"the package a-1-1.noarch cannot be written: {missing}: No such file or directory"
    )
    assert list((tmp_path / "work").iterdir()) == []


@pytest.mark.parametrize("name", ["macros", "rpmrc"])
def test_nothing_is_built_with_the_settings_of_a_machine(
    tmp_path: Path, rpm: Path, name: str
) -> None:
    (rpm / name).unlink()
    fake = Fake()
    with pytest.raises(ToolError) as caught:
        rpmbuild.build(plan(), tmp_path / "work", tmp_path / "out", run=fake)
    assert caught.value.message == f"rpm's own settings {rpm}/{name} are not there"
    assert caught.value.hint is not None
    assert "'dnf install rpm-build'" in caught.value.hint
    assert fake.calls == []
