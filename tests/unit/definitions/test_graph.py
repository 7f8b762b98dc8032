from __future__ import annotations

from graphlib import CycleError

import pytest

from containerpkg.definitions import graph

DIAMOND = {
    "top": ("right", "left"),
    "left": ("base",),
    "right": ("base", "elsewhere"),
    "base": (),
    "alone": (),
}


def test_order_is_parents_first_then_name() -> None:
    assert graph.levels(DIAMOND) == (("alone", "base"), ("left", "right"), ("top",))
    assert graph.build_order(DIAMOND) == ("alone", "base", "left", "right", "top")
    backwards = dict(reversed(DIAMOND.items()))
    assert graph.build_order(backwards) == graph.build_order(DIAMOND)


def test_relatives() -> None:
    assert graph.children(DIAMOND) == {
        "top": (),
        "left": ("top",),
        "right": ("top",),
        "base": ("left", "right"),
        "alone": (),
    }
    assert graph.ancestors(DIAMOND, ["top"]) == {"left", "right", "base"}
    assert graph.ancestors(DIAMOND, ["top", "left"]) == {"left", "right", "base"}
    assert graph.descendants(DIAMOND, ["base", "alone"]) == {"left", "right", "top"}
    assert graph.descendants(DIAMOND, ["nobody"]) == set()


@pytest.mark.parametrize(
    ("parents", "cycles"),
    [
        (DIAMOND, ()),
        ({"a": ["a"]}, (("a", "a"),)),
        ({"b": ["a"], "a": ["b"]}, (("a", "b", "a"),)),
        ({"a": ["c"], "b": ["a"], "c": ["b"], "d": ["c"]}, (("a", "c", "b", "a"),)),
        ({"d": ["c"], "c": ["d"], "a": ["b", "c"], "b": ["a"]}, (("a", "b", "a"), ("c", "d", "c"))),
    ],
)
def test_cycles(parents: dict[str, list[str]], cycles: tuple[tuple[str, ...], ...]) -> None:
    assert graph.find_cycles(parents) == cycles
    if cycles:
        with pytest.raises(CycleError):
            graph.build_order(parents)
