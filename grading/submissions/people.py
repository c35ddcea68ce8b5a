"""The people of a class: a roster as a course system exports it, or a list of one's own."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from grading.submissions.formats import Who
from grading.submissions.lateness import moment
from grading.submissions.tables import table
from harness.drawing.visible import visible_line
from harness.errors import UserError

# What a column holds, by its heading in the rosters of Canvas, Moodle, Blackboard, Brightspace,
# Sakai, Gradescope, GitHub Classroom and nbgrader. Of several columns of one kind all count.
KINDS: Mapping[str, Sequence[str]] = {
    "submission": ("submission",),
    "login": (
        *("sis login id", "username", "user name", "login", "login id", "eid", "student_id"),
        *("github username", "roster identifier"),
    ),
    "email": ("email", "email address", "e-mail", "e-mail address"),
    "number": (
        *("sis user id", "id number", "orgdefinedid", "org defined id", "sid", "student id"),
        *("student number", "matriculation number", "user id"),
    ),
    "id": ("id", "canvas user id"),
    "participant": ("identifier",),
    "name": ("student", "name", "full name", "fullname", "display name", "sort name"),
    "first": ("first name", "firstname", "given name"),
    "last": ("last name", "lastname", "surname", "family name"),
    "group": (
        *("group", "group name", "team"),
        *("groupe", "gruppe", "gruppo", "grupo", "groep", "grupp"),
    ),
    "file": ("file",),
    "extension": ("extension", "extended to", "extension until"),
    "time": ("submission timestamp", "submission time", "last modified (submission)"),
}
# Those by which somebody can be known, the surest first.
SURE = ("submission", "login", "email", "number", "id", "participant")
# What one system calls a login is another's number or email address: where a roster has no column
# of the one kind, the others stand for it.
ALIKE = ("login", "email", "number", "id", "submission")
NUMBERS = frozenset({"number", "id", "participant"})
# Rows other than people's: the points possible, and what else Canvas puts below its headings.
NO_PEOPLE = ("points possible", "manual posting", "test student", "student, test")
PARTICIPANT = re.compile(r"(\D*)(\d+)")
# Above a table's headings there can be titles, as in the grades.csv of Sakai's download.
TITLES = 4


@dataclass(frozen=True, eq=False)
class Person:
    """Somebody on the roster, by what kinds of names they have there. ``row`` is their line."""

    row: int
    known: Mapping[str, tuple[str, ...]]

    def first(self, *kinds: str) -> str:
        """Return what stands in the first of these columns that is not empty."""
        return next((each for kind in kinds for each in self.known.get(kind, ())), "")

    @property
    def label(self) -> str:
        """What the person's submission is called."""
        return self.first(*SURE, "name", "group")


@dataclass(frozen=True)
class Roster:
    """A class. Names are compared as they stand, then without regard to case, where that is one's.

    Composed and decomposed letters are the same: macOS takes an é apart in the names of files.
    ``notes`` say how the file was read.
    """

    people: Sequence[Person] = ()
    notes: Sequence[str] = ()
    _found: dict[str, Callable[[str], Person | None]] = field(default_factory=dict, repr=False)

    def find(self, kind: str, value: str) -> Person | None:
        """Return the one person who has that value in a column of that kind, if there is one."""
        if kind not in self._found:
            spell = _spelling(kind)
            known = [(one, spell(each)) for one in self.people for each in self._said(one, kind)]
            self._found[kind] = finder(known, spell)
        return self._found[kind](value) if value else None

    def agrees(self, one: Person, kind: str, value: str) -> bool:
        """Return whether that may be somebody's name; saving can have lost letters of it.

        It may where nothing of that kind is known.
        """
        names = self._said(one, kind)
        wanted = {form for rank in _spelling(kind)(value) for form in rank}
        return not names or any(
            wanted & {form for rank in _spelling(kind)(each) for form in rank}
            or re.fullmatch(re.sub(r"\\\?|\ufffd", ".", re.escape(composed(each))), composed(value))
            for each in names
        )

    def _said(self, one: Person, kind: str) -> Sequence[str]:
        """Return what the roster says of somebody where that kind of name is asked for."""
        of: Sequence[str] = ("name",) if kind == "squeezed" else (kind,)
        if kind in ALIKE[:3] and not any(kind in each.known for each in self.people):
            of = ALIKE
        return [value for each in of for value in one.known.get(each, ())]

    def find_any(self, value: str) -> Person | None:
        """Return the person with that value in the surest column that has it.

        What is the number of one person in one system and another's in another is nobody's.
        """
        found = {kind: one for kind in (*SURE, "name") if (one := self.find(kind, value))}
        if len({found[kind] for kind in NUMBERS if kind in found}) > 1 and found.keys() <= NUMBERS:
            return None
        return next(iter(found.values()), None)

    def called(self, value: str) -> list[Person]:
        """Return all people who have that value in any column that names them."""
        wanted = composed(value).casefold()
        return [
            one
            for one in self.people
            if any(
                composed(each).casefold() == wanted
                for kind in (*SURE, "name")
                for each in one.known.get(kind, ())
            )
        ]

    def members(self, group: str) -> tuple[Person, ...]:
        """Return the people of a group, by its name as it stands or squeezed; none if unknown."""
        return tuple(self._groups.get(composed(group).casefold(), {}).values())

    @cached_property
    def _groups(self) -> Mapping[str, Mapping[int, Person]]:
        found: defaultdict[str, dict[int, Person]] = defaultdict(dict)
        for one in self.people:
            for value in one.known.get("group", ()):
                for form in (composed(value).casefold(), squeezed(value)):
                    found[form][one.row] = one
        return found


