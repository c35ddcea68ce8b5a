"""Marks as tables that Canvas and Moodle import as they are."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from grading.results.lines import Result, inert
from grading.results.roster import finder, table_rows
from harness.errors import UserError

CANVAS = ("Student", "ID", "SIS User ID", "SIS Login ID", "Section")
# By which of Canvas's columns a submission's name is looked up, in this order.
KEYS = ("SIS Login ID", "SIS User ID", "ID", "Student")
POINTS_POSSIBLE = "    Points Possible"


def moodle(results: Iterable[Result], column: str) -> str:
    """A row a submission: its name as ``username``, the mark, and what to mend.

    Marks that are open are left out, so that an import changes nothing there.
    """
    head = ["username", column, f"{column} (feedback)"]
    rows = [
        [inert(result.submission), _mark(result), inert(_feedback(result))]
        for result in results
        if result.score is not None
    ]
    return _table([head, *rows])


def canvas(results: Sequence[Result], column: str, roster: Path | None) -> str:
    """The columns of Canvas's own gradebook export, with one column of marks.

    ``roster`` is such an export: its rows are kept as they are, and every submission must be of
    somebody in it. Without one, submissions go by their names as ``SIS Login ID``. Raises
    UserError where the roster cannot be used.
    """
    most = f"{max((result.max_score for result in results), default=0.0):g}"
    head = [*CANVAS, column]
    possible = [POINTS_POSSIBLE, *[""] * (len(CANVAS) - 1), most]
    if roster is None:
        names = [inert(result.submission) for result in results]
        people = [[name, "", "", name, ""] for name in names]
        marks = [_mark(result) for result in results]
    else:
        people = _people(roster)
        marks = _marks_of(people, results, roster)
    body = [[*person, mark] for person, mark in zip(people, marks, strict=True)]
    return _table([head, possible, *body])


def _people(roster: Path) -> list[list[str]]:
    """The students in a gradebook that Canvas exported."""
    try:
        text = roster.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{roster} cannot be read as UTF-8 text: {error}.") from None
    head, *found = table_rows(roster, text) or [[]]
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
    """The mark of each person, in their order; empty for those who handed nothing in."""
    find = finder([[person[CANVAS.index(key)] for key in KEYS] for person in people])
    found: dict[int, str] = {}
    strangers: list[str] = []
    for result in results:
        place = find(result.submission)
        if place is None:
            strangers.append(result.submission)
        else:
            found[place[0]] = _mark(result)
    if strangers:
        raise UserError(
            f"{roster} has nobody for {len(strangers)} of the submissions, such as "
            f"{strangers[0]!r}: their names must be a {', '.join(KEYS[:-1])} or student of it."
        )
    return [found.get(place, "") for place in range(len(people))]


def _mark(result: Result) -> str:
    return "" if result.score is None else f"{result.score:g}"


def _feedback(result: Result) -> str:
    """What went wrong, as students read it, a line for each check."""
    wrong = [check for check in result.checks if check.outcome in ("failed", "error")]
    if not result.checks:
        return result.reason or ""
    return "\n".join(check.message or check.title for check in wrong)


def _table(rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue()
