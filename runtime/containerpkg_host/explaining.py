"""Says why a unit that has an engine load an image did not do so.

What an engine says names neither the package nor the file system that is full, and one that was
killed says nothing.
"""

from typing import Mapping, Tuple

from containerpkg_host.layout import Layout
from containerpkg_host.space import SpaceFinding, describe_lack


def explain(
    layout: Layout, engine: str, space: Tuple[SpaceFinding, ...], ended: Mapping[str, str]
) -> str:
    """One sentence for the journal; empty if there is nothing to explain.

    ``ended`` has the variables that systemd.exec(5) gives to ExecStopPost=, ``space`` is what the
    load needs.
    """
    result, status = ended.get("SERVICE_RESULT", ""), ended.get("EXIT_STATUS", "")
    if status in ("", "0"):
        return ""  # the engine was not started, or did what it was asked
    if result == "timeout":
        why = f"{engine} was ended because it took longer than TimeoutStartSec= of the unit allows"
    elif ended.get("EXIT_CODE") != "exited":
        why = f"{engine} was ended by the signal {status}; the next start loads it again"
    else:
        lack = describe_lack(space)
        why = (
            f"{lack}; make room and start it again"
            if lack
            else f"{engine} ended with the status {status}, what it said is in the same journal"
        )
    return f"image {layout.name} of package {layout.package} was not loaded: {why}"
