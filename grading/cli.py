"""The command ``backprop``: parses, calls, prints."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from grading.sandbox import LEVELS, LOCKED, Isolation, NurseryError, open_nursery
from harness.assignments import NAMES

if TYPE_CHECKING:
    from grading.results import Result

ASSIGNMENT = click.Choice(NAMES)


class Unusable(click.ClickException):
    """The call or its input cannot be used: one sentence, exit code 2."""

    exit_code = 2


def _folder(context: click.Context, parameter: click.Parameter, value: str) -> Path:
    if not value:
        raise Unusable(f"{parameter.get_error_hint(context)} is empty: give a folder.")
    return Path(value)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="backprop-harness", prog_name="backprop")
def main() -> None:
    """Checks and grades backward passes that students wrote."""
    # A console that cannot show ∂ or ✓ shows a question mark rather than a traceback.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


@main.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--assignment", type=ASSIGNMENT, help="Which assignment it is, if the file does not tell."
)
@click.option("--stage", "stages", multiple=True, help="Check this class only; can be repeated.")
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path), help="Also write the report there."
)
def check(
    file: Path, assignment: str | None, stages: tuple[str, ...], json_file: Path | None
) -> None:
    """Checks FILE, a .py module or a notebook, and says what is right and what is not.

    FILE can also be a zip or a folder that holds exactly one of them.

    Exit code 0: everything passed; 1: something did not; 2: the file or the call is unusable.
    """
    try:
        # The students' side and this one load torch at the same time.
        with open_nursery() as nursery:
            from grading.check import CheckError, check_file
            from harness.show.text import report_text

            try:
                report = check_file(file, assignment, stages, nursery)
            except CheckError as error:
                raise Unusable(str(error)) from None
    except NurseryError as error:
        raise Unusable(f"A process for the code could not be started: {error}") from None
    if json_file:
        _write_json(json_file, report.as_dict())
    click.echo(report_text(report, colour=sys.stdout.isatty()))
    sys.exit(0 if report.passed else 1)


@main.command()
@click.argument("folder", callback=_folder)
@click.option("--assignment", required=True, type=ASSIGNMENT, help="Which assignment FOLDER holds.")
@click.option("--out", required=True, metavar="DIR", callback=_folder, help="Where results go.")
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=None,
    help="Processes to grade with; one for each core if left out.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Which hidden inputs to try.",
)
@click.option(
    "--isolation",
    type=click.Choice(LEVELS),
    default=None,
    help="Insist on this level; the best that locks submissions down if left out.",
)
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

    wish = Wish(workers or _cores(), seed, isolation, only, fresh)
    try:
        complete = grade_folder(folder, assignment, out, wish)
    except RunError as error:
        raise Unusable(str(error)) from None
    except Stopped as stop:
        click.echo(stop.said, err=True)
        sys.exit(stop.exit_code)
    sys.exit(0 if complete else 1)


@main.command()
@click.argument("results", metavar="DIR", callback=_folder)
@click.argument("name")
@click.option(
    "--submissions",
    "folder",
    required=True,
    metavar="FOLDER",
    callback=_folder,
    help="Where the graded files are.",
)
@click.option(
    "--check",
    "checks",
    multiple=True,
    metavar="ID",
    help="Replay this check only; can be repeated. All that failed if left out.",
)
@click.option(
    "--isolation",
    type=click.Choice(LEVELS),
    default=None,
    help="Insist on this level; the best that locks submissions down if left out.",
)
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


@main.command()
@click.argument("assignment", type=ASSIGNMENT, required=False)
def release(assignment: str | None) -> None:
    """Makes what students get, assignments/, from solutions/, through nbgrader."""
    from grading.release import ReleaseError, release_assignment

    for name in [assignment] if assignment else NAMES:
        try:
            for path in release_assignment(Path(), name):
                click.echo(f"Released {path}")
        except ReleaseError as error:
            raise Unusable(str(error)) from None


@main.command()
@click.argument("assignment", type=ASSIGNMENT, required=False)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=None,
    help="Processes to judge with; one for each core if left out.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Which hidden inputs to try.",
)
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path), help="Also write every verdict there."
)
def verify(assignment: str | None, workers: int | None, seed: int, json_file: Path | None) -> None:
    """Proves that the checks work: what is right passes, and every mistake is found.

    Run it in the course's folder. The solution must get full marks, the handout none; every mutant
    of the solution must be rejected, and right submissions in odd styles must pass. Exit code 0:
    so they do; 1: something is off; 2: there is nothing to verify.
    """
    from grading.verify.run import VerifyError
    from grading.verify.show import verify_and_print

    names = [assignment] if assignment else list(NAMES)
    try:
        proofs = verify_and_print(Path(), names, workers or _cores(), seed)
    except VerifyError as error:
        raise Unusable(str(error)) from None
    if json_file:
        _write_json(json_file, [proof.as_dict() for proof in proofs])
    sys.exit(1 if any(proof.off for proof in proofs) else 0)


@main.group()
def export() -> None:
    """Writes what other systems read, from what `backprop grade` wrote into DIR."""


OUT = click.option(
    "--out", type=click.Path(path_type=Path), help="Write it there instead of printing it."
)


@export.command()
@click.argument("results", metavar="DIR", callback=_folder)
@OUT
def junit(results: Path, out: Path | None) -> None:
    """JUnit XML for continuous integration: a suite a submission, a case a check."""
    from grading.exports.junit import junit as made

    _write(made(_results(results)), out)


@export.command(name="csv")
@click.argument("results", metavar="DIR", callback=_folder)
@click.option(
    "--for",
    "system",
    type=click.Choice(["canvas", "moodle"]),
    required=True,
    help="Which system is to import it.",
)
@click.option("--column", help="What the column of marks is called; the assignment if left out.")
@click.option(
    "--roster",
    type=click.Path(path_type=Path),
    help="The gradebook that Canvas exported: its students, and they only.",
)
@OUT
def marks(
    results: Path, system: str, column: str | None, roster: Path | None, out: Path | None
) -> None:
    """A table of marks that Canvas or Moodle imports as it is."""
    from grading.exports.marks import canvas, moodle
    from grading.record import RecordError

    if roster and system != "canvas":
        raise Unusable("--roster is of Canvas: leave it out for moodle.")
    found = _results(results)
    column = column or found[0].assignment
    try:
        text = canvas(found, column, roster) if system == "canvas" else moodle(found, column)
    except RecordError as error:
        raise Unusable(str(error)) from None
    _write(text.encode(), out)


@export.command()
@click.argument("results", metavar="DIR", callback=_folder)
@OUT
def classroom(results: Path, out: Path | None) -> None:
    """What GitHub Classroom's reporter reads of the one submission in DIR, in base64."""
    from grading.exports.classroom import encoded_report

    found = _results(results)
    if len(found) != 1:
        raise Unusable(f"{results} holds {len(found)} submissions; the reporter takes one.")
    _write(encoded_report(found[0]).encode(), out)


