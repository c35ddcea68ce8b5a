"""``backprop export``: what other systems read, from what a grading run wrote."""

from __future__ import annotations

import secrets
from pathlib import Path

import click

from grading.cli.common import ASSIGNMENT, OUT, RESULTS, read_results, write
from harness.errors import UserError


@click.group()
def export() -> None:
    """Writes what other systems read, from what `backprop grade` wrote into DIR."""


@export.command()
@RESULTS
@OUT
def junit(results: Path, out: Path | None) -> None:
    """JUnit XML for continuous integration: a suite a submission, a case a check."""
    from grading.exports.junit import junit as made

    write(made(read_results(results)), out)


@export.command(name="csv")
@RESULTS
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

    if roster and system != "canvas":
        raise UserError("--roster is of Canvas: leave it out for moodle.")
    found = read_results(results)
    column = column or found[0].assignment
    text = canvas(found, column, roster) if system == "canvas" else moodle(found, column)
    write(text.encode(), out)


@export.command()
@RESULTS
@OUT
def classroom(results: Path, out: Path | None) -> None:
    """What GitHub Classroom's reporter reads of the one submission in DIR, in base64."""
    from grading.exports.classroom import encoded_report

    found = read_results(results)
    if len(found) != 1:
        raise UserError(f"{results} holds {len(found)} submissions; the reporter takes one.")
    write(encoded_report(found[0]).encode(), out)


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
    from harness.course.settings import SETTINGS_FILE, load_settings

    settings = Path("solutions", assignment, SETTINGS_FILE)
    if settings.is_file():
        load_settings(settings, assignment)
    out = out or Path(f"gradescope-{assignment}.zip")
    found = settings if settings.is_file() else None
    write(autograder_zip(assignment, found, index, secrets.token_hex(32)), out)
    click.echo(
        f"Wrote {out}: upload it under Configure Autograder. It holds the secret that hidden "
        "inputs are made with: keep it from students."
    )


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

    write(made(assignment, files, requirement).encode(), out)


@export.command()
@RESULTS
@click.option(
    "--db",
    "url",
    default="sqlite:///gradebook.db",
    show_default=True,
    help="The gradebook's address: sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME.",
)
@click.option(
    "--course",
    default="default_course",
    show_default=True,
    help="The course_id of a gradebook that is new.",
)
def nbgrader(results: Path, url: str, course: str) -> None:
    """Marks into nbgrader's gradebook, which is made where there is none.

    They go to the check cells of the released notebook where the gradebook has it, else to a cell
    for each check. What people graded by hand stays; a mark that is open is left for a person.
    """
    from grading.nbgrader.gradebook import export_marks
    from grading.results.record import read_missing

    found = read_results(results)
    written = export_marks(url, found, read_missing(results), course_id=course)
    for line in written.sentences():
        click.echo(line)


@export.command()
@RESULTS
@OUT
def pseudonymous(results: Path, out: Path | None) -> None:
    """Results to share: without names, and without what students wrote.

    The pseudonyms hang on a secret that is kept in DIR/pseudonyms.key: who has it can tell who is
    who, and without it they cannot be made again.
    """
    from grading.exports.pseudonyms import pseudonymous as made
    from grading.exports.pseudonyms import secret_in

    found = read_results(results)
    write(made(found, secret_in(results)), out)


@export.command()
@RESULTS
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("feedback.zip"),
    show_default=True,
    help="Where to write the zip.",
)
def feedback(results: Path, out: Path) -> None:
    """A zip of feedback pages, one a student, at the assignment's level of feedback."""
    from grading.exports.feedback import feedback_zip
    from grading.results.record import read_run

    found = read_results(results)
    write(feedback_zip(found, read_run(results).settings), out)
    click.echo(f"Wrote {out}: {len(found)} pages.")
