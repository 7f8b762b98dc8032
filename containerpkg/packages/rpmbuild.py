"""Has rpmbuild make the package that a plan describes.

The spec has no script, so rpmbuild starts no shell (rpm 4.20 one, for a folder of its own): it
reads the staged files, which are hard links where they are large, and writes the package. Whatever
a machine or a user could add is shut out: only rpm's own macro file is read, and everything that
goes into a package is defined on the command line.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from containerpkg import process
from containerpkg.errors import NO_SPACE, HostError, PackageError, ToolError
from containerpkg.files import atomic, link_or_copy
from containerpkg.packages import archive
from containerpkg.packages.archive import Archive
from containerpkg.packages.plan import SHARED_TIME, PackageFile, PackagePlan, Symlink
from containerpkg.process import CommandFailed, Run

RPM = Path("/usr/lib/rpm")
"""rpm's own settings; distributions and users have theirs in other files."""

# Smaller files are copied, which gives them the time of the package.
_LINKED_FROM = 1 << 20

# What a package may need beside its files.
_SPARE = 1 << 20

_DEFINES = {
    "_binary_filedigest_algorithm": "8",
    # rpm 6 would make packages that no rpm before 4.20 installs.
    "_rpmformat": "4",
    "_build_name_fmt": "%%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm",
    # The same package wherever it is built.
    "_buildhost": "localhost",
    "_target_platform": "%{_target_cpu}-%{_target_os}",
    "use_source_date_epoch_as_buildtime": "1",
    "clamp_mtime_to_source_date_epoch": "1",
    "build_mtime_policy": "clamp_to_source_date_epoch",
    # Nothing looks into files that are not ours, and no program is started.
    "debug_package": "%{nil}",
    "_build_id_links": "none",
    "__os_install_post": "%{nil}",
    "__check_files": "%{nil}",
    # All within the current folder.
    "_topdir": ".",
    "_builddir": "build",
    "_rpmdir": "out",
    "_tmppath": "tmp",
    "_dbpath": "db",
}


def build(
    plan: PackagePlan,
    work_dir: Path,
    output_dir: Path,
    *,
    finish: Callable[[Path], None] | None = None,
    run: Run = process.run,
) -> Path:
    """Build the package of ``plan`` and return its file in ``output_dir``.

    The files are staged below ``work_dir``, which should be on the file system of the content
    store so that they can be links. The package is handed to ``finish``, which may sign it, and
    then appears in one step and replaces one of its name. Several builds may run at once.

    Raises :class:`ToolError` if rpmbuild or its settings are missing, :class:`PackageError` if it
    fails, and :class:`HostError` if a file cannot be read or written.
    """
    for file in (RPM / "macros", RPM / "rpmrc"):
        # rpmbuild would do without, with whatever this machine and its user have set.
        if not file.exists():
            raise ToolError(
                f"rpm's own settings {file} are not there",
                hint="install rpmbuild anew: 'apt-get install rpm' or 'dnf install rpm-build'",
            )
    with _room(plan, work_dir) as room:
        with _host_errors(plan):
            (room / f"{plan.nevra.name}.spec").write_text(plan.spec, encoding="utf-8")
            _stage(plan, room / "root")
        try:
            run(argv(plan), env=environment(plan, room), cwd=room)
        except CommandFailed as error:
            if _full(plan, room) or os.strerror(errno.ENOSPC) in error.tail:
                raise HostError(
                    f"no space left on the disk for the package {plan.nevra}", hint=NO_SPACE
                ) from error
            raise PackageError(
                f"rpmbuild could not build the package {plan.nevra}:\n{error.tail}",
                hint="if the project has templates of its own in spec-templates/, look there first",
            ) from error
        if finish:
            finish(room / "out" / plan.nevra.filename)
        with _host_errors(plan):
            return publish(room / "out" / plan.nevra.filename, output_dir)


def _full(plan: PackagePlan, room: Path) -> bool:
    """Whether the package has no room: rpm 4.18 reports a full disk by another error's name."""
    needed = sum(
        file.content.stat().st_size for file in plan.files if isinstance(file.content, Path)
    )
    return shutil.disk_usage(room).free < needed + _SPARE


