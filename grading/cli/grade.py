"""``backprop grade``, and what else is done with a class: merge, replay, override, similar."""

import math
import sys
from pathlib import Path
from typing import Any

import click

from grading.cli.common import (
    COURSE,
    FOLDER,
    FOR_ASSIGNMENT,
    ISOLATION,
    JSON,
    PATH,
    RESULTS,
    SEEDS,
    beside,
    given_folder,
    tell_of_settings,
    write_json,
)
from grading.cli.report import update_report
from grading.errors import isolated
from grading.runs.shards import Shard, read_shard
from grading.sandbox import LOCKED, Isolation, open_spawner
from grading.workers.capacity import cores
from harness.course.assignments import current_course, release_in, source_of
from harness.drawing.visible import visible_line
from harness.errors import UserError

OUT_FOLDER = click.option(
    "--out",
    required=True,
    metavar="DIR",
    callback=given_folder,
    help="Folder to write the results to.",
)
ROSTER = click.option(
    "--roster",
    type=PATH,
    help="CSV file of the class, as the learning platform exports it or with a column of the names "
    "that submissions have.",
)


def given_shard(
    _context: click.Context, _parameter: click.Parameter, value: str | None
) -> Shard | None:
    """Return the shard that is given on the command line, if any. Refuse what is none."""
    try:
        return None if value is None else read_shard(value)
    except ValueError:
        raise click.BadParameter(
            f"{value!r} is not part K of N parts: give numbers such as 1/40, up to 40/40."
        ) from None


def given_address(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> str | None:
    """Return the scheduler's address, if one is given. Raise UserError if it is empty."""
    if value == "":
        raise UserError(f"{parameter.get_error_hint(context)} is empty: give an address.")
    return value


@click.command()
@FOLDER
@FOR_ASSIGNMENT
@COURSE
@OUT_FOLDER
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Number of processes. Default: one per core, or fewer if memory is short.",
)
@click.option(
    "--seed",
    type=SEEDS,
    help="Seed of the hidden inputs. Default: the one kept in DIR, drawn at random at first.",
)
@ISOLATION
@click.option(
    "--only",
    multiple=True,
    metavar="NAME",
    help="Grade only this submission and keep the results of the others; can be repeated.",
)
@click.option("--fresh", is_flag=True, help="Regrade what earlier runs have finished.")
@ROSTER
@click.option(
    "--from",
    "platform",
    default="",
    metavar="PLATFORM",
    help="Where FOLDER was downloaded, such as Canvas or Moodle, or plain for a file or folder per "
    "student. Default: what its names and the roster say.",
)
@click.option(
    "--file",
    default="",
    metavar="NAME",
    help="Where a submission holds several files, grade this one; its choice is kept in DIR.",
)
@click.option(
    "--shard",
    metavar="K/N",
    callback=given_shard,
    help="Grade only part K of N, so that N runs grade the class, each with a DIR of its own; "
    "`backprop merge` puts their results together.",
)
@click.option(
    "--scheduler",
    metavar="ADDRESS",
    callback=given_address,
    help="Grade on the cluster of a dask scheduler, such as tls://host:8786; local:4 starts four "
    "workers here to try it.",
)
@click.option("--preview", is_flag=True, help="Only show whose mark would change, and why.")
def grade(folder: Path, assignment: str, out: Path, preview: bool, **options: Any) -> None:
    """Grade every submission in a folder.

    FOLDER contains one file, zip or folder per student, or nbgrader's student/assignment folders,
    or is a download from a learning platform as it comes: a folder or a zip.
    A run that is stopped or repeated grades only what is new or has changed.

    Exit code 0: every submission has a mark; 1: some marks are open, because the grader failed or
    you have to decide; 2: the call cannot be used; 3, with --preview: marks or their maxima would
    change.
    """
    from grading.runs.run import Options, grade_folder, preview_folder
    from grading.runs.signals import Stopped, exit_stopped

    tell_of_settings(assignment)
    moves = False
    try:
        if preview:
            complete, moves = preview_folder(folder, assignment, out, Options(**options))
        else:
            complete = grade_folder(folder, assignment, out, Options(**options))
    except Stopped as stop:
        exit_stopped(stop)
    sys.exit(1 if not complete else 3 if moves else 0)


