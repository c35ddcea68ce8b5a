"""Marks into nbgrader's gradebook, through its own API; SQLite or PostgreSQL.

Whatever else writes there at the same time loses nothing: a submission's grades change in one
transaction that holds its row, and what another one is in the way of is tried again.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import random
import re
import shutil
import sysconfig
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from grading.nbgrader.check_cells import stages_checked
from grading.results.lines import CheckLine, Result, shares
from harness.errors import UserError
from harness.show.visible import visible_line

# How long another writer is waited for.
WAIT_SECONDS = 30
# PostgreSQL's codes for a serialization failure, a deadlock, a lock that is not to be had, and a
# table or another thing that somebody else has just made.
PASSING = ("40001", "40P01", "55P03", "42P07", "42710")
# The number by which exports that make a PostgreSQL gradebook wait for each other.
ADVISORY_LOCK = 0x6261636B
SQLITE = "sqlite:///"

Value = TypeVar("Value")


@dataclass
class Written:
    """What an export did: students in all, marks left open, and what a person should know."""

    students: int = 0
    open: list[str] = field(default_factory=list)
    by_hand: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def said(self) -> list[str]:
        """It in sentences."""
        who = "1 student is" if self.students == 1 else f"{self.students} students are"
        lines = [f"{who} in the gradebook.", *self.notes]
        if self.open:
            lines.append(f"Left to be graded by hand: {visible_line(', '.join(self.open))}.")
        if self.by_hand:
            lines.append(f"Points given by hand stay for {visible_line(', '.join(self.by_hand))}.")
        return lines


@dataclass(frozen=True)
class Cells:
    """The grade cells of a notebook: each cell's name with the checks whose points it holds."""

    notebook: str
    checks: Mapping[str, Sequence[str]]


def export_marks(
    url: str, results: Sequence[Result], missing: Collection[str], *, course_id: str
) -> Written:
    """Writes the marks of results into the gradebook at ``url``, which is made where there is none.

    Manual scores and extra credit that are there stay. A mark that is open is left to be graded by
    hand. ``missing`` become students without a submission. Raises UserError.
    """
    ids = next((list(each.checks) for each in results if each.checks), [])
    if not ids:
        raise UserError(
            "None of the results has checks, so the gradebook could not tell what to grade: grade "
            "a submission with usable code first."
        )
    written = Written(len(results) + len(missing))
    worth = {check.id: check.max_points for check in ids}
    with _gradebook(url, course_id) as gradebook:

        def persistently(action: Callable[[], Value]) -> Value:
            return _persistently(action, gradebook.db.rollback)

        cells = persistently(lambda: _cells(gradebook, results[0].assignment, ids))
        persistently(lambda: _set_worth(gradebook, results[0], cells, worth, written))
        for name in missing:
            persistently(partial(_student, gradebook, name))
        for result in results:
            if persistently(partial(_write, gradebook, result, cells, worth)):
                written.by_hand.append(result.submission)
            if result.score is None:
                written.open.append(result.submission)
    return written


# The notebook and its cells


def _cells(gradebook: Any, assignment: str, checks: Sequence[CheckLine]) -> Cells:
    """Where the points of checks go: cells of the released notebook, or one for each check.

    A gradebook that has no notebook of the assignment gets one.
    """
    from nbgrader.api import MissingEntry

    try:
        found = gradebook.find_assignment(assignment)
    except MissingEntry:
        found = gradebook.add_assignment(assignment)
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
    return _made_cells(gradebook, assignment, checks)


def _cells_of(notebook: Any, checks: Sequence[CheckLine]) -> Cells | None:
    """The cells of a notebook that make checks; None where none does."""
    names = {cell.name for cell in notebook.grade_cells}
    own = {cell_name(check.id): [check.id] for check in checks}
    if not notebook.source_cells:
        return Cells(notebook.name, own) if names & set(own) else None
    found: dict[str, list[str]] = {}
    for cell in notebook.source_cells:
        try:
            stages = stages_checked(cell.source or "") if cell.name in names else None
        except SyntaxError:
            stages = None
        if stages is not None:
            found[cell.name] = [check.id for check in checks if check.stage in stages]
    return Cells(notebook.name, found) if found else None


def _without_gaps(cells: Cells, assignment: str, checks: Sequence[CheckLine]) -> Cells:
    """The cells, if each check's points go to exactly one of them."""
    held = [id for ids in cells.checks.values() for id in ids]
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
    """What a check's own cell is called: nbgrader takes letters, digits, - and _ only."""
    return re.sub(r"[^A-Za-z0-9_-]", "-", check)


def _made_cells(gradebook: Any, assignment: str, checks: Sequence[CheckLine]) -> Cells:
    """A notebook with a cell for each check, all made in one transaction."""
    from nbgrader.api import GradeCell, Notebook

    notebook = Notebook(name=assignment, assignment=gradebook.find_assignment(assignment))
    for check in checks:
        GradeCell(
            name=cell_name(check.id),
            notebook=notebook,
            max_score=check.max_points,
            cell_type="code",
        )
    gradebook.db.add(notebook)
    gradebook.db.commit()
    return Cells(assignment, {cell_name(check.id): [check.id] for check in checks})


