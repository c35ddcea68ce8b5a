"""What the judge found, as the outputs of the check cells that nbgrader reads marks from."""

from __future__ import annotations

import tomllib
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbformat import NotebookNode, from_dict

from grading.nbgrader.check_cells import stages_checked
from grading.nbgrader.release import cell_points
from grading.results.lines import Result, report_of
from harness.course.assignments import NAMES, load_assignment
from harness.course.report import Report
from harness.course.settings import SETTINGS_FILE, Settings, SettingsError, settings_beside
from harness.course.visibility import for_student
from harness.errors import UserError
from harness.show.visible import visible

if TYPE_CHECKING:
    from harness.course.assignment import Assignment
    from harness.probes import Planned


@dataclass(frozen=True)
class Task:
    """An assignment of the harness's in a course, and what its instructor has set for it."""

    folder: Path
    assignment: Assignment
    settings: Settings

    @cached_property
    def planned(self) -> tuple[Planned, ...]:
        """The checks that are made."""
        from harness.probes import plan

        return plan(self.assignment, self.settings)


def find_task(folder: Path) -> Task | None:
    """The assignment whose source is ``folder``; None where it is none of the harness's.

    The settings in the folder name it; without settings, the folder's own name does. Raises
    SettingsError for settings that mean nothing.
    """
    name = _named(folder)
    if name not in NAMES:
        return None
    task = Task(folder, load_assignment(name), settings_beside(folder, name))
    _ = task.planned  # raises for points of checks that there are not
    return task


def check_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """The cells whose marks the judge gives: those of nbgrader's tests."""
    marks = [(cell, cell.metadata.get("nbgrader", {})) for cell in notebook.cells]
    return [cell for cell, mark in marks if mark.get("grade") and not mark.get("solution")]


def judge_points(task: Task, id: str, source: str, points: float) -> None:
    """Raises UserError for a check cell that makes no checks, or is worth other points."""
    right = cell_points(source, task.planned)
    if right is None:
        raise UserError(f"The check cell {id!r} calls neither check() nor train() in its end.")
    if abs(right - points) > 1e-6:
        raise UserError(
            f"The cell {id!r} is worth {points:g} points in the gradebook and {right:g} by "
            f"{task.folder / SETTINGS_FILE}: run nbgrader generate_assignment --force first."
        )


def fill_outputs(notebook: NotebookNode, result: Result, task: Task) -> None:
    """Gives each check cell the outcome of the checks it makes: points, and what to read.

    Other cells have no outputs: what a student's code prints stays behind the wall.
    """
    from harness.show.notebook import report_html

    report = report_of(result)
    for number, cell in enumerate(check_cells(notebook), start=1):
        judge_points(
            task, cell.metadata.nbgrader.grade_id, cell.source, cell.metadata.nbgrader.points
        )
        stages = stages_checked(cell.source) or frozenset()
        part = _part(report, stages, whole=number == 1)
        html = (
            report_html(for_student(part, task.settings), task.assignment)
            if result.status == "graded"
            else _refusal(result.reason or "")
        )
        cell.execution_count = number
        cell.outputs = [
            from_dict(  # type: ignore[no-untyped-call]
                {
                    "output_type": "execute_result",
                    "execution_count": number,
                    "metadata": {},
                    "data": {"text/plain": repr(float(part.score)), "text/html": html},
                }
            )
        ]


def _named(folder: Path) -> Any:
    path = folder / SETTINGS_FILE
    if not path.is_file():
        return folder.name
    try:
        return tomllib.loads(path.read_text(encoding="utf-8")).get("assignment")
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path}: {error}.") from None


def _part(report: Report, stages: Collection[str | None], *, whole: bool) -> Report:
    """The part that one cell tells; ``whole`` adds the advice on the whole submission."""
    stages = set(stages)
    return Report(
        report.assignment,
        tuple(check for check in report.checks if check.stage in stages),
        tuple(
            each for each in report.advice if each.stage in (stages | {None} if whole else stages)
        ),
    )


def _refusal(reason: str) -> str:
    return f"<p><strong>Nothing could be checked.</strong></p><p>{escape(visible(reason))}</p>"
