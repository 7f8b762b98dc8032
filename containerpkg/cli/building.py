"""``containerpkg build``."""

from __future__ import annotations

from pathlib import Path

import click

from containerpkg.cli import options
from containerpkg.cli.plans import plan_data, print_plan
from containerpkg.cli.progress import shown
from containerpkg.cli.reports import exit_status, print_report, report_data


@click.command("build", cls=options.Command)
@options.selection
@options.building
@options.sources
@options.force
@click.option("--store", type=click.Path(file_okay=False, path_type=Path), help="Content store.")
@options.dry_run
@options.as_json
@click.pass_context
def build_command(
    context: click.Context,
    names: tuple[str, ...],
    with_parents: bool,
    with_children: bool,
    jobs: int,
    no_cache: bool,
    folders: dict[str, Path],
    locked: bool,
    engine: str | None,
    force: bool,
    store: Path | None,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Build IMAGEs, or all of them, parents before children, and put them into the store.

    An image is built when anything that goes into it has changed since it was built last: a file
    of its context, its source, an argument, an image it is built from.

    \b
    Examples:
      containerpkg build
      containerpkg build foreman --with-parents --jobs 4
      containerpkg build foreman --source foreman=../foreman
    """
    from containerpkg.engines.choice import choose_engine
    from containerpkg.release.make import Options, Plan, Workshop

    sourcing = options.sourcing(folders, locked=locked)
    with shown(quiet=context.obj.quiet) as progress:
        project, images = options.load_images(
            context,
            names,
            sourcing,
            with_parents=with_parents,
            with_children=with_children,
            store=store,
            engine=engine,
            progress=progress,
        )
        workshop = Workshop(project, progress=progress)
        if dry_run:
            plan = Plan(builds=workshop.plan(images, force=force or no_cache))
        else:
            chosen = choose_engine(project.file.build)
            report = workshop.build(
                images, chosen, Options(jobs=jobs, no_cache=no_cache, force=force)
            )
    if dry_run:
        options.print_json(plan_data(plan)) if as_json else print_plan(plan)
        return 0
    options.print_json(report_data(report)) if as_json else print_report(report)
    return exit_status(report)