def _set_worth(
    gradebook: Any, result: Result, cells: Cells, worth: Mapping[str, float], written: Written
) -> None:
    """Has each cell be worth what its checks are, and adds those that a notebook of ours lacks."""
    notebook = gradebook.find_notebook(cells.notebook, result.assignment)
    known = {cell.name: cell.max_score for cell in notebook.grade_cells}
    ours = not notebook.source_cells
    gone = sorted(set(known) - set(cells.checks)) if ours else []
    if gone:
        raise UserError(
            f"The gradebook has cells of {result.assignment} that these results have no checks "
            f"for, such as {gone[0]}, and their marks would stay in the sums: remove the "
            f"assignment with `nbgrader db assignment remove {result.assignment}` first."
        )
    for name, ids in cells.checks.items():
        points = round(sum(worth[id] for id in ids), 9)
        before = known.get(name)
        if before is None or abs(before - points) > 1e-9:
            gradebook.update_or_create_grade_cell(
                name, cells.notebook, result.assignment, max_score=points, cell_type="code"
            )
        if before is not None and abs(before - points) > 1e-9:
            written.notes.append(f"The cell {name} is worth {points:g} now, {before:g} before.")


# Students and their grades


def _student(gradebook: Any, name: str) -> None:
    from nbgrader.api import MissingEntry

    try:
        gradebook.find_student(name)
    except MissingEntry:
        gradebook.add_student(name)


def _write(gradebook: Any, result: Result, cells: Cells, worth: Mapping[str, float]) -> bool:
    """Writes one submission's marks, which change together, whoever else writes them too.

    Returns whether a person has given points there, which stay.
    """
    from nbgrader.api import MissingEntry, SubmittedAssignment
    from sqlalchemy import update

    _student(gradebook, result.submission)
    try:
        submission = gradebook.find_submission(result.assignment, result.submission)
    except MissingEntry:
        with gradebook.db.no_autoflush:  # which would warn of what is half put together
            submission = gradebook.add_submission(result.assignment, result.submission)
    # Writing the row, as it is, keeps other writers of this submission out, on any database.
    gradebook.db.execute(
        update(SubmittedAssignment)
        .where(SubmittedAssignment.id == submission.id)
        .values(student_id=SubmittedAssignment.student_id)
        .execution_options(synchronize_session=False)
    )
    gradebook.db.expire_all()
    grades = _grades(gradebook, submission, cells)
    for name, points in _points(result, cells, worth).items():
        _set_score(grades[name], points)
    by_hand = any(each.manual_score is not None or each.extra_credit for each in grades.values())
    gradebook.db.commit()
    return by_hand


def _grades(gradebook: Any, submission: Any, cells: Cells) -> dict[str, Any]:
    """The grades of the cells, by name; those of cells newer than the submission are added."""
    from nbgrader.api import Grade, SubmittedNotebook

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


def _points(result: Result, cells: Cells, worth: Mapping[str, float]) -> dict[str, float | None]:
    """The points of each cell; None where the mark is open."""
    if result.score is None:
        return dict.fromkeys(cells.checks)
    points = {check.id: check.points for check in result.checks}
    if not points:
        most = [sum(worth[id] for id in ids) for ids in cells.checks.values()]
        return dict(zip(cells.checks, shares(result.score, most), strict=True))
    return {
        name: round(sum(points.get(id, 0.0) for id in ids), 9) for name, ids in cells.checks.items()
    }


def _set_score(grade: Any, points: float | None) -> None:
    """Sets the automatic score; what a person set stays, and is to be looked at if that moved."""
    before = grade.auto_score
    if before is None or points is None:
        same = before is points
    else:
        same = abs(before - points) < 1e-9
    if not same:
        grade.auto_score = points
    if grade.manual_score is None:
        grade.needs_manual_grade = points is None
    elif not same:
        grade.needs_manual_grade = True


# The database


@contextmanager
def _gradebook(url: str, course_id: str) -> Iterator[Any]:
    """The gradebook at the address, open; made whole or not at all where there is none."""
    if importlib.util.find_spec("nbgrader") is None:
        raise UserError(
            "nbgrader is not installed: pip install 'backprop-harness[grading]' and try again."
        )
    from nbgrader.api import Gradebook, InvalidEntry
    from sqlalchemy.exc import SQLAlchemyError

    with _quiet():
        try:
            address = _address(url)
            with _making(url, address):
                gradebook = _persistently(lambda: Gradebook(address, course_id))
            with gradebook:
                yield gradebook
        except ModuleNotFoundError as error:
            raise UserError(
                f"{_shown(url)} needs {error.name}, which is not installed: "
                "pip install 'backprop-harness[postgresql]' and try again."
            ) from None
        except (SQLAlchemyError, InvalidEntry) as error:
            said = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
            raise UserError(
                f"The gradebook {_shown(url)} cannot be used ({said}): is the address right, and "
                "has `nbgrader db upgrade` been run since nbgrader was updated?"
            ) from None


