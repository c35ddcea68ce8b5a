"""What the judge found, as the outputs of the check cells that nbgrader reads marks from."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from nbformat import NotebookNode
from nbformat.v4 import new_output

from grading.nbgrader.check_cells import cell_points, check_cells, stages_checked
from grading.results.lines import Result, report_of
from harness.course.assignments import DECLARATION, SHIPPED, is_declared, load_assignment
from harness.course.report import Report
from harness.course.settings import (
    SETTINGS_FILE,
    Settings,
    assignment_set,
    for_student,
    settings_beside,
)
from harness.drawing.visible import visible
from harness.errors import UserError

if TYPE_CHECKING:
    from harness.course.assignment import Assignment
    from harness.probes import Planned


@dataclass(frozen=True)
class Task:
    """An assignment of the harness's in a course, its instructor's settings, and its checks."""

    folder: Path
    assignment: Assignment
    settings: Settings
    planned: tuple[Planned, ...]


def find_task(folder: Path) -> Task | None:
    """Return the assignment whose source is ``folder``; None where it is none of the harness's.

    It is declared in the folder, or it is the shipped one that the settings in the folder name;
    without settings, the folder's own name does. Raise SettingsError for invalid settings, and
    UserError for a declaration that cannot be used.
    """
    declared = is_declared(folder)
    name = folder.name if declared else assignment_set(folder)
    if not declared and name not in SHIPPED:
        return None
    from harness.judging.validation import validate
    from harness.probes import plan

    assignment = load_assignment(name, folder / DECLARATION)
    if declared:
        validate(assignment)
    settings = settings_beside(folder, name)
    return Task(folder, assignment, settings, plan(assignment, settings))


def judge_points(task: Task, id: str, source: str, points: float) -> None:
    """Raise UserError for a check cell that makes no checks or is worth other points."""
    right = cell_points(repr(id), source, task.planned)
    if abs(right - points) > 1e-6:
        raise UserError(
            f"The cell {id!r} is worth {points:g} points in the gradebook but {right:g} in "
            f"{task.folder / SETTINGS_FILE}: run nbgrader generate_assignment --force first."
        )


def fill_outputs(notebook: NotebookNode, result: Result, task: Task) -> None:
    """Give each check cell the outcome of its checks as its output: the points, and the report.

    Other cells have no outputs: what a student's code prints stays behind the wall.
    """
    from harness.show.notebook import report_html

    report, reason = report_of(result), escape(visible(result.reason or ""))
    for number, cell in enumerate(check_cells(notebook), start=1):
        mark = cell.metadata.nbgrader
        judge_points(task, mark.grade_id, cell.source, mark.points)
        stages = stages_checked(cell.source) or frozenset()
        part = _part(report, stages, whole=number == 1)
        html = (
            report_html(for_student(part, task.settings), task.assignment)
            if result.status == "graded"
            else f"<p><strong>Nothing could be checked.</strong></p><p>{reason}</p>"
        )
        data = {"text/plain": repr(float(part.score)), "text/html": html}
        cell.execution_count = number
        cell.outputs = [new_output("execute_result", data, execution_count=number)]  # type: ignore[no-untyped-call]


def _part(report: Report, stages: Collection[str | None], *, whole: bool) -> Report:
    """Return what one cell says; ``whole`` adds the advice on the whole submission."""
    advised = {*stages, None} if whole else stages
    return Report(
        report.assignment,
        tuple(check for check in report.checks if check.stage in stages),
        tuple(each for each in report.advice if each.stage in advised),
    )
