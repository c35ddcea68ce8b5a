"""``backprop check``: a student's own check of one file."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import click

from grading.cli.common import (
    COURSE,
    JSON,
    PATH,
    UNUSABLE,
    beside,
    loading,
    tell_of_settings,
    write_json,
)
from grading.confined.software import MissingPackage
from grading.errors import sentence
from grading.sandbox import Spawner, open_spawner
from harness.errors import UserError

if TYPE_CHECKING:
    from harness.judging.judge import Judgement


@click.command()
@click.argument("file", type=PATH)
@click.option(
    "--assignment", metavar="NAME", help="The assignment. Default: what FILE imports or is named."
)
@COURSE
@click.option(
    "--file", "wanted", default="", metavar="NAME", help="Of several files in FILE, check this one."
)
@click.option("--stage", "stages", multiple=True, help="Check only this class; can be repeated.")
@JSON
@click.option("--watch", is_flag=True, help="Check again whenever FILE is saved, until Ctrl-C.")
def check(
    file: Path,
    assignment: str | None,
    wanted: str,
    stages: tuple[str, ...],
    json_file: Path | None,
    watch: bool,
) -> None:
    """Check a student's module or notebook.

    FILE is a .py module, a notebook, or a zip or folder that contains one of them.

    Exit code 0: everything passed; 1: something failed; 2: the file or the call cannot be used.
    With --watch, the exit code is that of the last check.
    """
    from grading.selfcheck.work import read_work

    # A file that cannot be used is reported before torch is loaded.
    work = None if watch else read_work(file, assignment, wanted)
    with ExitStack() as stack:

        @cache
        def spawner(packages: tuple[str, ...]) -> Spawner:
            return stack.enter_context(open_spawner(packages=packages))

        tell = cache(tell_of_settings)

        def once() -> int:
            current = work or read_work(file, assignment, wanted)
            tell(current.name, current.folder)
            opened = spawner(tuple(current.settings.packages))
            # The students' side and this one load torch at the same time.
            with loading():
                from grading.selfcheck.check import check_stages

            return _shown(check_stages(current, stages, opened), json_file)

        code = _watched(file, once) if watch else once()
    sys.exit(code)


def _shown(judged: Judgement, json_file: Path | None) -> int:
    from harness.show.text import report_text

    report = judged.report
    if json_file:
        write_json(report.as_dict(), json_file)
    colour = sys.stdout.isatty()
    with beside(json_file):
        click.echo(report_text(report, judged.run, judged.reference, colour=colour))
    return 0 if report.passed else 1


def _watched(file: Path, once: Callable[[], int]) -> int:
    """Check at every save until Ctrl-C; return the exit code of the last check."""
    from grading.selfcheck.watching import saves

    code = UNUSABLE
    try:
        for _ in saves(file):
            click.clear()  # only clears a terminal
            click.echo(f"── {file}, {datetime.now():%H:%M:%S} ──\n")
            try:
                code = once()
            except (UserError, MissingPackage) as error:
                code = UNUSABLE
                click.echo(sentence(error))
            click.echo("\nWaiting for the next save; press Ctrl-C to stop.")
    except KeyboardInterrupt:
        click.echo()
    return code
