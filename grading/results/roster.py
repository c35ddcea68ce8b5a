"""Who is in the class: a table exported by a course system, or a list of one's own."""

import csv
import io
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mode

from grading.errors import listed, refusals
from harness.course.numbers import plural
from harness.errors import UserError
from harness.show.visible import visible_line

# The headings of columns that submissions may be named by, in the order they are tried.
KEYS = (
    *("submission", "student_id", "sis login id", "sis user id", "username", "login"),
    *("id number", "id", "identifier", "github_username", "email address", "email"),
    *("student", "name"),
)
POINTS_POSSIBLE = "points possible"
# Students, each with the names that their submission may have, one in each column.
Roster = Sequence[Sequence[str]]


@dataclass(frozen=True)
class Attendance:
    """Students on a roster without a submission, and submissions of nobody on the roster."""

    missing: list[str]
    unknown: list[str]

    def lines(self) -> list[str]:
        """Return a sentence for the terminal about each of the two, if there are any."""
        missing, unknown = plural(len(self.missing), "student"), len(self.unknown)
        lines = (
            (self.missing, f"No submission from {missing} on the roster"),
            (self.unknown, f"{plural(unknown, 'submission')} not on the roster"),
        )
        return [f"{what}: {listed(names)}." for names, what in lines if names]


def attendance(roster: Roster, submissions: Iterable[str]) -> Attendance:
    """Compare the names of submissions with the roster."""
    find = finder(roster)
    found = {name: find(name) for name in submissions}
    places = [place for place in found.values() if place]
    came = {row for row, _ in places}
    # Name the missing students in the column that most submissions are named by.
    usual = mode(column for _, column in places) if places else 0
    missing = [_called(names, usual) for row, names in enumerate(roster) if row not in came]
    return Attendance(sorted(missing), [name for name, place in found.items() if not place])


def finder(people: Roster) -> Callable[[str], tuple[int, int] | None]:
    """Return a function that finds a name's row and column; None unless it is one person's."""
    columns: list[dict[str, int]] = []
    for names in zip(*people, strict=True):
        composed = list(map(_composed, names))
        counted = Counter(composed)
        columns.append({name: at for at, name in enumerate(composed) if counted[name] == 1})

    def find(name: str) -> tuple[int, int] | None:
        name = _composed(name)
        for column, places in enumerate(columns):
            if name in places:
                return places[name], column
        return None

    return find


def _composed(name: str) -> str:
    """Return the name as most systems write it: macOS takes an é apart in the names of files."""
    return unicodedata.normalize("NFC", name)


def read_roster(path: Path) -> Roster:
    """Read the roster in a CSV file. Raise UserError if it names no students."""
    rows = table_rows(path, ",;\t")
    headings = [heading.strip().lower() for heading in rows[0]] if rows else []
    columns = [headings.index(key) for key in KEYS if key in headings]
    if not columns:
        raise UserError(
            f"{path} has no column that identifies students. Add a column headed student, "
            "username, id or email whose values match the names of the submissions."
        )
    people = [[_cell(row, column) for column in columns] for row in rows[1:]]
    # Without empty rows, and Canvas's row of points.
    people = [each for each in people if {cell.lower() for cell in each} - {"", POINTS_POSSIBLE}]
    if not people:
        raise UserError(f"{path} has a header row but no students.")
    for person, count in Counter(map(tuple, people)).items():
        if count > 1:
            name = visible_line(_called(person, 0))
            raise UserError(f"{path} has {name} more than once: keep one.")
    return people


def table_rows(path: Path, separators: str = ",") -> list[list[str]]:
    """Return the rows of a CSV file with that one of ``separators`` which its first line has most.

    Raise UserError if it cannot be read, is not UTF-8 text, or has an unclosed quotation mark.
    """
    try:
        with refusals(path):
            text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text ({error}): save it as UTF-8.") from None
    head, _, _ = text.partition("\n")
    rows: list[list[str]] = []
    separator = max(separators, key=head.count)
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


def _cell(row: Sequence[str], column: int) -> str:
    return row[column].strip() if column < len(row) else ""


def _called(person: Sequence[str], column: int) -> str:
    return person[column] or next(filter(None, person))
