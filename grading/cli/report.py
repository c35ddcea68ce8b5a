"""``backprop report``: make the pages of a run again without grading."""

from pathlib import Path

import click

from grading.cli.common import COURSE, RESULTS, WORKERS
from grading.workers.capacity import cores


@click.command()
@RESULTS
@COURSE
@WORKERS
def report(results: Path, workers: int | None) -> None:
    """Make the HTML report of a run again.

    The report is DIR/report/index.html. Nothing is graded, and your own files in DIR/report are
    kept.
    """
    click.echo(f"Wrote {update_report(results, workers or cores())}: open it in a browser.")


def update_report(results: Path, workers: int) -> Path:
    """Bring the report on a run up to date, and return its first page."""
    from grading.pages.folder import make_report
    from grading.results.record import read_run
    from grading.runs.journal import only_run_in
    from grading.workers.batch import executor

    read_run(results)
    with only_run_in(results):
        return make_report(results, lambda wanted: executor(min(wanted, workers)))
