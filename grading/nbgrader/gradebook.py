"""Marks into nbgrader's gradebook, through its own API.

A submission's grades change together, in one transaction that keeps other writers out.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from nbgrader.api import Grade, Gradebook, SubmittedNotebook

from grading.nbgrader.check_cells import stages_checked
from grading.nbgrader.database import opened
from grading.results.lines import Result, shares
from harness.course.report import Check
from harness.drawing.visible import visible_line
from harness.errors import UserError


@dataclass
class Written:
    """What an export did: students in all, marks left open, and what a person should know."""

    students: int = 0
    open: list[str] = field(default_factory=list)
    by_hand: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def sentences(self) -> list[str]:
        """Return the outcome as sentences for the terminal."""
        who = "1 student is" if self.students == 1 else f"{self.students} students are"
        lines = [f"{who} in the gradebook.", *self.notes]
        if self.open:
            lines.append(f"Left to be graded by hand: {visible_line(', '.join(self.open))}.")
        if self.by_hand:
            lines.append(
                f"Points given by hand are kept for {visible_line(', '.join(self.by_hand))}."
            )
        return lines


@dataclass(frozen=True)
class Cells:
    """The grade cells of a notebook: each cell's name with the checks whose points it holds."""

    notebook: str
    checks: Mapping[str, Sequence[Check]]

    def worth(self, name: str) -> float:
        """Return the points that a cell is worth."""
        return round(sum(check.max_points for check in self.checks[name]), 9)


def export_marks(
    url: str, results: Sequence[Result], missing: Collection[str], *, course_id: str
) -> Written:
    """Write the marks of results into the gradebook at ``url``, which is made where there is none.

    Existing manual scores and extra credit are kept. An open mark is left to be graded by hand.
    ``missing`` become students without a submission. Raise UserError if the gradebook cannot be
    used, or its cells do not fit the checks.
    """
    checks = next((each.checks for each in results if each.checks), None)
    if not checks:
        raise UserError(
            "None of the results has checks, so the points of the gradebook's cells are unknown: "
            "grade a submission with usable code first."
        )
    written = Written(len(results) + len(missing))
    with opened(url, course_id) as gradebook:
        cells, written.notes = gradebook.alone(partial(_prepare, results[0].assignment, checks))
        for name in missing:
            gradebook.alone(partial(Gradebook.update_or_create_student, student_id=name))
        for result in results:
            if gradebook.alone(partial(_write, result, cells)):
                written.by_hand.append(result.submission)
            if result.score is None:
                written.open.append(result.submission)
    return written


# The notebook and its cells


def _prepare(
    assignment: str, checks: Sequence[Check], gradebook: Gradebook
) -> tuple[Cells, list[str]]:
    """Return the cells that get the marks, and what has changed.

    Each is made worth what its checks are, and those missing are added.
    """
    cells = _cells(gradebook, assignment, checks)
    notebook = gradebook.find_notebook(cells.notebook, assignment)
    known = {cell.name: cell.max_score for cell in notebook.grade_cells}
    ours = not notebook.source_cells
    gone = sorted(set(known) - set(cells.checks)) if ours else []
    if gone:
        raise UserError(
            f"The gradebook has cells of {assignment} that these results have no checks "
            f"for, such as {gone[0]}, and their marks would stay in the sums: remove the "
            f"assignment with `nbgrader db assignment remove {assignment}` first."
        )
    notes = []
    for name in cells.checks:
        points, before = cells.worth(name), known.get(name)
        if before is not None and abs(before - points) <= 1e-9:
            continue
        gradebook.update_or_create_grade_cell(
            name, cells.notebook, assignment, max_score=points, cell_type="code"
        )
        if before is not None:
            notes.append(f"The cell {name} is worth {points:g} now, {before:g} before.")
    return cells, notes


