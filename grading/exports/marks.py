"""Marks as tables that Canvas and Moodle import as they are.

What they read: lib/gradebook_importer.rb of instructure/canvas-lms, and of moodle/moodle
mod/assign/feedback/offline and grade/import/csv.
"""

import csv
import html
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from grading.errors import listed
from grading.results.lines import Result, inert, mark_cell
from grading.submissions.people import Person, Roster, columns, read_roster
from grading.submissions.tables import table
from harness.drawing.visible import visible_line
from harness.errors import UserError

CANVAS = ("Student", "ID", "SIS User ID", "SIS Login ID", "Section")
# All columns of a gradebook from Canvas that say who somebody is, and those that it finds them by.
WHO = (*CANVAS, "LastName", "FirstName", "Integration ID", "Root Account")
EXCUSED = "EX"
FOUND_BY = ("ID", "SIS User ID", "SIS Login ID")
POINTS_POSSIBLE = "    Points Possible"
# What Moodle's worksheet calls the columns that are read here.
GRADE, MOST, FEEDBACK = "Grade", "maximum grade", "feedback comments"


def moodle(results: Sequence[Result], column: str | None, worksheet: Path | None = None) -> str:
    """Return a table for Moodle. Open marks are omitted, so that an import does not change them.

    Without a grading ``worksheet`` of the assignment it has a row per submission: its name as
    ``username``, the mark, the feedback. With one it is that worksheet, filled in. Raise UserError
    if the worksheet cannot be used.
    """
    if worksheet:
        return _worksheet(results, column or GRADE, worksheet)
    column = column or results[0].assignment
    head = ["username", column, f"{column} (feedback)"]
    rows = [
        [inert(name), mark_cell(result.score), inert(_feedback(result))]
        for result in results
        if result.score is not None
        for name in result.students or [result.submission]
    ]
    return _for_moodle([head, *rows])


def canvas(results: Sequence[Result], column: str | None, gradebook: Path | None = None) -> str:
    """Return a table with the columns of Canvas's own gradebook export and one of marks.

    ``gradebook`` is such an export: its students are kept, with their mark so far if there is no
    new one. The ``column`` must be in it, with the same points possible, and every submission must
    belong to a student in it. Without one, a submission's name is the ``SIS Login ID``. Raise
    UserError if the gradebook cannot be used.
    """
    most = f"{max((result.max_score for result in results), default=0.0):g}"
    column = column or results[0].assignment
    if gradebook:
        return _gradebook(results, column, most, gradebook)
    names = [
        (inert(name), mark_cell(result.score))
        for result in results
        for name in result.students or [result.submission]
    ]
    body = [[name, "", "", name, "", mark] for name, mark in names]
    possible = [POINTS_POSSIBLE, *[""] * (len(CANVAS) - 1), most]
    return _table([[*CANVAS, column], possible, *body])


def _gradebook(results: Sequence[Result], column: str, most: str, path: Path) -> str:
    rows, _ = table(path)
    head = [heading.strip() for heading in rows[0]] if rows else []
    if not set(head) & set(FOUND_BY) or not set(head) & {"Student", "LastName"}:
        raise UserError(
            f"{path} has no column {FOUND_BY[0]!r}: give the gradebook as Canvas exports it."
        )
    at = _assignment(head, column, path)
    tops = (row[at] for row in rows if row[:1] and row[0].strip() == POINTS_POSSIBLE.strip())
    possible = next(tops, "")
    if possible.strip() and _number(possible) != float(most):
        raise UserError(
            f"{path}: {head[at]} has {possible.strip()} points possible and these marks have "
            f"{most}: change one of the two in Canvas or in assignment.toml."
        )
    who = [place for place, heading in enumerate(head) if heading in WHO]
    blank = [POINTS_POSSIBLE, *[""] * (len(who) - 1), most]
    roster = read_roster(path)
    marks = {
        row: mark_cell(results[place].score)
        for row, place in _places(results, roster, path).items()
    }
    body = [
        [*(rows[one.row - 1][place] for place in who), _cell(marks.get(one.row, ""), rows, one, at)]
        for one in roster.people
        if any(rows[one.row - 1][place].strip() for place in who[1:])
    ]
    return _table([[*(head[place] for place in who), head[at]], blank, *body])