@export.command()
@click.argument("assignment", type=ASSIGNMENT)
@click.option(
    "--index",
    help="A package index that has torch without CUDA: an autograder needs no GPU, and the builds "
    "for one take gigabytes.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Where to write the zip; gradescope-ASSIGNMENT.zip if left out.",
)
def gradescope(assignment: str, index: str | None, out: Path | None) -> None:
    """An autograder for Gradescope: the zip to upload.

    Run it in the course's folder: solutions/ASSIGNMENT/assignment.toml goes along.
    """
    from grading.exports.gradescope import autograder_zip
    from harness.settings import SETTINGS_FILE, SettingsError, load_settings

    settings = Path("solutions", assignment, SETTINGS_FILE)
    try:
        if settings.is_file():
            load_settings(settings, assignment)
    except SettingsError as error:
        raise Unusable(f"{error}.") from None
    out = out or Path(f"gradescope-{assignment}.zip")
    _write(autograder_zip(assignment, settings if settings.is_file() else None, index), out)
    click.echo(f"Wrote {out}: upload it under Configure Autograder.")


@export.command()
@click.argument("assignment", type=ASSIGNMENT)
@click.option("--files", default="*.ipynb", show_default=True, help="What students hand in.")
@click.option(
    "--requirement",
    default="'backprop-harness[grading]'",
    show_default=True,
    help="What pip is to install.",
)
@OUT
def workflow(assignment: str, files: str, requirement: str, out: Path | None) -> None:
    """A workflow for students' repositories in GitHub Classroom."""
    from grading.exports.classroom import workflow as made

    _write(made(assignment, files, requirement).encode(), out)


@main.command()
def doctor() -> None:
    """Says how well this machine can isolate submissions, and what to install for more.

    Exit code 0: submissions can be locked down; 1: they cannot.
    """
    from grading.doctor import HOLDS, best, examine

    findings = examine()
    for each in findings:
        click.echo(f"{'✓' if each.works else '✗'} {each.level:8} {HOLDS[each.level]}")
        for line in filter(None, (each.why if not each.works else "", each.cure)):
            click.echo(f"             {line}")
    level = best(findings)
    if level is None:
        click.echo("backprop grade refuses to run here, unless told --isolation minimal.")
        sys.exit(1)
    click.echo(f"backprop grade isolates submissions here at the level {level}.")


def _results(folder: Path) -> list[Result]:
    from grading.record import RecordError, read_results

    try:
        return read_results(folder)
    except RecordError as error:
        raise Unusable(str(error)) from None


def _write(data: bytes, out: Path | None) -> None:
    if out is None:
        click.echo(data, nl=not data.endswith(b"\n"))
        return
    try:
        out.write_bytes(data)
    except OSError as error:
        _unusable(f"{out} cannot be written: {error.strerror}.")


def _write_json(path: Path, data: object) -> None:
    import msgspec

    try:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(data), indent=2) + b"\n")
    except OSError as error:
        _unusable(f"{path} cannot be written: {error.strerror}.")


def _unusable(text: str) -> NoReturn:
    raise Unusable(text)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


if __name__ == "__main__":
    main()
