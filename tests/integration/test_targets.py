"""Packages and units of every target, made by the real programs."""

from __future__ import annotations

import pytest

from containerpkg.units.check import Checked, check_units
from containerpkg.units.flavour import Flavour
from containerpkg.units.quadlet import SYSTEM, UnitFile
from tests.unit.units.test_plain import ONCE, units
from tests.unit.units.test_quadlet import FULL


@pytest.mark.parametrize("flavour", ["podman", "docker"])
def test_systemd_takes_the_units_of_both_engines(flavour: Flavour) -> None:
    report: dict[str, object] = {"type": "oneshot", "schedule": "daily"}
    services = {"redis": FULL, "migrate": ONCE, "report": report}
    made = [UnitFile(path=path, text=text) for path, text in units(flavour, services).items()]
    assert check_units(made, podman=(4, 7)) == Checked()
    broken = UnitFile(path=f"{SYSTEM}/b.service", text="[Service]\nExecStart=/bin/x\nTypo=a\n")
    (problem,) = check_units([broken], podman=(4, 7)).problems
    assert problem.message.startswith("b.service:3: Unknown key")
