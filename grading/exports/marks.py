"""Marks as tables that Canvas and Moodle import as they are."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from grading.results.lines import Result, inert, mark_cell
from grading.results.roster import finder, table_rows
from harness.errors import UserError

CANVAS = ("Student", "ID", "SIS User ID", "SIS Login ID", "Section")
# By which of Canvas's columns a submission's name is looked up, in this order.
KEYS = ("SIS Login ID", "SIS User ID", "ID", "Student")
POINTS_POSSIBLE = "    Points Possible"


def moodle(results: Iterable[Result], column: str) -> str:
    """Return a table with a row per submission: its name as ``username``, the mark, the feedback.

    Open marks are omitted, so that an import does not change them.
    """
    head = ["username", column, f"{column} (feedback)"]
    rows = [
        [inert(result.submission), mark_cell(result.score), inert(_feedback(result))]
        for result in results
        if result.score is not None
    ]
    return _table([head, *rows])


def canvas(results: Sequence[Result], column: str, roster: Path | None) -> str:
    """Return a table with the columns of Canvas's own gradebook export and one of marks.

    ``roster`` is such an export: its rows are kept, and every submission must belong to a student
    in it. Without one, a submission's name is the ``SIS Login ID``. Raise UserError if the
    roster cannot be used.
    """
    most = f"{max((result.max_score for result in results), default=0.0):g}"
    head = [*CANVAS, column]
    possible = [POINTS_POSSIBLE, *[""] * (len(CANVAS) - 1), most]
    if roster is None:
        names = [inert(result.submission) for result in results]
        people = [[name, "", "", name, ""] for name in names]
        marks = [mark_cell(result.score) for result in results]
    else:
        people = _people(roster)
        marks = _marks_of(people, results, roster)
    body = [[*person, mark] for person, mark in zip(people, marks, strict=True)]
    return _table([head, possible, *body])


def _people(roster: Path) -> list[list[str]]:
    """Return the students in a gradebook that Canvas exported."""
    head, *found = table_rows(roster) or [[]]
    rows = [dict(zip(head, row, strict=False)) for row in found if row]
    missing = [name for name in CANVAS if not rows or name not in head]
    if missing:
        raise UserError(
            f"{roster} has no column {missing[0]!r}: give the gradebook as Canvas exports it."
        )
    named = [[row.get(name, "") for name in CANVAS] for row in rows]
    return [row for row in named if row[0].strip() and row[0] != POINTS_POSSIBLE and any(row[1:])]


def _marks_of(
    people: Sequence[Sequence[str]], results: Sequence[Result], roster: Path
) -> list[str]:
    """Return the mark of each person, in their order; empty for those without a submission."""
    find = finder([[person[CANVAS.index(key)] for key in KEYS] for person in people])
    found: dict[int, str] = {}
    unknown: list[str] = []
    for result in results:
        place = find(result.submission)
        if place is None:
            unknown.append(result.submission)
        else:
            found[place[0]] = mark_cell(result.score)
    if unknown:
        raise UserError(
            f"{roster} has no student for {len(unknown)} of the submissions, such as "
            f"{unknown[0]!r}: rename them to a {', '.join(KEYS[:-1])} or student in it."
        )
    return [found.get(place, "") for place in range(len(people))]


def _feedback(result: Result) -> str:
    """Return what went wrong, as students read it, a line per check."""
    if not result.checks:
        return result.reason or ""
    wrong = [check for check in result.checks if check.outcome in ("failed", "error")]
    return "\n".join(check.message or check.title for check in wrong)


def _table(rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue()