def _spelling(kind: str) -> Callable[[str], Forms]:
    return {"name": name_forms, "squeezed": squeezed_forms}.get(kind, exact_forms)


# Forms of a name, the closest to how it stands first: each is looked for among those of its rank.
Forms = Sequence[Iterable[str]]


def finder(
    known: Sequence[tuple[Person, Forms]], spell: Callable[[str], Forms]
) -> Callable[[str], Person | None]:
    """Return a function that finds who alone has a form of a name."""
    ranks: list[defaultdict[str, dict[int, Person]]] = []
    for one, forms in known:
        for rank, texts in enumerate(forms):
            if rank == len(ranks):
                ranks.append(defaultdict(dict))
            for text in texts:
                ranks[rank][text][one.row] = one

    def find(value: str) -> Person | None:
        for rank, texts in zip(ranks, spell(value), strict=False):
            for text in texts:
                people = rank.get(text, {})
                if len(people) == 1:
                    return next(iter(people.values()))
                if people:
                    return None
        return None

    return find


def composed(name: str) -> str:
    """Return the name with composed letters and single spaces."""
    return " ".join(unicodedata.normalize("NFC", name).split())


def exact_forms(value: str) -> Forms:
    """Return the value, and the same in small letters. A leading # is Brightspace's."""
    plain = composed(value.removeprefix("#"))
    return [plain], [plain.casefold()]


def name_forms(name: str) -> Forms:
    """Return a full name, in small letters, and without the signs that platforms drop, as a set.

    "Roe, Ann" is also "Ann Roe".
    """
    plain = composed(name)
    last, comma, first = plain.partition(", ")
    both = [plain, f"{first} {last}"] if comma else [plain]
    words = sorted(re.sub(r"[^\w\s-]", "", unmarked(plain).replace("_", " ")).split())
    return both, [each.casefold() for each in both], [" ".join(words)]


def unmarked(name: str) -> str:
    """Return the name without accents and in small letters, as Sakai writes it."""
    apart = unicodedata.normalize("NFKD", name)
    return "".join(each for each in apart if not unicodedata.combining(each)).casefold()


def squeezed(name: str) -> str:
    """Return the small letters and digits of a name, as Canvas does: no signs and no spaces."""
    return re.sub(r"[^\w]", "", composed(name).casefold())


def squeezed_forms(name: str) -> Forms:
    """Return a name squeezed as it stands, then in every order of its words, then unmarked."""
    plain = composed(name)
    orders = [plain.replace(", ", " ")]
    parts = plain.replace(",", "").split()
    # A name in one order may be two words on one side: all ways to begin with some last words.
    turned = [" ".join(parts[at:] + parts[:at]) for at in range(len(parts))]
    forms = [squeezed(each) for each in (*orders, *turned)]
    # Canvas puts the last name first: without a comma or of one word, nothing says which that is.
    stands = forms[:1] if "," in plain or len(parts) == 1 else []
    return stands, forms, [squeezed(unmarked(each)) for each in (*orders, *turned)]