def argv(plan: PackagePlan) -> tuple[str, ...]:
    """The rpmbuild command for a plan that is staged in the current folder.

    It names no folder of this machine: rpm expands macros in paths, and its shell splits them at
    blanks. The buildroot must be absolute, and rpm itself makes the spec's path absolute.
    """
    return (
        "rpmbuild",
        f"--macros={RPM / 'macros'}",
        f"--rcfile={RPM / 'rpmrc'}",
        "-bb",
        "--quiet",
        "--nodeps",
        "--noclean",
        f"--target={plan.nevra.arch}-linux",
        "--buildroot=/proc/self/cwd/root",
        f"--define=_binary_payload {plan.payload}",
        *(f"--define={name} {value}" for name, value in _DEFINES.items()),
        f"/proc/self/cwd/{plan.nevra.name}.spec",
    )


def environment(plan: PackagePlan, room: Path) -> dict[str, str]:
    """What rpmbuild must see of the environment, whoever builds."""
    return {
        "HOME": str(room),
        "LC_ALL": "C.UTF-8",
        "SOURCE_DATE_EPOCH": str(plan.time),
        "TZ": "UTC",
    }


@contextmanager
def _room(plan: PackagePlan, work_dir: Path) -> Iterator[Path]:
    """A folder of this build's own, gone at its end."""
    with _host_errors(plan):
        work_dir.mkdir(parents=True, exist_ok=True)
        room = Path(tempfile.mkdtemp(prefix="rpm-", dir=work_dir.absolute()))
        for name in ("root", "build", "out", "tmp", "db"):
            (room / name).mkdir()
    try:
        yield room
    finally:
        shutil.rmtree(room, ignore_errors=True)


def _stage(plan: PackagePlan, root: Path) -> None:
    """Lay out the files of a package below ``root``; the files they come from stay as they are."""
    made: set[Path] = set()
    for directory in plan.directories:
        path = root / directory.removeprefix("/")
        path.mkdir(parents=True, exist_ok=True)
        made.add(path)
    for file in plan.files:
        path = root / file.target.removeprefix("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        _put(file, path, plan)
    for path in made:
        os.utime(path, (SHARED_TIME, SHARED_TIME))


def _put(file: PackageFile, path: Path, plan: PackagePlan) -> None:
    time = SHARED_TIME if file.shared else plan.time
    match file.content:
        case Symlink(to=to):
            path.symlink_to(to)
        case str(text):
            path.write_text(text, encoding="utf-8")
        case Archive() as archived:
            archive.write(archived, path)
        case Path() as source:
            status = source.stat()
            # rpm sets the times of newer files back to that of the package by itself; a link
            # shares its time with the store, which keeps it.
            if status.st_size >= _LINKED_FROM and status.st_mtime >= time == plan.time:
                link_or_copy(source, path)
                return
            shutil.copyfile(source, path)
    os.utime(path, (time, time), follow_symlinks=False)


def publish(built: Path, output_dir: Path) -> Path:
    """Move a package to ``output_dir`` in one step, in place of one of its name; its new path."""
    target = output_dir / built.name
    output_dir.mkdir(parents=True, exist_ok=True)
    built.chmod(0o644)
    # Nobody looks into a package that is there again, so it must survive a power cut.
    with built.open("rb") as file:
        os.fsync(file.fileno())
    try:
        built.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with built.open("rb") as source, atomic(target) as copy:
            shutil.copyfileobj(source, copy, 1 << 20)
    return target


@contextmanager
def _host_errors(plan: PackagePlan) -> Iterator[None]:
    """Tell what stands in the way of a package instead of a bare errno."""
    try:
        yield
    except OSError as error:
        place = f": {error.filename}" if error.filename else ""
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        raise HostError(
            f"the package {plan.nevra} cannot be written{place}: {error.strerror}",
            hint=NO_SPACE if full else None,
        ) from error