@click.command()
@click.argument("shards", metavar="DIR...", nargs=-1, required=True, type=PATH)
@OUT_FOLDER
@COURSE
def merge(shards: tuple[Path, ...], out: Path) -> None:
    """Put the results of shards together.

    Each DIR is what `backprop grade --shard` wrote, and all shards of the class are needed. In the
    folder given with --out, the class is as one run would have graded it: export, report, override,
    replay and a later `backprop grade` work there.

    Exit code 0: every submission has a mark; 1: some marks are open; 2: the shards cannot be
    merged.
    """
    from rich.console import Console

    from grading.runs.merge import merge
    from grading.runs.summary import Counts, print_summary

    results = merge(shards, out)
    page = update_report(out, cores())
    print_summary(Console(), results, out, Counts(len(results), 0, 0), page)
    sys.exit(any(result.mark is None for result in results))


@click.command()
@RESULTS
@click.argument("name")
@click.option(
    "--submissions",
    "folder",
    required=True,
    metavar="FOLDER",
    callback=given_folder,
    help="Folder of the graded files.",
)
@click.option(
    "--check",
    "checks",
    multiple=True,
    metavar="ID",
    help="Replay only this check; can be repeated. Default: all that failed.",
)
@COURSE
@ISOLATION
def replay(
    results: Path, name: str, folder: Path, checks: tuple[str, ...], isolation: Isolation | None
) -> None:
    """Run failed checks again and show the values.

    DIR is what `backprop grade FOLDER --out DIR` wrote, and NAME a submission in it. The output
    contains hidden inputs: it is for the instructor.

    Exit code 0: every check had the same outcome as before; 1: some did not; 2: the call, or the
    record, cannot be used.
    """
    from grading.results.record import find_record
    from grading.runs.start import warn_not_isolated

    record = find_record(results, name, folder, checks)
    if isolation == "minimal":
        warn_not_isolated()
    levels = [isolation] if isolation else LOCKED
    with isolated(), open_spawner(levels, record.run.settings.packages) as spawner:
        from grading.replay.checks import replay_checks
        from grading.replay.text import replay_text

        replays = replay_checks(record, spawner)
    click.echo(replay_text(record, replays, colour=sys.stdout.isatty()))
    sys.exit(0 if all(each.same for each in replays) else 1)


@click.command()
@RESULTS
@click.argument("name")
@click.option("--check", metavar="ID", help="Only for this check. Default: the whole submission.")
@click.option("--points", type=click.FloatRange(min=0, max=1e6), help="The points to give.")
@click.option("--reason", help="The reason, kept with the points.")
@click.option("--allow-more", is_flag=True, help="Allow more points than the maximum.")
@click.option("--remove", is_flag=True, help="Remove the override.")
@COURSE
def override(
    results: Path,
    name: str,
    check: str | None,
    points: float | None,
    reason: str | None,
    allow_more: bool,
    remove: bool,
) -> None:
    """Replace automatic points with your own.

    They are for the submission NAME or one of its checks, and are kept in DIR/overrides.json with
    their reason, also when DIR is regraded.
    """
    from grading.runs import overrides

    reason = (reason or "").strip()
    if remove == (points is not None) or (reason and remove):
        raise UserError("Give --points with --reason, or --remove.")
    if points is not None and math.isnan(points):
        raise UserError("--points must be a number.")
    if points is not None and not reason:
        raise UserError("--reason is required, so that the override can be explained later.")
    result = overrides.override(results, name, check, points, reason, allow_more=allow_more)
    mark, automatic = (
        "open" if score is None else f"{score:g}" for score in (result.mark, result.score)
    )
    most = f"{result.max_score:g}"
    click.echo(f"{visible_line(name)}: {mark} of {most} (automatic mark: {automatic}).")
    update_report(results, 1)


@click.command()
@FOLDER
@FOR_ASSIGNMENT
@COURSE
@click.option(
    "--handout", type=PATH, help="What students started from. Default: assignments/NAME/NAME.ipynb."
)
@ROSTER
@JSON
def similar(
    folder: Path,
    assignment: str,
    handout: Path | None,
    roster: Path | None,
    json_file: Path | None,
) -> None:
    """Find submissions that are unusually similar.

    Names, comments and layout are ignored, and so is code that is common or was handed out. The
    result is evidence for a person to judge, and does not change any mark.
    """
    from grading.similarity.groups import group_lines, similar_in
    from grading.submissions.people import read_roster

    released = release_in(current_course() or Path())
    handout = handout or released / source_of(assignment).name / f"{assignment}.ipynb"
    if not handout.is_file():
        raise UserError(
            f"{handout} does not exist, and without the handout its code would count as students' "
            "own: run this in the course's folder, or give the handout with --handout."
        )
    class_ = read_roster(roster) if roster else None
    groups, unread = similar_in(folder, assignment, handout, class_)
    with beside(json_file):
        for line in group_lines(groups, unread):
            click.echo(line)
    if json_file:
        write_json(groups, json_file)