def _cells(gradebook: Gradebook, assignment: str, checks: Sequence[Check]) -> Cells:
    """Return where the points of checks go: cells of the released notebook, or one per check.

    A gradebook that has no notebook of the assignment gets one.
    """
    found = gradebook.update_or_create_assignment(assignment)
    possible = [each for each in (_cells_of(one, checks) for one in found.notebooks) if each]
    if len(possible) > 1:
        names = " and ".join(each.notebook for each in possible)
        raise UserError(
            f"The notebooks {names} of {assignment} in the gradebook both make checks: keep the "
            "check cells in one of them."
        )
    if possible:
        return _without_gaps(possible[0], assignment, checks)
    if found.notebooks:
        names = ", ".join(notebook.name for notebook in found.notebooks)
        raise UserError(
            f"{assignment} is in the gradebook with {names}, whose cells make none of these "
            "checks: run `nbgrader generate_assignment` on the course's own notebook first."
        )
    gradebook.update_or_create_notebook(assignment, assignment)
    return Cells(assignment, {cell_name(check.id): [check] for check in checks})


def _cells_of(notebook: Any, checks: Sequence[Check]) -> Cells | None:
    """Return the cells of a notebook that make checks, or None."""
    names = {cell.name for cell in notebook.grade_cells}
    own = {cell_name(check.id): [check] for check in checks}
    if not notebook.source_cells:
        return Cells(notebook.name, own) if names & set(own) else None
    found: dict[str, list[Check]] = {}
    for cell in notebook.source_cells:
        stages = stages_checked(cell.source or "") if cell.name in names else None
        if stages is not None:
            found[cell.name] = [check for check in checks if check.stage in stages]
    return Cells(notebook.name, found) if found else None


def _without_gaps(cells: Cells, assignment: str, checks: Sequence[Check]) -> Cells:
    """Return the cells if the points of every check go to exactly one of them."""
    held = [each.id for part in cells.checks.values() for each in part]
    for check in checks:
        if held.count(check.id) != 1:
            number = "no cell" if check.id not in held else f"{held.count(check.id)} cells"
            raise UserError(
                f"The notebook {cells.notebook} of {assignment} in the gradebook has {number} for "
                f"the check {check.id}: run `nbgrader generate_assignment` on a notebook that "
                "makes each check once."
            )
    return cells


def cell_name(check: str) -> str:
    """Return the name of a check's own cell: nbgrader takes letters, digits, - and _ only."""
    return re.sub(r"[^A-Za-z0-9_-]", "-", check)


# Students and their grades


def _write(result: Result, cells: Cells, gradebook: Gradebook) -> bool:
    """Write one submission's marks; return whether a person has given points there, which stay."""
    gradebook.update_or_create_student(result.submission)
    with gradebook.db.no_autoflush:  # which would warn of what is half put together
        submission = gradebook.update_or_create_submission(result.assignment, result.submission)
    grades = _grades(gradebook, submission, cells)
    for name, points in _points(result, cells).items():
        _set_score(grades[name], points)
    return any(each.manual_score is not None or each.extra_credit for each in grades.values())


def _grades(gradebook: Gradebook, submission: Any, cells: Cells) -> dict[str, Any]:
    """Return the grades of the cells by name; add those of cells newer than the submission."""
    notebooks = {each.name: each for each in submission.assignment.notebooks}
    notebook = notebooks[cells.notebook]
    theirs = next((each for each in submission.notebooks if each.name == cells.notebook), None)
    if theirs is None:
        theirs = SubmittedNotebook(notebook=notebook, assignment=submission)
        gradebook.db.add(theirs)
    grades = {grade.name: grade for grade in theirs.grades}
    for cell in notebook.grade_cells:
        if cell.name in cells.checks and cell.name not in grades:
            grades[cell.name] = Grade(cell=cell, notebook=theirs)
            gradebook.db.add(grades[cell.name])
    return grades


def _points(result: Result, cells: Cells) -> dict[str, float | None]:
    """Return the points of each cell, None where the mark is open."""
    if result.score is None:
        return dict.fromkeys(cells.checks)
    points = {check.id: check.points for check in result.checks}
    if not points:
        most = list(map(cells.worth, cells.checks))
        return dict(zip(cells.checks, shares(result.score, most), strict=True))
    return {
        name: round(sum(points.get(check.id, 0.0) for check in checks), 9)
        for name, checks in cells.checks.items()
    }


def _set_score(grade: Any, points: float | None) -> None:
    """Set the automatic score; a manual one stays, and needs another look if that has moved."""
    before = grade.auto_score
    same = points == (before if before is None else round(before, 9))
    if not same:
        grade.auto_score = points
    if grade.manual_score is None:
        grade.needs_manual_grade = points is None
    elif not same:
        grade.needs_manual_grade = True
