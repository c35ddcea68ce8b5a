"""``backprop report``: the pages to look at, made again without grading."""

from __future__ import annotations

from pathlib import Path

import click

from grading.cli.common import RESULTS, WORKERS
from grading.workers.capacity import cores
from harness.errors import UserError


@click.command()
@RESULTS
@WORKERS
def report(results: Path, workers: int | None) -> None:
    """Makes the report on what `backprop grade` wrote into DIR again: DIR/report/index.html.

    Nothing is graded. Files of yours in DIR/report stay.
    """
    click.echo(f"Wrote {remade(results, workers or cores())}: open it in a browser.")


def remade(results: Path, workers: int) -> Path:
    """Brings the report on a run up to date; returns its first page. Raises UserError."""
    from grading.pages.folder import make_report
    from grading.results.record import read_run
    from grading.runs.journal import Busy, only_run_in
    from grading.workers.batch import executor

    try:
        read_run(results)
        with only_run_in(results):
            return make_report(results, lambda wanted: executor(min(wanted, workers)))
    except Busy:
        raise UserError(f"A run is writing to {results}: it makes the report at its end.") from None
    except OSError as error:
        raise UserError(f"{results} cannot be written: {error.strerror}.") from None
