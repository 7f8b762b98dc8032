"""The dependency graph of images as a text tree, in dot and mermaid, and as data for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from containerpkg.definitions import graph
from containerpkg.definitions.edges import Edge, find_uses
from containerpkg.definitions.project import Image


class ImageNode(TypedDict):
    """One image of the graph."""

    name: str
    reference: str
    level: int
    parents: list[str]
    external: list[str]


class GraphEdge(TypedDict):
    """One instruction that makes an image depend on another."""

    child: str
    parent: str
    instruction: str
    reference: str
    file: str
    line: int


class GraphData(TypedDict):
    """What ``graph --json`` prints: images in build order, edges by child and line."""

    images: list[ImageNode]
    edges: list[GraphEdge]


def graph_data(images: Sequence[Image], root: Path) -> GraphData:
    """The graph as data; files are given relative to ``root``, the project's folder."""
    uses = find_uses(images)
    levels = graph.levels(_parents(images))
    level = {name: number for number, names in enumerate(levels) for name in names}
    by_name = {image.name: image for image in images}
    return {
        "images": [
            {
                "name": name,
                "reference": by_name[name].reference,
                "level": level[name],
                "parents": sorted({edge.parent for edge in uses[name].edges}),
                "external": sorted({use.reference for use in uses[name].external}),
            }
            for names in levels
            for name in names
        ],
        "edges": [
            {
                "child": edge.child,
                "parent": edge.parent,
                "instruction": edge.instruction,
                "reference": edge.reference,
                "file": str(edge.path.relative_to(root)),
                "line": edge.line,
            }
            for edge in _sorted_edges(images)
        ],
    }


def render_tree(images: Sequence[Image]) -> str:
    """A tree for people: children below their parents, what comes from outside in brackets.

    An image with several parents stands below each, its own children only the first time.
    """
    uses = find_uses(images)
    parents = _parents(images)
    children = graph.children(parents)
    lines: list[str] = []
    shown: set[str] = set()

    def add(name: str, first: str, further: str) -> None:
        external = sorted({use.reference for use in uses[name].external})
        label = f"{name} [{', '.join(external)}]" if external else name
        repeated = name in shown and children[name]
        lines.append(f"{first}{label}{' …' if repeated else ''}")
        if name in shown:
            return
        shown.add(name)
        below = children[name]
        for child in below:
            last = child == below[-1]
            add(
                child,
                further + ("└── " if last else "├── "),
                further + ("    " if last else "│   "),
            )

    for name in sorted(parents):
        if not parents[name]:
            add(name, "", "")
    return "".join(f"{line}\n" for line in lines)


def render_dot(images: Sequence[Image]) -> str:
    """The graph in the language of Graphviz, arrows from child to parent."""
    lines = ["digraph containerpkg {", "  rankdir = BT;", "  node [shape = box];"]
    lines += [f"  {_quoted(image.name)};" for image in _sorted_images(images)]
    for child, parent, instructions in _arrows(images):
        dashed = "" if "FROM" in instructions else ", style = dashed"
        label = _quoted(", ".join(instructions))
        lines.append(f"  {_quoted(child)} -> {_quoted(parent)} [label = {label}{dashed}];")
    return "\n".join([*lines, "}", ""])


def render_mermaid(images: Sequence[Image]) -> str:
    """The graph as a mermaid flowchart, arrows from child to parent."""
    number = {image.name: f"i{index}" for index, image in enumerate(_sorted_images(images))}
    lines = ["flowchart BT"]
    lines += [f'  {identifier}["{name}"]' for name, identifier in number.items()]
    for child, parent, instructions in _arrows(images):
        arrow = "-->" if "FROM" in instructions else "-.->"
        lines.append(f"  {number[child]} {arrow}|{', '.join(instructions)}| {number[parent]}")
    return "\n".join([*lines, ""])


def _parents(images: Sequence[Image]) -> dict[str, tuple[str, ...]]:
    names = {image.name for image in images}
    return {
        image.name: tuple(parent for parent in image.parents if parent in names) for image in images
    }


def _sorted_images(images: Sequence[Image]) -> list[Image]:
    return sorted(images, key=lambda image: image.name)


def _sorted_edges(images: Sequence[Image]) -> list[Edge]:
    uses = find_uses(images)
    edges = (edge for found in uses.values() for edge in found.edges)
    return sorted(edges, key=lambda edge: (edge.child, edge.path, edge.line, edge.parent))


def _arrows(images: Sequence[Image]) -> list[tuple[str, str, list[str]]]:
    together: dict[tuple[str, str], set[str]] = {}
    for edge in _sorted_edges(images):
        together.setdefault((edge.child, edge.parent), set()).add(edge.instruction)
    return [(*pair, sorted(instructions)) for pair, instructions in sorted(together.items())]


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
