"""``backprop grade`` and ``backprop replay``: many submissions, and one of them again."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from grading.cli.common import (
    ASSIGNMENT,
    ISOLATION,
    RESULTS,
    SEED,
    WORKERS,
    Unusable,
    cores,
    given_folder,
)
from grading.sandbox import LOCKED, Isolation, NurseryError, open_nursery


@click.command()
@click.argument("folder", callback=given_folder)
@click.option("--assignment", required=True, type=ASSIGNMENT, help="Which assignment FOLDER holds.")
@click.option(
    "--out", required=True, metavar="DIR", callback=given_folder, help="Where results go."
)
@WORKERS
@SEED
@ISOLATION
@click.option(
    "--only",
    multiple=True,
    metavar="NAME",
    help="Grade this submission only, and keep the results of others; can be repeated.",
)
@click.option("--fresh", is_flag=True, help="Grade again what an earlier run has finished.")
def grade(
    folder: Path,
    assignment: str,
    out: Path,
    workers: int | None,
    seed: int,
    isolation: Isolation | None,
    only: tuple[str, ...],
    fresh: bool,
) -> None:
    """Grades every submission in FOLDER and writes the results to the folder given by --out.

    FOLDER holds one file, zip or folder for each student, or nbgrader's student/assignment
    folders. A run that was stopped, or repeated, grades only what is new or changed. Exit code 0:
    every submission has its mark; 1: the grader failed on some, whose mark stays open; 2: the call
    is unusable.
    """
    from grading.run import RunError, Wish, grade_folder
    from grading.stop import Stopped

    wish = Wish(workers or cores(), seed, isolation, only, fresh)
    try:
        complete = grade_folder(folder, assignment, out, wish)
    except RunError as error:
        raise Unusable(str(error)) from None
    except Stopped as stop:
        click.echo(stop.said, err=True)
        sys.exit(stop.exit_code)
    sys.exit(0 if complete else 1)


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
    from grading.record import RecordError, find_record

    try:
        record = find_record(results, name, folder, checks)
        if isolation == "minimal":
            from grading.run import warn_not_locked

            warn_not_locked()
        with open_nursery([isolation] if isolation else LOCKED) as nursery:
            from grading.replay import replay_checks
            from grading.replayed import replay_text

            replays = replay_checks(record, nursery)
    except RecordError as error:
        raise Unusable(str(error)) from None
    except NurseryError as error:
        raise Unusable(
            f"This machine cannot lock the submission down ({error}): `backprop doctor` says what "
            "to install; --isolation minimal goes without locks, for code you trust."
        ) from None
    click.echo(replay_text(record, replays, colour=sys.stdout.isatty()))
    sys.exit(0 if all(each.same for each in replays) else 1)
