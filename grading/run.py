"""A grading run from a folder of submissions to published results, with its progress shown."""

from __future__ import annotations

import importlib.metadata
import platform
from pathlib import Path
from typing import Any

import numpy
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from grading.batch import Job, grade_entries
from grading.results import Result, publish
from grading.submissions import Entry, find_submissions
from grading.summary import print_summary
from harness.assignments import load_assignment
from harness.probes import plan
from harness.settings import Settings, SettingsError, settings_beside
from harness.show.visible import visible

NOT_LOCKED = (
    "Submissions run in processes of their own, limited in time and memory but not locked down: "
    "they can read files and use the network as you can."
)


class RunError(Exception):
    """The run cannot be made as asked; the text says what, where and what to do."""


def grade_folder(folder: Path, assignment: str, out: Path, workers: int, seed: int) -> bool:
    """Grades what ``folder`` holds, publishes the results in ``out`` and prints a summary.

    Returns whether every submission has its mark. Raises RunError for an unusable call.
    """
    entries = _entries(folder, out)
    settings = _settings(assignment)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{out} cannot be made: {error.strerror}.") from None
    Console(stderr=True).print(NOT_LOCKED, highlight=False)
    results = _graded(entries, Job(assignment, settings, seed), min(workers, len(entries)))
    publish(out, results, _run_facts(assignment, settings, seed))
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


def _graded(entries: list[Entry], job: Job, workers: int) -> list[Result]:
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
        for result in grade_entries(entries, job, workers):
            results.append(result)
            progress.update(task, advance=1, latest=visible(result.submission)[:40])
    return results


def _run_facts(assignment: str, settings: Settings, seed: int) -> dict[str, Any]:
    return {
        "schema": 1,
        "assignment": assignment,
        "seed": seed,
        "settings": settings.as_dict(),
        "isolation": "minimal",
        "versions": {
            "backprop-harness": importlib.metadata.version("backprop-harness"),
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "numpy": numpy.__version__,
        },
    }
