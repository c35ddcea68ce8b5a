"""``backprop check``: a student's own check of one file."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from grading.cli.common import ASSIGNMENT, Unusable, write_json
from grading.sandbox import NurseryError, open_nursery


@click.command()
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
    from grading.work import CheckError, read_work

    try:
        # Nobody waits for torch to be told of a file that cannot be used.
        work = read_work(file, assignment)
        # The students' side and this one load torch at the same time.
        with open_nursery() as nursery:
            from grading.check import check_stages
            from harness.show.text import report_text

            report = check_stages(work, stages, nursery)
    except CheckError as error:
        raise Unusable(str(error)) from None
    except NurseryError as error:
        raise Unusable(f"A process for the code could not be started: {error}") from None
    if json_file:
        write_json(report.as_dict(), json_file)
    click.echo(report_text(report, colour=sys.stdout.isatty()))
    sys.exit(0 if report.passed else 1)
