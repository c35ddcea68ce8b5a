"""``backprop export``: what other systems read, from what a grading run wrote."""

import secrets
from importlib.metadata import version
from pathlib import Path

import click

from grading.cli.common import (
    COURSE,
    OUT,
    PATH,
    RESULTS,
    course_here,
    known_assignment,
    read_results,
    tell_of_settings,
    write,
)
from grading.errors import refusals
from harness.course.numbers import plural
from harness.errors import UserError


@click.group()
def export() -> None:
    """Convert results for other systems.

    DIR is what `backprop grade FOLDER --out DIR` wrote.
    """


@export.command()
@RESULTS
@OUT
def junit(results: Path, out: Path | None) -> None:
    """Write JUnit XML, for continuous integration.

    There is a suite per submission and a case per check.
    """
    from grading.exports.junit import junit as made

    write(made(read_results(results)), out)


@export.command(name="csv")
@RESULTS
@click.option(
    "--for",
    "system",
    type=click.Choice(["canvas", "moodle"]),
    required=True,
    help="The system that imports the file.",
)
@click.option(
    "--column",
    help="Name of the marks column. Default: the assignment's name, or Grade in a worksheet.",
)
@click.option(
    "--roster",
    type=PATH,
    help="The gradebook as Canvas exports it, or the assignment's grading worksheet from Moodle: "
    "it is filled in.",
)
@OUT
def marks(
    results: Path, system: str, column: str | None, roster: Path | None, out: Path | None
) -> None:
    """Write a table for Canvas or Moodle."""
    from grading.exports.marks import canvas, moodle

    made = canvas if system == "canvas" else moodle
    write(made(read_results(results), column, roster).encode(), out)


@export.command()
@RESULTS
@OUT
def classroom(results: Path, out: Path | None) -> None:
    """Write a result for GitHub Classroom.

    The reporter reads the only submission in DIR, in base64.
    """
    from grading.exports.classroom import encoded_report

    found = read_results(results)
    if len(found) != 1:
        raise UserError(f"{results} holds {len(found)} submissions; the reporter takes one.")
    write(encoded_report(found[0]).encode(), out)


def _settings_checked(assignment: str) -> Path | None:
    """Return the file with the course's settings for an assignment, None if it has none.

    Raise UserError without a course, and for settings or a declaration that cannot be used: what
    is wrong is told here, rather than where students hand in.
    """
    from grading.runs.start import check_declared
    from grading.workers.jobs import Job
    from harness.course.assignments import settings_file, settings_of

    course_here()
    tell_of_settings(assignment)
    check_declared(Job(assignment, settings_of(assignment), 0))
    path = settings_file(assignment)
    return path if path.is_file() else None


@export.command()
@click.argument("assignment", callback=known_assignment)
@COURSE
@click.option(
    "--index",
    help="URL of a package index that has torch without CUDA. An autograder does not need a GPU, "
    "and builds with CUDA take gigabytes.",
)
@click.option("--out", type=PATH, help="The zip to write. Default: gradescope-ASSIGNMENT.zip.")
def gradescope(assignment: str, index: str | None, out: Path | None) -> None:
    """Write an autograder for Gradescope.

    The zip includes solutions/ASSIGNMENT/assignment.toml, and what declares an assignment of the
    course's own.
    """
    from grading.exports.gradescope import autograder_zip

    settings = _settings_checked(assignment)
    out = out or Path(f"gradescope-{assignment}.zip")
    write(autograder_zip(assignment, settings, index, secrets.token_hex(32)), out)
    click.echo(
        f"Wrote {out}: upload it under Configure Autograder. It contains the secret that hidden "
        "inputs are derived from: keep it from students."
    )


@export.command()
@click.argument("assignment", callback=known_assignment)
@COURSE
@click.option("--files", default="*.ipynb", show_default=True, help="The files students submit.")
@click.option(
    "--requirement",
    help="What pip installs. Default: this version of backprop-harness.",
)
@OUT
def workflow(assignment: str, files: str, requirement: str | None, out: Path | None) -> None:
    """Write a workflow for GitHub Classroom."""
    from grading.exports.classroom import COURSE as WHERE
    from grading.exports.classroom import workflow as made
    from harness.course.assignments import is_declared, module_of, settings_of, source_of

    settings = _settings_checked(assignment)
    text = settings.read_text(encoding="utf-8") if settings else ""
    requirement = requirement or f"'backprop-harness[grading]=={version('backprop-harness')}'"
    wanted = (requirement, *map(repr, settings_of(assignment).packages))
    write(made(assignment, files, wanted, text).encode(), out)
    if is_declared(source_of(assignment)):
        click.echo(
            f"Add {WHERE}/solutions/{assignment}/assignment.py to the template repository: a copy "
            f"of {module_of(assignment)}.py, as `backprop release` writes it, says nothing that "
            "students may not read.",
            err=True,
        )


@export.command()
@RESULTS
@click.option(
    "--db",
    "url",
    help="URL of the gradebook: sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME. Default: "
    "gradebook.db in the course's folder.",
)
@click.option(
    "--course",
    default="default_course",
    show_default=True,
    help="The course_id for a new gradebook.",
)
def nbgrader(results: Path, url: str | None, course: str) -> None:
    """Write marks into nbgrader's gradebook.

    The gradebook is created if needed. The marks go to the check cells of the released notebook if
    the gradebook has it, or else to one cell per check. Manual grades are kept; an open mark is
    left for a person.
    """
    import msgspec

    from grading.nbgrader.gradebook import export_marks
    from grading.results.record import LazyResults, read_run
    from harness.course.assignments import choose_course, source_of

    choose_course(None)
    url = url or f"sqlite:///{course_here() / 'gradebook.db'}"
    found = read_results(results)
    # nbgrader knows an assignment by its folder.
    name = source_of(found[0].assignment).name
    renamed = LazyResults(
        found.names, lambda each: msgspec.structs.replace(found.named(each), assignment=name)
    )
    written = export_marks(url, renamed, read_run(results).missing, course_id=course)
    for line in written.sentences():
        click.echo(line)


@export.command()
@RESULTS
@OUT
def pseudonymous(results: Path, out: Path | None) -> None:
    """Write results without names, to share.

    They contain nothing that students wrote.

    Pseudonyms are derived from a secret key in DIR/pseudonyms.key; anyone who has the key can
    identify students. Without it, the same pseudonyms cannot be made again.
    """
    from grading.exports.pseudonyms import pseudonymous as made
    from grading.exports.pseudonyms import secret_in

    found = read_results(results)
    write(made(found, secret_in(results)), out)


@export.command()
@RESULTS
@COURSE
@click.option(
    "--out", type=PATH, default=Path("feedback.zip"), show_default=True, help="The zip to write."
)
def feedback(results: Path, out: Path) -> None:
    """Write a zip of feedback pages.

    It has one page per student, at the assignment's feedback level. If a download from Canvas,
    Moodle or Brightspace was graded, the pages are named as its upload of feedback files expects.
    """
    from grading.exports.feedback import feedback_name, upload_of
    from grading.exports.files import write_zip
    from grading.pages import student_page
    from grading.results.lines import replaced
    from grading.results.record import read_run

    found = read_results(results)
    run = read_run(results)
    upload = upload_of(found, run.platform)
    pages = ((feedback_name(each, upload), student_page(each, run.settings)) for each in found)
    with refusals(out, "written"), replaced(out) as file:
        write_zip(file, pages)
    named = f", named for {upload}'s upload" if upload else ""
    click.echo(f"Wrote {out}: {plural(len(found), 'page')}{named}.")