def _cell(mark: str, rows: Sequence[Sequence[str]], one: Person, at: int) -> str:
    """Return the new mark, or what is there: no mark, or that somebody is excused."""
    row = rows[one.row - 1]
    before = row[at] if at < len(row) else ""
    return before if before.strip().upper() == EXCUSED else mark or before


def _number(cell: str) -> float | None:
    """Return a number as a system in any language writes it, None for what is none."""
    try:
        return float(cell.strip().replace(",", "."))
    except ValueError:
        return None


def _assignment(head: Sequence[str], column: str, path: Path) -> int:
    """Return the place of an assignment's column, which Canvas calls like ``Title (id)``."""
    titles = {at: heading for at, heading in enumerate(head) if re.search(r" \(\d+\)$", heading)}
    for spell in (str, _bare):
        found = [
            at
            for at, heading in titles.items()
            if spell(column) in (spell(heading), spell(heading.rpartition(" (")[0]))
        ]
        if len(found) == 1:
            return found[0]
    known = listed([repr(each) for each in titles.values()]) or "none"
    raise UserError(
        f"{path} has no column {column!r}, and Canvas would make a new assignment of it. Name one "
        f"with --column; its assignments: {known}."
    )


def _bare(title: str) -> str:
    return " ".join(re.findall(r"\w+", title.replace("_", " "))).casefold()


def _worksheet(results: Sequence[Result], column: str, path: Path) -> str:
    rows, _ = table(path)
    head = [heading.strip().strip("\ufeff") for heading in rows[0]] if rows else []
    if "participant" not in columns(rows)[1]:
        raise UserError(
            f"{path} has no column 'Identifier': give the grading worksheet that Moodle offers "
            "for the assignment."
        )
    if column not in head:
        raise UserError(
            f"{path} has no column {column!r} for the marks: name it with --column, one of "
            f"{listed(head, len(head))}."
        )
    small = [heading.casefold() for heading in head]
    for line, at in _places(results, read_roster(path), path).items():
        result, row = results[at], rows[line - 1]
        if result.score is None:
            continue
        # Beside the marks, in all languages.
        place = small.index(MOST) if MOST in small else head.index(column) + 1
        possible = row[place] if place < len(row) else ""
        if _number(possible) not in (None, result.max_score):
            raise UserError(
                f"{path}, line {line}: the maximum grade is {possible} and these marks have "
                f"{result.max_score:g}: change one of the two in Moodle or in assignment.toml."
            )
        row[head.index(column)] = mark_cell(result.score)
        if FEEDBACK in small:
            row[small.index(FEEDBACK)] = inert(_feedback(result))
    return _for_moodle(rows)


def _places(results: Sequence[Result], roster: Roster, path: Path) -> dict[int, int]:
    """Return which result each person has, by the row that they have in a platform's table."""
    found: dict[int, int] = {}
    unknown: list[str] = []
    for place, result in enumerate(results):
        people = [roster.find_any(name) for name in result.students or [result.submission]]
        for one in people:
            if one is None:
                unknown.append(result.submission)
            elif one.row in found:
                both = f"{results[found[one.row]].submission} and {result.submission}"
                raise UserError(f"{visible_line(both)} are both {one.label}'s: keep one.")
            else:
                found[one.row] = place
    if unknown:
        raise UserError(
            f"{path} has no student for {len(unknown)} of the submissions, such as "
            f"{visible_line(unknown[0])!r}: grade with --roster {path}, or rename them to a name "
            "that is in it."
        )
    return found


def _feedback(result: Result) -> str:
    """Return what went wrong, as students read it, a line per check. Moodle takes it as HTML."""
    wrong = [check for check in result.checks if check.outcome in ("failed", "error")]
    lines = [check.message or check.title for check in wrong] or [
        "" if result.checks else result.reason or ""
    ]
    return html.escape("\n".join(lines), quote=False).replace("\n", "<br>")


def _for_moodle(rows: Iterable[Sequence[str]]) -> str:
    """Return a table without a \\ before a quotation mark, after which PHP reads on."""
    return _table([[re.sub(r'\\+(?="|\Z)', r"\g<0> ", cell) for cell in row] for row in rows])


def _table(rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue()
