"""``backprop check``: a student's own check of one file."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from grading.cli.common import ASSIGNMENT, UNUSABLE, write_json
from grading.sandbox import open_spawner
from harness.errors import UserError

if TYPE_CHECKING:
    from harness.judging.judge import Judgement


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--assignment", type=ASSIGNMENT, help="Which assignment it is, if the file does not tell."
)
@click.option("--stage", "stages", multiple=True, help="Check this class only; can be repeated.")
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path), help="Also write the report there."
)
@click.option("--watch", is_flag=True, help="Check again at every save, until Ctrl-C.")
def check(
    file: Path,
    assignment: str | None,
    stages: tuple[str, ...],
    json_file: Path | None,
    watch: bool,
) -> None:
    """Checks FILE, a .py module or a notebook, and says what is right and what is not.

    FILE can also be a zip or a folder that holds exactly one of them.

    Exit code 0: everything passed; 1: something did not; 2: the file or the call is unusable. With
    --watch it is that of the last check.
    """
    from grading.selfcheck.work import read_work

    # Nobody waits for torch to be told of a file that cannot be used.
    work = None if watch else read_work(file, assignment)
    # The students' side and this one load torch at the same time.
    with open_spawner(packages=work.settings.packages if work else ()) as spawner:
        from grading.selfcheck.check import check_stages

        def once() -> int:
            judged = check_stages(work or read_work(file, assignment), stages, spawner)
            return _shown(judged, json_file)

        code = _watched(file, once) if watch else once()
    sys.exit(code)


def _shown(judged: Judgement, json_file: Path | None) -> int:
    from harness.show.text import report_text

    report = judged.report
    if json_file:
        write_json(report.as_dict(), json_file)
    colour = sys.stdout.isatty()
    click.echo(report_text(report, judged.run, judged.reference, colour=colour))
    return 0 if report.passed else 1


def _watched(file: Path, once: Callable[[], int]) -> int:
    """Checks at every save until Ctrl-C; the exit code is that of the last check."""
    from grading.selfcheck.watching import saves

    code = 2
    try:
        for _ in saves(file):
            click.clear()  # where there is a terminal
            click.echo(f"── {file}, {datetime.now():%H:%M:%S} ──\n")
            try:
                code = once()
            except UserError as error:
                code = UNUSABLE
                click.echo(str(error))
            click.echo("\nChecked again at every save; Ctrl-C ends it.")
    except KeyboardInterrupt:
        click.echo()
    return code