def read_roster(path: Path) -> Roster:
    """Read a class in a CSV file. Raise UserError if it names no students."""
    rows, encoding = table(path)
    top, kinds = columns(rows)
    if not {*kinds} & {*SURE, "name", "first", "last"}:
        raise UserError(
            f"{path} has no column that identifies students. Add a column headed student, "
            "username, id or email whose values match the names of the submissions."
        )
    people = [
        one
        for at, row in enumerate(rows[top + 1 :], start=top + 2)
        if (one := person(at, kinds, row))
    ]
    if not people:
        raise UserError(f"{path} has a header row but no students.")
    for same, count in Counter(tuple(one.known.items()) for one in people).items():
        if count > 1:
            name = visible_line(Person(0, dict(same)).label)
            raise UserError(f"{path} has {name} more than once: keep one.")
    for one in people:
        if (until := one.first("extension")) and not moment(until):
            raise UserError(
                f"{path}, line {one.row}: extension {visible_line(until)!r} is not a date and time "
                "such as 2026-03-09 23:59."
            )
    known = f"{path} is not UTF-8 and was read as {encoding}."
    return Roster(people, () if encoding.startswith("utf-8") else (known,))


def columns(rows: Sequence[Sequence[str]]) -> tuple[int, Sequence[str]]:
    """Return which row has a table's headings, and what each of its columns holds."""
    for top in range(min(len(rows), 1 + TITLES)):
        kinds = [kind_of(heading) for heading in rows[top]]
        for at, kind in enumerate(kinds):
            cells = [row[at].strip() for row in rows[top + 1 :] if at < len(row)]
            if not kind and _all(r"[^\s@]+@[^\s@]+", cells):
                kinds[at] = "email"
            elif at == 0 and kind in ("", "id") and _is_identifier(cells, kind):
                kinds[0] = "participant"
        if "first_name" in rows[top] and "login" not in kinds:
            kinds = ["login" if kind == "id" else kind for kind in kinds]  # nbgrader's students
        if kinds[:2] == ["participant", ""]:
            kinds[1] = "name"
        if {*kinds} & {*SURE, "name", "first", "last"}:
            return top, kinds
    return 0, ()


def _all(pattern: str, cells: Sequence[str]) -> bool:
    filled = [*filter(None, cells)]
    return bool(filled) and all(re.fullmatch(pattern, each) for each in filled)


def _is_identifier(cells: Sequence[str], kind: str) -> bool:
    """Return whether these are Moodle's in any language: one word, and each a number."""
    found = {each: PARTICIPANT.fullmatch(each) for each in cells if each}
    words = {each[1].strip() if each else "" for each in found.values()}
    word = words.pop() if len(words) == 1 and len(found) == len(cells) else ""
    # student1 and student2 in a column headed id are a list of one's own.
    return bool(word) and not (kind and word.isascii() and word.isalpha())


def kind_of(heading: str) -> str:
    """Return what a column with that heading holds, "" for what says nothing of a person."""
    plain = composed(heading).strip('\ufeff" ').casefold()
    spellings = {plain, plain.replace("_", " ")}
    return next((kind for kind, known in KINDS.items() if spellings & {*known}), "")


def person(at: int, kinds: Sequence[str], row: Sequence[str]) -> Person | None:
    """Return who a row is about; None for an empty one, and for a second row of headings."""
    known: defaultdict[str, list[str]] = defaultdict(list)
    for kind, cell in zip(kinds, row, strict=False):
        if kind and cell.strip():
            known[kind].append(cell.strip())
    if any(value.casefold() in NO_PEOPLE for value in known["name"]):
        return None
    if known["first"] or known["last"]:
        known["name"].append(", ".join([*known["last"][:1], *known["first"][:1]]))
    for at_value, value in enumerate(known["participant"]):
        # Moodle writes "Participant 512", and GitHub Classroom any name of a student.
        found = PARTICIPANT.fullmatch(value)
        if found:
            known["participant"][at_value] = found[2]
        else:
            known["login"].append(value)
    filled = {kind: tuple(values) for kind, values in known.items() if values}
    return Person(at, filled) if {*filled} & {*SURE, "name"} else None


def described(who: Who) -> Iterator[tuple[str, str]]:
    """Yield what a download says of somebody, the surest first."""
    kinds = ("login", "email", "number", "id", "participant", "name", "squeezed")
    yield from ((kind, value) for kind in kinds if (value := getattr(who, kind)))
