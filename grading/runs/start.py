"""What a run starts: how many workers, the process that students' code comes from, a bar."""

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from grading.errors import not_isolated
from grading.workers.capacity import available_mib, cores, needed_mib, workers_that_fit
from grading.workers.helpers import undisturbed
from grading.workers.jobs import Job
from harness.course.assignments import (
    current_course,
    is_declared,
    load_assignment,
    source_of,
    use_course,
)
from harness.course.numbers import plural
from harness.course.settings import Settings
from harness.drawing.visible import visible_line
from harness.errors import UserError


def warn_not_isolated() -> None:
    """Say on standard error that submissions run without isolation."""
    click.secho(not_isolated("your files, including other submissions,"), bold=True, err=True)


def worker_count(asked: int | None, waiting: int, memory_mib: int) -> int:
    """Return how many workers to start: as many as asked for, or as cores and memory allow.

    If memory may not suffice, say so, and what is done about it.
    """
    wanted = min(asked or cores(), waiting)
    available, needed = available_mib(), needed_mib(wanted, memory_mib)
    if needed <= available:
        return wanted
    fit = workers_that_fit(wanted, memory_mib, available)
    if asked or fit == wanted:
        effect = "A submission that the system kills for lack of memory is graded again, alone."
    else:
        effect = f"Grading with {fit}; --workers {wanted} overrides this."
    click.echo(
        f"{plural(wanted, 'worker')} may need {needed / 1024:.1f} GiB of memory ({memory_mib} MiB "
        f"for each submission, set by memory_mib), and {available / 1024:.1f} GiB are available. "
        f"{effect}",
        err=True,
    )
    return wanted if asked else fit


def check_declared(job: Job) -> None:
    """Raise UserError for a declaration that cannot be used, or points of an unknown check."""
    if not job.settings.points and not is_declared(source_of(job.assignment)):
        return
    # Both take torch, which this process does without.
    context = multiprocessing.get_context("spawn")
    with (
        TemporaryDirectory() as folder,
        ProcessPoolExecutor(
            1, context, initializer=use_course, initargs=(current_course(),)
        ) as process,
    ):
        begun = Path(folder) / "begun"
        with undisturbed():
            planned = process.submit(_plan, job.assignment, job.settings, begun)
        try:
            planned.result()
        except BrokenProcessPool:
            place = (
                begun.read_text(encoding="utf-8")
                if begun.exists()
                else str(source_of(job.assignment))
            )
            raise UserError(
                f"{place}: the process crashed there, without an error. If torch itself does, "
                "exclude such sizes with a condition, sizes=…."
            ) from None


def _plan(assignment: str, settings: Settings, begun: Path) -> None:
    from harness.judging.validation import validate
    from harness.probes import plan

    found = load_assignment(assignment)
    if is_declared(source_of(assignment)):
        validate(found, lambda place: begun.write_text(place, encoding="utf-8"))
    plan(found, settings)


@contextmanager
def progress(total: int) -> Iterator[Callable[[str], None]]:
    """Show a progress bar; call what this yields with the name of each submission that is done."""
    columns = (
        TextColumn("Grading"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[latest]}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("Grading", total=total, latest="")
        yield lambda name: bar.update(task, advance=1, latest=visible_line(name)[:40])