def _address(url: str) -> str:
    """The address for SQLAlchemy, with a driver and how long to wait for other writers."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        address = make_url(url)
    except ArgumentError:
        raise UserError(
            f"{url!r} is no database's address: it is like sqlite:///gradebook.db or "
            "postgresql://user:password@host/name."
        ) from None
    if address.get_backend_name() == "sqlite":
        if not address.database or address.database == ":memory:":
            raise UserError(f"{url!r} names no file: give one, as in sqlite:///gradebook.db.")
        address = address.update_query_dict({"timeout": str(WAIT_SECONDS)})
    elif address.drivername == "postgresql":
        # Versions of SQLAlchemy differ in which driver they mean by it.
        address = address.set(drivername="postgresql+psycopg2")
    return address.render_as_string(hide_password=False)


def _shown(url: str) -> str:
    from sqlalchemy.engine import make_url

    return make_url(url).render_as_string(hide_password=True)


@contextmanager
def _making(url: str, address: str) -> Iterator[None]:
    """Keeps a new gradebook from being seen, or made by others, before it is whole."""
    from sqlalchemy.engine import make_url

    with _scripts_on_path():
        if make_url(address).get_backend_name() == "sqlite":
            _make_sqlite(Path(str(make_url(url).database)), str(_shown(url)))
            yield
        else:
            with _advisory_lock(address):
                yield


def _make_sqlite(path: Path, shown: str) -> None:
    """Makes the file, if it is not there, in one step: another one's is not replaced."""
    if path.exists() and path.stat().st_size:
        return
    if not path.parent.is_dir():
        raise UserError(f"{shown} cannot be made: there is no folder {path.parent}.")
    from nbgrader.api import Gradebook

    try:
        with tempfile.TemporaryDirectory(prefix=".gradebook-", dir=path.parent) as folder:
            new = Path(folder, path.name)
            Gradebook(f"{SQLITE}{new}").close()
            if path.exists() and not path.stat().st_size:
                path.unlink()
            try:
                os.link(new, path)
            except FileExistsError:
                pass  # another one has just made it
    except OSError as error:
        raise UserError(f"{path} cannot be made: {error.strerror}.") from None


@contextmanager
def _scripts_on_path() -> Iterator[None]:
    """nbgrader calls ``alembic`` by its name: it lies beside this Python, if not on PATH."""
    before = os.environ.get("PATH", "")
    os.environ["PATH"] = os.pathsep.join(filter(None, [before, sysconfig.get_path("scripts")]))
    try:
        _check_alembic()
        yield
    finally:
        os.environ["PATH"] = before


def _check_alembic() -> None:
    """Asks for it before a gradebook is begun, which would be left half made without it."""
    if shutil.which("alembic") is None:
        raise UserError(
            "nbgrader makes gradebooks with the program alembic, which is not on PATH: "
            "pip install alembic, or put the folder that holds it on PATH, and try again."
        )


@contextmanager
def _advisory_lock(address: str) -> Iterator[None]:
    """Keeps other exports from making the gradebook's tables at the same time."""
    from sqlalchemy import create_engine, text

    engine = create_engine(address)
    try:
        with engine.connect() as connection:
            if engine.dialect.name == "postgresql":
                connection.execute(text(f"SELECT pg_advisory_lock({ADVISORY_LOCK})"))
            yield
    finally:
        engine.dispose()


def _persistently(action: Callable[[], Value], undo: Callable[[], None] = lambda: None) -> Value:
    """What the action returns, which is done again where another writer was in its way."""
    from nbgrader.api import InvalidEntry
    from sqlalchemy.exc import SQLAlchemyError

    until = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            return action()
        except (InvalidEntry, SQLAlchemyError) as error:
            undo()
            if time.monotonic() > until or not _passes(error):
                raise
        time.sleep(random.uniform(0.01, 0.2))


def _passes(error: BaseException) -> bool:
    """Whether it is another writer's doing: a lock, a deadlock, or a row that both made."""
    from nbgrader.api import InvalidEntry
    from sqlalchemy.exc import DBAPIError, IntegrityError
    from sqlalchemy.orm.exc import FlushError, StaleDataError

    cause = error.__context__ if isinstance(error, InvalidEntry) else error
    if isinstance(cause, IntegrityError | FlushError | StaleDataError):
        return True
    if not isinstance(cause, DBAPIError):
        return False
    said = str(cause.orig)
    return getattr(cause.orig, "pgcode", None) in PASSING or "database is locked" in said


@contextmanager
def _quiet() -> Iterator[None]:
    """nbgrader logs a traceback for each thing that is then tried again."""
    logger = logging.getLogger("tornado.application")
    before = logger.disabled
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = before
