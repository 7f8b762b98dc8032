"""The command line of containerpkg-host."""

import argparse
import os
import sys
from typing import List, Optional

from containerpkg_host import journal
from containerpkg_host.engine import Engine
from containerpkg_host.engines import Engines, engines
from containerpkg_host.errors import HostProblem, WrongUsage
from containerpkg_host.host import Host
from containerpkg_host.layout import Layout, find_layout, load_layouts

# What else a verb needs it imports itself: while a unit waits for one, its service is down.

_EXAMPLES = """\
examples:
  containerpkg-host check          does every unit find its image, without network?
  containerpkg-host retry foreman  try the version again that foreman was rolled back from

exit status: 0 done, 1 look at it, 2 usage, 7 damaged image, 8 engine, 10 this host
"""

_DESCRIPTION = "What containerpkg does on a host; containerpkg-host(8) is its manual."


def main(arguments: Optional[List[str]] = None, host: Optional[Host] = None) -> int:
    """Run one verb; its exit status."""
    parser = argparse.ArgumentParser(
        prog="containerpkg-host",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(dest="verb", metavar="VERB")
    check = verbs.add_parser("check", help="prove that every unit's image is here, without network")
    check.add_argument("--json", action="store_true", help="print the findings for a program")
    verbs.add_parser("sync", help="make what runs what the packages say, after a transaction")
    retry = verbs.add_parser("retry", help="try the installed image of a service again")
    retry.add_argument("service", metavar="SERVICE")
    verify = verbs.add_parser(
        "verify", help="look whether an image's blobs are what they should be"
    )
    verify.add_argument("image", metavar="IMAGE")
    load = verbs.add_parser("load", help="verify an image and copy it into its engine")
    load.add_argument(
        "--for", dest="service", metavar="SERVICE", help="of this unit, and make way for a start"
    )
    load.add_argument("image", metavar="IMAGE")
    healthy = verbs.add_parser("wait-healthy", help="for units: wait for a container in docker")
    healthy.add_argument("service", metavar="SERVICE")
    explain = verbs.add_parser("explain", help="for units: say why an image was not loaded")
    explain.add_argument("image", metavar="IMAGE")
    verbs.add_parser("after-installation", help="for rpm: apply presets to what was installed")
    verbs.add_parser("before-removal", help="for rpm: stop what is about to be removed")
    verbs.add_parser("after-removal", help="for rpm: stop what was removed")
    verbs.add_parser("leave", help="for rpm: undo everything, before this program is removed")
    chosen = parser.parse_args(arguments)
    if chosen.verb is None:
        parser.print_usage(sys.stderr)
        return WrongUsage.exit_status
    try:
        return _run(chosen, host or Host())
    except HostProblem as problem:
        journal.error(str(problem))
        return problem.exit_status
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        journal.error(f"{place}{error.strerror}")
        return 10


def _run(chosen: argparse.Namespace, host: Host) -> int:
    both = engines(host)
    if chosen.verb == "check":
        from containerpkg_host import checking

        report = checking.check(host, both)
        print(checking.render_json(report) if chosen.json else checking.render_text(report))
        return 0 if report.ok else 1
    if chosen.verb == "verify":
        layout = find_layout(host, chosen.image)
        _verify(host, both.of(layout), layout)
    elif chosen.verb == "load":
        from containerpkg_host import loading

        layout = find_layout(host, chosen.image)
        if chosen.service:
            loading.make_ready(host, both.of(layout), layout, chosen.service)
        else:
            loading.load(host, both.of(layout), layout)
    elif chosen.verb == "explain":
        layout = find_layout(host, chosen.image)
        _explain(host, both.of(layout), layout)
    elif chosen.verb == "wait-healthy":
        from containerpkg_host import waiting

        waiting.wait_healthy(both.docker, chosen.service, os.environ.get("MAINPID", ""))
    elif chosen.verb == "sync":
        from containerpkg_host import sync

        return 1 if sync.sync(host, both) else 0
    elif chosen.verb == "retry":
        return _retry(host, both, chosen.service)
    elif chosen.verb == "after-installation":
        from containerpkg_host import presets

        presets.apply(host, load_layouts(host)[0])
    elif chosen.verb == "before-removal":
        from containerpkg_host import removal

        removal.before_removal(host, both, sys.stdin.read().splitlines())
    elif chosen.verb == "after-removal":
        from containerpkg_host import removal

        removal.stop_gone(host, both, load_layouts(host)[0])
    elif chosen.verb == "leave":
        from containerpkg_host import removal

        removal.leave(host, both)
    return 0


def _verify(host: Host, engine: Engine, layout: Layout) -> None:
    from containerpkg_host import loading

    try:
        loading.verify(host, engine, layout)
    except HostProblem as problem:
        journal.tell_units(str(problem), layout.services)
        raise


def _explain(host: Host, engine: Engine, layout: Layout) -> None:
    from containerpkg_host import explaining
    from containerpkg_host.space import find_space, needs

    space = find_space(host, needs(engine, [layout]))
    why = explaining.explain(layout, engine.name, space, os.environ)
    if why:
        journal.error(why)
        journal.tell_units(why, layout.services)


def _retry(host: Host, both: Engines, service: str) -> int:
    from containerpkg_host import holdback, sync, systemd
    from containerpkg_host.state import State

    state = State(host)
    if service not in state.rollbacks():
        held = ", ".join(sorted(state.rollbacks())) or "none"
        raise WrongUsage(f"'{service}' was not given an image back; such services: {held}")
    image = state.rollbacks()[service].image
    with host.locked("sync"):
        for held, change in state.rollbacks().items():
            if change.image == image:  # all services of an image run one version
                holdback.lift(host, held)
                state.end_rollback(held)
        systemd.daemon_reload(host)
    return 1 if sync.sync(host, both) else 0
