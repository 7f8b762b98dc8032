"""``containerpkg make`` and ``containerpkg package``."""

from __future__ import annotations

from pathlib import Path

import click

from containerpkg.cli import options
from containerpkg.cli.plans import plan_data, print_plan
from containerpkg.cli.progress import shown
from containerpkg.cli.reports import exit_status, print_report, report_data
from containerpkg.errors import UsageError


@click.command("make", cls=options.Command)
@options.selection
@options.building
@options.sources
@options.places
@options.sign
@options.force
@click.option("--no-build", is_flag=True, help="Take the images from the engine as they are.")
@options.dry_run
@options.as_json
@click.pass_context
def make_command(
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
    target: str | None,
    output: Path | None,
    store: Path | None,
    sign: str | None,
    no_build: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Build, package and publish IMAGEs, or all of them.

    What is there already is not done again: a second run does nothing and says so. A run that
    was broken off, at any moment, is finished by the next.

    \b
    Examples:
      containerpkg make
      containerpkg make redis --with-children --output /srv/yum
      containerpkg make --sign release@example.com
      containerpkg make --locked
    """
    from containerpkg.engines.choice import choose_engine
    from containerpkg.release.make import Options, Workshop

    if no_build and (force or no_cache):
        raise UsageError(
            "--no-build does not go with --force or --no-cache",
            hint="leave --no-build away to build the images",
        )
    if no_build and (folders or locked):
        raise UsageError(
            "--no-build does not go with --source or --locked",
            hint="leave --no-build away to build the images",
        )
    sourcing = options.sourcing(folders, locked=locked, asking=not no_build)
    run = Options(jobs=jobs, no_cache=no_cache, force=force, no_build=no_build)
    with shown(quiet=context.obj.quiet) as progress:
        project, images = options.load_images(
            context,
            names,
            sourcing,
            with_parents=with_parents,
            with_children=with_children,
            output=output,
            store=store,
            sign=sign,
            target=target,
            engine=engine,
            progress=progress,
        )
        workshop = Workshop(project, progress=progress)
        chosen = choose_engine(project.file.build)
        if dry_run:
            plan = workshop.plan_make(images, chosen, run)
        else:
            report = workshop.make(images, chosen, run)
    if dry_run:
        options.print_json(plan_data(plan)) if as_json else print_plan(plan)
        return 0
    options.print_json(report_data(report)) if as_json else print_report(report)
    return exit_status(report)


@click.command("package", cls=options.Command)
@options.selection
@options.places
@options.sign
@click.option("--rebuild", is_flag=True, help="Make packages again that are there already.")
@options.dry_run
@options.as_json
@click.pass_context
def package_command(
    context: click.Context,
    names: tuple[str, ...],
    with_parents: bool,
    with_children: bool,
    target: str | None,
    output: Path | None,
    store: Path | None,
    sign: str | None,
    rebuild: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Package IMAGEs, or all of them, from the store; no engine is needed.

    \b
    Example:
      containerpkg package --output /srv/yum
    """
    from containerpkg.release.make import Options, Plan, Workshop

    project = options.load(context, output=output, store=store, sign=sign, target=target)
    images = options.select_images(
        project, names, with_parents=with_parents, with_children=with_children
    )
    with shown(quiet=context.obj.quiet) as progress:
        workshop = Workshop(project, progress=progress)
        if dry_run:
            plan = Plan(builds=(), packages=workshop.plan_packages(images, rebuild=rebuild))
        else:
            report = workshop.package(images, Options(jobs=1, rebuild_packages=rebuild))
    if dry_run:
        options.print_json(plan_data(plan)) if as_json else print_plan(plan)
        return 0
    options.print_json(report_data(report)) if as_json else print_report(report)
    return exit_status(report)
