"""``backprop grade``, and what is done with a class beside it: replay, override, similar."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import click

from grading.cli.common import (
    ASSIGNMENT,
    ISOLATION,
    RESULTS,
    SEEDS,
    given_folder,
    write_json,
)
from grading.cli.report import remade
from grading.sandbox import LOCKED, Isolation, SpawnerError, open_spawner
from harness.errors import UserError
from harness.show.visible import visible_line


@click.command()
@click.argument("folder", callback=given_folder)
@click.option("--assignment", required=True, type=ASSIGNMENT, help="Which assignment FOLDER holds.")
@click.option(
    "--out", required=True, metavar="DIR", callback=given_folder, help="Where results go."
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Processes to work with. Default: one for each core, fewer where memory does not suffice.",
)
@click.option(
    "--seed",
    type=SEEDS,
    help="Which hidden inputs to try. Default: the seed of DIR, drawn at random for a new one.",
)
@ISOLATION
@click.option(
    "--only",
    multiple=True,
    metavar="NAME",
    help="Grade this submission only, and keep the results of others; can be repeated.",
)
@click.option("--fresh", is_flag=True, help="Grade again what an earlier run has finished.")
@click.option(
    "--roster",
    type=click.Path(path_type=Path),
    help="Who is in the class: a CSV file with a column of the names that submissions go by.",
)
@click.option(
    "--preview",
    is_flag=True,
    help="Publish nothing: print whose mark would move, and why.",
)
def grade(
    folder: Path,
    assignment: str,
    out: Path,
    workers: int | None,
    seed: int | None,
    isolation: Isolation | None,
    only: tuple[str, ...],
    fresh: bool,
    roster: Path | None,
    preview: bool,
) -> None:
    """Grades every submission in FOLDER and writes the results to the folder given by --out.

    FOLDER holds one file, zip or folder for each student, or nbgrader's student/assignment
    folders. A run that was stopped, or repeated, grades only what is new or changed. Exit code 0:
    every submission has its mark; 1: some marks stay open, as the grader failed or you have to
    decide; 2: the call is unusable; 3, with --preview: marks or their maxima would move.
    """
    from grading.runs.run import Wish, grade_folder, preview_folder
    from grading.runs.signals import Stopped

    wish = Wish(workers, seed, isolation, only, fresh, roster)
    moves = False
    try:
        if preview:
            complete, moves = preview_folder(folder, assignment, out, wish)
        else:
            complete = grade_folder(folder, assignment, out, wish)
    except Stopped as stop:
        click.echo(stop.said, err=True)
        sys.exit(stop.exit_code)
    sys.exit(1 if not complete else 3 if moves else 0)


@click.command()
@RESULTS
@click.argument("name")
@click.option(
    "--submissions",
    "folder",
    required=True,
    metavar="FOLDER",
    callback=given_folder,
    help="Where the graded files are.",
)
@click.option(
    "--check",
    "checks",
    multiple=True,
    metavar="ID",
    help="Replay this check only; can be repeated. All that failed if left out.",
)
@ISOLATION
def replay(
    results: Path, name: str, folder: Path, checks: tuple[str, ...], isolation: Isolation | None
) -> None:
    """Runs failed checks of the submission NAME again, and shows their inputs and its answers.

    DIR is what `backprop grade FOLDER --out DIR` wrote. What is shown is for the instructor: it
    holds hidden inputs. Exit code 0: every check ended as it did then; 1: some did not; 2: the
    call, or what is on record, is unusable.
    """
    from grading.results.record import find_record

    record = find_record(results, name, folder, checks)
    if isolation == "minimal":
        from grading.runs.run import warn_not_locked

        warn_not_locked()
    levels = [isolation] if isolation else LOCKED
    try:
        with open_spawner(levels, record.run.settings.packages) as spawner:
            from grading.replay.checks import replay_checks
            from grading.replay.text import replay_text

            replays = replay_checks(record, spawner)
    except SpawnerError as error:
        raise UserError(
            f"This machine cannot lock the submission down ({error}): `backprop doctor` says what "
            "to install; --isolation minimal goes without locks, for code you trust."
        ) from None
    click.echo(replay_text(record, replays, colour=sys.stdout.isatty()))
    sys.exit(0 if all(each.same for each in replays) else 1)


@click.command()
@RESULTS
@click.argument("name")
@click.option(
    "--check", metavar="ID", help="Of this check only; of the whole submission if left out."
)
@click.option("--points", type=click.FloatRange(min=0, max=1e6), help="What it is worth.")
@click.option("--reason", help="Why, for whoever asks later.")
@click.option("--allow-more", is_flag=True, help="Allow more points than it is worth.")
@click.option("--remove", is_flag=True, help="Take the override back.")
def override(
    results: Path,
    name: str,
    check: str | None,
    points: float | None,
    reason: str | None,
    allow_more: bool,
    remove: bool,
) -> None:
    """Gives the submission NAME, or a check of it, points in place of the automatic ones.

    It is kept in DIR/overrides.json with its reason, and stays when DIR is graded again.
    """
    from grading.runs import overrides

    if remove == (points is not None) or (reason is not None and remove):
        raise UserError("Give --points with --reason, or --remove.")
    if points is not None and math.isnan(points):
        raise UserError("--points nan is no number of points.")
    if points is not None and not (reason or "").strip():
        raise UserError("An override needs a --reason: it is asked for later.")
    if points is None:
        result = overrides.remove(results, name, check)
    else:
        result = overrides.override(
            results, name, check, points, str(reason).strip(), allow_more=allow_more
        )
    automatic = "open" if result.score is None else f"{result.score:g}"
    mark = "open" if result.mark is None else f"{result.mark:g}"
    click.echo(f"{visible_line(name)}: {mark} of {result.max_score:g}, automatically {automatic}.")
    remade(results, 1)


@click.command()
@click.argument("folder", callback=given_folder)
@click.option("--assignment", required=True, type=ASSIGNMENT, help="Which assignment FOLDER holds.")
@click.option(
    "--handout",
    type=click.Path(path_type=Path),
    help="What students began with; assignments/NAME/NAME.ipynb if left out.",
)
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path), help="Also write the groups there."
)
def similar(folder: Path, assignment: str, handout: Path | None, json_file: Path | None) -> None:
    """Points out submissions in FOLDER that share more than chance lets expect.

    Names, comments and layout aside. What many write, or was handed out, does not count. It is
    evidence for a person to judge and changes no mark.
    """
    from grading.similarity.groups import similar_in, told

    handout = handout or Path("assignments", assignment, f"{assignment}.ipynb")
    if not handout.is_file():
        raise UserError(
            f"{handout} is not there, and without the handout its code would count as students' "
            "own: run this in the course's folder, or name it with --handout."
        )
    groups, unread = similar_in(folder, assignment, handout)
    for line in told(groups, unread):
        click.echo(line)
    if json_file:
        write_json([group.as_dict() for group in groups], json_file)
