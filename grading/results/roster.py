"""Who is in the class: a table that a course system exported, or a list of one's own."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UserError
from harness.show.visible import visible_line

# The headings of columns that submissions may be named by; the first ones are looked at first.
KEYS = (
    *("submission", "student_id", "sis login id", "sis user id", "username", "login"),
    *("id number", "id", "identifier", "github_username", "email address", "email"),
    *("student", "name"),
)
POINTS_POSSIBLE = "points possible"
SHOWN = 10


@dataclass(frozen=True)
class Attendance:
    """Who on a roster has handed nothing in, and which submissions are of nobody on it."""

    missing: list[str]
    strangers: list[str]

    def said(self) -> list[str]:
        """It in sentences."""
        lines: list[str] = []
        if self.missing:
            names = _some(self.missing)
            lines.append(f"Handed nothing in: {len(self.missing)} on the roster ({names}).")
        if self.strangers:
            names = _some(self.strangers)
            lines.append(f"Not on the roster: {len(self.strangers)} of the submissions ({names}).")
        return lines


class Roster:
    """People, each with the names that a submission of theirs may go by, a column of each kind."""

    def __init__(self, people: Sequence[Sequence[str]]) -> None:
        self._people = people

    def attendance(self, submissions: Iterable[str]) -> Attendance:
        """Holds the names of submissions against the roster."""
        came: set[int] = set()
        columns: Counter[int] = Counter()
        strangers: list[str] = []
        find = finder(self._people)
        for name in submissions:
            place = find(name)
            if place is None:
                strangers.append(name)
            else:
                came.add(place[0])
                columns[place[1]] += 1
        # The others go by what most of those who came go by.
        usual = columns.most_common(1)[0][0] if columns else 0
        missing = [
            _called(person, usual) for place, person in enumerate(self._people) if place not in came
        ]
        return Attendance(sorted(missing), strangers)


def finder(people: Sequence[Sequence[str]]) -> Callable[[str], tuple[int, int] | None]:
    """Says whose a name is, and in which column; None where it is nobody's, or not one person's."""
    columns: list[dict[str, int]] = []
    for names in zip(*people, strict=True):
        counted = Counter(names)
        columns.append({name: at for at, name in enumerate(names) if counted[name] == 1})

    def find(name: str) -> tuple[int, int] | None:
        for column, places in enumerate(columns):
            if name in places:
                return places[name], column
        return None

    return find


def read_roster(path: Path) -> Roster:
    """The roster in a CSV file. Raises UserError where it names nobody."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as UTF-8 text: {error}.") from None
    head, _, _ = text.partition("\n")
    separator = max(",;\t", key=head.count)
    rows = table_rows(path, text, separator)
    headings = [heading.strip().lower() for heading in rows[0]] if rows else []
    columns = [headings.index(key) for key in KEYS if key in headings]
    if not columns:
        raise UserError(
            f"{path} has no column that names students: head one student, username, id or email, "
            "and have it hold what submissions are called."
        )
    people = [[_cell(row, column) for column in columns] for row in rows[1:]]
    people = [person for person in people if any(person) and not _is_heading(person)]
    if not people:
        raise UserError(f"{path} names nobody below its headings.")
    _refuse_twins(path, people)
    return Roster(people)


def table_rows(path: Path, text: str, separator: str = ",") -> list[list[str]]:
    """Return the rows of a table. Raises UserError for a quote that is not closed."""
    rows: list[list[str]] = []
    reader = csv.reader(io.StringIO(text), delimiter=separator, strict=True)
    line = 1
    try:
        for row in reader:
            rows.append(row)
            line = reader.line_num + 1
    except csv.Error as error:
        raise UserError(
            f"{path} cannot be read as a table ({error}): look for a stray quotation mark in line "
            f"{line}."
        ) from None
    return rows


def _refuse_twins(path: Path, people: Sequence[Sequence[str]]) -> None:
    counted = Counter(map(tuple, people))
    twins = [person for person, count in counted.items() if count > 1]
    if twins:
        name = visible_line(_called(twins[0], 0))
        raise UserError(f"{path} has {name} more than once: keep one.")


def _cell(row: Sequence[str], column: int) -> str:
    return row[column].strip() if column < len(row) else ""


def _is_heading(person: Collection[str]) -> bool:
    """Whether it is Canvas's row of points."""
    return {cell.lower() for cell in person if cell} == {POINTS_POSSIBLE}


def _called(person: Sequence[str], column: int) -> str:
    return person[column] or next(filter(None, person))


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return visible_line(", ".join(names[:SHOWN])) + more
