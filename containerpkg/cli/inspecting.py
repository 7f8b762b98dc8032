"""``containerpkg list``, ``graph``, ``check`` and ``schema``: what needs no engine and no store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

import click

from containerpkg.cli import options

if TYPE_CHECKING:
    from containerpkg.errors import Problem


@click.command("list", cls=options.Command)
@options.selection
@options.as_json
@click.pass_context
def list_command(
    context: click.Context,
    names: tuple[str, ...],
    with_parents: bool,
    with_children: bool,
    as_json: bool,
) -> None:
    """List IMAGEs, or all of them, in build order.

    \b
    Example:
      containerpkg list 'foreman*' --with-children
    """
    from containerpkg.definitions.listing import list_data

    images = options.select_images(
        options.load(context), names, with_parents=with_parents, with_children=with_children
    )
    data = list_data(images)
    if as_json:
        options.print_json(data)
        return
    rows = [
        (
            row["name"],
            row["version"],
            row["reference"],
            ",".join(row["parents"]) or "-",
            ",".join(row["services"]) or "-",
            row["package"] or "-",
        )
        for row in data
    ]
    options.print_table(
        ("NAME", "VERSION", "REFERENCE", "PARENTS", "SERVICES", "PACKAGE"),
        rows,
        shrinking=("REFERENCE", "PARENTS", "SERVICES"),
    )


@click.command("graph", cls=options.Command)
@options.selection
@click.option(
    "--format",
    "form",
    type=click.Choice(["tree", "dot", "mermaid", "json"]),
    default="tree",
    show_default=True,
    help="How to draw.",
)
@options.as_json
@click.pass_context
def graph_command(
    context: click.Context,
    names: tuple[str, ...],
    with_parents: bool,
    with_children: bool,
    form: str,
    as_json: bool,
) -> None:
    """Show which image is built from which, as their Dockerfiles say.

    \b
    Examples:
      containerpkg graph
      containerpkg graph --format dot | dot -Tsvg > images.svg
    """
    from containerpkg.definitions import graph_views

    project = options.load(context)
    images = options.select_images(
        project, names, with_parents=with_parents, with_children=with_children
    )
    if as_json or form == "json":
        options.print_json(graph_views.graph_data(images, project.root))
        return
    renderers = {
        "tree": graph_views.render_tree,
        "dot": graph_views.render_dot,
        "mermaid": graph_views.render_mermaid,
    }
    print(renderers[form](images), end="")


@click.command("check", cls=options.Command)
@click.option(
    "--target",
    "targets",
    metavar="NAME",
    multiple=True,
    help="Family of hosts to check the units for; may be given again.",
)
@click.option("--strict", is_flag=True, help="Fail on warnings too.")
@options.as_json
@click.pass_context
def check_command(
    context: click.Context, targets: tuple[str, ...], strict: bool, as_json: bool
) -> int:
    """Find everything that is wrong without building, all at once.

    Reads containerpkg.yaml, every image.yaml and every Dockerfile; renders every unit for the
    project's target, or those that are named, and checks them with podman's quadlet and
    systemd-analyze where those are installed.

    \b
    Examples:
      containerpkg check --strict
      containerpkg check --target el8 --target el9-docker
    """
    from containerpkg.definitions.check import find_problems, problems_data
    from containerpkg.definitions.load import find_root, load_project
    from containerpkg.errors import DefinitionError
    from containerpkg.release.opening import find_trees
    from containerpkg.release.unitcheck import find_unit_problems

    named = [options.known_target(target) for target in dict.fromkeys(targets)]
    root = find_root(context.obj.folder)
    trees = find_trees(root)
    problems = find_problems(root, trees)
    if not any(problem.severity == "error" for problem in problems):
        project = load_project(root, trees)
        found = {
            target: find_unit_problems(
                replace(project, file=project.file.model_copy(update={"target": target})),
                project.images,
            )
            for target in named or [project.file.target]
        }
        if len(found) > 1:
            found = {target: _named(target, each) for target, each in found.items()}
        problems = tuple(sorted((*problems, *chain.from_iterable(found.values()))))
    if as_json:
        options.print_json(problems_data(problems))
    else:
        print_problems(problems)
    failing = {"error", "warning"} if strict else {"error"}
    return DefinitionError.exit_status if failing & {p.severity for p in problems} else 0


def _named(target: str, problems: Sequence[Problem]) -> tuple[Problem, ...]:
    return tuple(replace(one, message=f"{target}: {one.message}") for one in problems)


def print_problems(problems: Sequence[Problem]) -> None:
    """Each problem on a line, its hint indented below, and the count of both kinds at the end."""
    for problem in problems:
        print(f"{problem.severity}: {problem}")
        if problem.hint:
            print(f"  hint: {problem.hint}")
    errors = sum(problem.severity == "error" for problem in problems)
    warnings = sum(problem.severity == "warning" for problem in problems)
    counts = ((errors, "error"), (warnings, "warning"))
    print(
        ", ".join(
            options.counted(number, noun) if number else f"no {noun}s" for number, noun in counts
        )
    )


@click.command("schema", cls=options.Command)
@click.argument("name", type=click.Choice(["containerpkg", "image", "lock"]))
def schema_command(name: str) -> None:
    """Print the JSON Schema of containerpkg.yaml, image.yaml or containerpkg.lock, for an editor.

    \b
    Example:
      containerpkg schema image > image.schema.json
    """
    from containerpkg.definitions.schema import json_schemas

    print(json_schemas()[f"{name}.schema.json"], end="")
