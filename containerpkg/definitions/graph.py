"""Pure functions on a graph that is given as names and the names of their parents.

Parents that are not names of the graph themselves are left aside throughout.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from graphlib import CycleError, TopologicalSorter

Parents = Mapping[str, Collection[str]]


def levels(parents: Parents) -> tuple[tuple[str, ...], ...]:
    """The names in levels: each stands one below its lowest parent; sorted within a level.

    Raises :class:`graphlib.CycleError` if there is a cycle.
    """
    sorter = _sorter(parents)
    sorter.prepare()
    found: list[tuple[str, ...]] = []
    while sorter.is_active():
        ready = tuple(sorted(sorter.get_ready()))
        found.append(ready)
        sorter.done(*ready)
    return tuple(found)


def build_order(parents: Parents) -> tuple[str, ...]:
    """The names level by level, so parents come first; by name where there is no order."""
    return tuple(name for level in levels(parents) for name in level)


def find_cycles(parents: Parents) -> tuple[tuple[str, ...], ...]:
    """Cycles that, taken away, leave none: each as ``(a, b, a)``, a child before its parent.

    A cycle starts with its first name; they are sorted.
    """
    rest = {name: set(parents[name]) for name in sorted(parents)}
    found: list[tuple[str, ...]] = []
    while True:
        try:
            _sorter(rest).prepare()
        except CycleError as error:
            *names, _ = reversed(error.args[1])
            first = names.index(min(names))
            cycle = (*names[first:], *names[:first], names[first])
            found.append(cycle)
            rest[cycle[0]].discard(cycle[1])
            continue
        return tuple(sorted(found))


def ancestors(parents: Parents, names: Iterable[str]) -> frozenset[str]:
    """Everything that ``names`` are built from; one of them too, if another is built from it."""
    return _reachable(parents, names)


def descendants(parents: Parents, names: Iterable[str]) -> frozenset[str]:
    """Everything that is built from ``names``."""
    return _reachable(children(parents), names)


def children(parents: Parents) -> dict[str, tuple[str, ...]]:
    """For each name those that are built from it directly, sorted."""
    found: dict[str, list[str]] = {name: [] for name in parents}
    for name in sorted(parents):
        for parent in parents[name]:
            if parent in found:
                found[parent].append(name)
    return {name: tuple(sorted(set(below))) for name, below in found.items()}


def _reachable(steps: Parents, names: Iterable[str]) -> frozenset[str]:
    seen: set[str] = set()
    ahead = list(names)
    while ahead:
        for name in steps.get(ahead.pop(), ()):
            if name in steps and name not in seen:
                seen.add(name)
                ahead.append(name)
    return frozenset(seen)


def _sorter(parents: Parents) -> TopologicalSorter[str]:
    return TopologicalSorter(
        {
            name: sorted(parent for parent in parents[name] if parent in parents)
            for name in sorted(parents)
        }
    )
