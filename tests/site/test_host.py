"""The test host itself: it is a real one, offline, and leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.site.host import Host, HostError, new_host
from tests.site.tree import cache_folder


def test_a_fresh_host_is_up_offline_and_has_dnf(host: Host) -> None:
    assert host.run("systemctl", "is-system-running").stdout == "running\n"
    assert host.run("ip", "route", "show", "table", "main").stdout == ""
    links = host.run("ip", "-oneline", "link").stdout.splitlines()
    assert [link.split()[1] for link in links] == ["lo:"]
    assert host.run("curl", "--silent", "http://192.0.2.1/", check=False).returncode == 7
    installed = host.run("dnf", "repoquery", "--installed", "--queryformat=%{name}\n").stdout
    assert installed.split() == ["distribution-stand-in"]


def test_files_survive_reboot_power_cut_and_shutdown(host: Host) -> None:
    boots = set()
    for number, end in enumerate((host.reboot, host.kill, host.shutdown)):
        boots.add(host.path("/proc/sys/kernel/random/boot_id").read_text())
        host.run("sh", "-c", f"echo {number} >> /var/lib/kept; sync")
        host.run("sh", "-c", "echo gone > /run/kept")
        end()
        if end != host.reboot:
            host.boot()
        assert host.path("/var/lib/kept").read_text().split() == [str(n) for n in range(number + 1)]
        assert not host.path("/run/kept").exists()


def test_hosts_share_a_tree_and_never_change_it(host: Host, tree: Path) -> None:
    host.run("rm", "--recursive", "/etc/dnf")
    host.path("/srv/mine").write_text("mine")
    with new_host(tree, cache_folder()) as second:
        second.boot()
        assert second.path("/etc/dnf/dnf.conf").exists()
        assert not second.path("/srv/mine").exists()
    assert (tree / "etc/dnf/dnf.conf").exists()
    assert not (tree / "srv/mine").exists()


def test_a_program_that_fails_says_what_it_printed(host: Host) -> None:
    with pytest.raises(HostError, match=r"sh -c .*: status 3\nout\nerr\n"):
        host.run("sh", "-c", "echo out; echo err >&2; exit 3")


def test_a_killed_test_run_leaves_no_process_no_mount_and_its_folder_is_swept(tree: Path) -> None:
    cache = cache_folder()
    # The child prints its host's folder and first process, and is killed while the host runs.
    code = (
        "import sys; from pathlib import Path; from tests.site.host import new_host\n"
        f"with new_host(Path({str(tree)!r}), Path({str(cache)!r})) as host:\n"
        "    host.boot()\n"
        "    print(host._folder, host._leader, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    argv = [sys.executable, "-c", code]
    with subprocess.Popen(
        argv,
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout
        folder, leader = child.stdout.readline().split()
        assert Path(folder, "upper").is_dir()
        child.kill()
    with new_host(tree, cache) as other:
        gone = Path("/proc", leader)
        other.wait_for(lambda: not gone.exists(), f"end of process {leader}")
    with new_host(tree, cache):
        assert not Path(folder).exists()
        assert folder not in Path("/proc/self/mounts").read_text()
