"""``backprop report``: the pages to look at, made again without grading."""

from __future__ import annotations

from pathlib import Path

import click

from grading.cli.common import RESULTS, WORKERS, Unusable
from grading.workers.capacity import cores


@click.command()
@RESULTS
@WORKERS
def report(results: Path, workers: int | None) -> None:
    """Makes the report on what `backprop grade` wrote into DIR again: DIR/report/index.html.

    Nothing is graded. Files of yours in DIR/report stay.
    """
    click.echo(f"Wrote {remade(results, workers or cores())}: open it in a browser.")


def remade(results: Path, workers: int) -> Path:
    """Brings the report on a run up to date; returns its first page. Raises Unusable."""
    from grading.pages.folder import ReportError, make_report
    from grading.results.record import RecordError, read_run
    from grading.runs.journal import Busy, only_run_in
    from grading.workers.batch import executor

    try:
        read_run(results)
        with only_run_in(results):
            return make_report(results, lambda wanted: executor(min(wanted, workers)))
    except (RecordError, ReportError) as error:
        raise Unusable(str(error)) from None
    except Busy:
        raise Unusable(f"A run is writing to {results}: it makes the report at its end.") from None
    except OSError as error:
        raise Unusable(f"{results} cannot be written: {error.strerror}.") from None
