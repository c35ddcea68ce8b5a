"""A grading run from a folder of submissions to published results, with its progress shown."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from grading.batch import grade_entries
from grading.jobs import Job
from grading.results import Result, publish
from grading.sandbox import LOCKED, Isolation, NurseryError, can_fork
from grading.submissions import Entry, find_submissions
from grading.summary import print_summary
from harness.assignments import load_assignment
from harness.probes import plan
from harness.settings import Settings, SettingsError, settings_beside
from harness.show.visible import visible

if TYPE_CHECKING:
    from grading.sandbox.zygote import Zygote

NOT_LOCKED = (
    "[bold]WARNING: submissions are NOT locked down (isolation: minimal).[/bold] Each runs in a "
    "process of its own, limited in time and memory, that can read your files, other submissions "
    "among them, and use the network as you can. Grade only code you trust."
)


class RunError(Exception):
    """The run cannot be made as asked; the text says what, where and what to do."""


def grade_folder(
    folder: Path,
    assignment: str,
    out: Path,
    workers: int,
    seed: int,
    isolation: Isolation | None = None,
) -> bool:
    """Grades what ``folder`` holds, publishes the results in ``out`` and prints a summary.

    ``isolation`` is the level asked for by name; without it, the best this machine gives of those
    that hold against strangers' code. Returns whether every submission has its mark. Raises
    RunError for an unusable call.
    """
    entries = _entries(folder, out)
    settings = _settings(assignment)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{out} cannot be made: {error.strerror}.") from None
    job = Job(assignment, settings, seed)
    try:
        with nursery_for(isolation) as zygote:
            level = zygote.isolation if zygote else "minimal"
            if level == "minimal":
                Console(stderr=True).print(NOT_LOCKED, highlight=False)
            results = _graded(entries, job, min(workers, len(entries)), zygote)
    except NurseryError as error:
        raise RunError(
            f"This machine cannot lock submissions down ({error}). `backprop doctor` says what to "
            "install; --isolation minimal grades without locks, for code you trust."
        ) from None
    publish(out, results, _run_facts(assignment, settings, seed, level))
    print_summary(Console(), results, out)
    return all(result.status != "grader_error" for result in results)


def course_settings(assignment: str, course: Path) -> Settings:
    """What the instructor of the course in the folder ``course`` has set for an assignment."""
    return settings_beside(course / "solutions" / assignment, assignment)


def _entries(folder: Path, out: Path) -> list[Entry]:
    if not folder.is_dir():
        raise RunError(f"{folder} is not a folder: give the folder that holds the submissions.")
    if folder.resolve() == out.resolve():
        raise RunError(f"{out} holds the submissions: give another folder for the results.")
    entries = find_submissions(folder)
    if not entries:
        raise RunError(f"{folder} holds no submissions: no .py, .ipynb or .zip file, no folder.")
    return entries


def _settings(assignment: str) -> Settings:
    try:
        settings = course_settings(assignment, Path.cwd())
        plan(load_assignment(assignment), settings)
    except SettingsError as error:
        raise RunError(f"{error}.") from None
    return settings


@contextmanager
def nursery_for(isolation: Isolation | None) -> Iterator[Zygote | None]:
    """Where all workers' children come from; None where a system has only the level minimal.

    Raises NurseryError where the level, or without a name any that holds, cannot be had.
    """
    if not can_fork():
        if isolation != "minimal":
            raise NurseryError("only Linux can lock a process down")
        yield None
        return
    from grading.sandbox.zygote import Zygote

    with Zygote([isolation] if isolation else LOCKED) as zygote:
        yield zygote


def _graded(entries: list[Entry], job: Job, workers: int, zygote: Zygote | None) -> list[Result]:
    columns = (
        TextColumn("Grading"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[latest]}", markup=False),
    )
    results: list[Result] = []
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("Grading", total=len(entries), latest="")
        for result in grade_entries(entries, job, workers, zygote):
            results.append(result)
            progress.update(task, advance=1, latest=visible(result.submission)[:40])
    return results


def _run_facts(
    assignment: str, settings: Settings, seed: int, isolation: Isolation
) -> dict[str, Any]:
    return {
        "schema": 1,
        "assignment": assignment,
        "seed": seed,
        "settings": settings.as_dict(),
        "isolation": isolation,
        "versions": {
            "backprop-harness": importlib.metadata.version("backprop-harness"),
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "numpy": numpy.__version__,
        },
    }
