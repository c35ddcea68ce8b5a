"""Downloads as learning platforms make them, of a class whose names are odd."""

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

FIRST = (
    *("Ann", "Zoë", "José", "Mary Jane", "Łukasz", "Đorđe", "Søren", "李", "Ngọc Ánh", "Siân"),
    *("Jean-Luc", "Ana María", "Ürün", "Máté", "Olga", "Bo", "X Æ", "Noor", "Ali", "Hassan"),
)
LAST = (
    *("Roe", "O'Roe", "Roe-Li", "van der Berg", "Müller", "de la Cruz", "Ng", "小龙", "Ó Briain"),
    *("St. John", "Nguyễn", "Smith Jr.", "Ali", "Hassan", "Åberg", "Doe", "D'Angelo", "Yu"),
)


@dataclass(frozen=True)
class Student:
    """Somebody in a class, with what each platform knows of them."""

    first: str
    last: str
    login: str
    number: str
    id: int
    participant: int

    @property
    def sortable(self) -> str:
        return f"{self.last}, {self.first}"

    @property
    def full(self) -> str:
        return f"{self.first} {self.last}"

    @property
    def email(self) -> str:
        return f"{self.login}@example.edu"


def a_class(random: Random, size: int) -> list[Student]:
    """People with different names, some of whose logins look like numbered or joined names."""
    pairs = random.sample([(first, last) for first in FIRST for last in LAST], size)
    students = []
    for at, (first, last) in enumerate(pairs):
        plain = re.sub("[^a-z]", "", unicodedata.normalize("NFKD", (first[0] + last).lower()))
        odd = (f"{plain or 'x'}{at}", f"{plain}_{at}", f"{plain}{at}-1", f"u{at:05}")
        students.append(
            Student(first, last, odd[at % 4], f"{900_000 + at}", 4_000 + 7 * at, 77_000 + 3 * at)
        )
    return students


def canvas(students: list[Student], random: Random) -> Iterator[tuple[str, Student]]:
    for at, one in enumerate(students):
        name = re.sub(r"[\W]", "", one.sortable.lower())
        late = "_LATE" if at % 5 == 0 else ""
        file = random.choice(("hw1.py", "hw1-1.ipynb", "many_neurons_2.py", "2_hw.py", "a b.ipynb"))
        yield f"{name}{late}_{one.id}_{880_000 + at}_{file}", one


def moodle(students: list[Student], random: Random) -> Iterator[tuple[str, Student]]:
    for one in students:
        name = re.sub(r"['\"`/&<>:|\\]", "", one.full).replace("_", " ")
        form = random.choice(("file/hw_1.py", "file_/hw1.py", "file_hw1.ipynb", "file/src/a_b.py"))
        yield f"{name}_{one.participant}_assignsubmission_{form}", one


def blackboard(students: list[Student], random: Random) -> Iterator[tuple[str, Student]]:
    for at, one in enumerate(students):
        time = f"2025-02-03-14-{at % 60:02}-09"
        yield f"HW_1 neurons_{one.login}_attempt_{time}_{random.choice(('a.py', 'a_b.ipynb'))}", one


def brightspace(students: list[Student], random: Random) -> Iterator[tuple[str, Student]]:
    for at, one in enumerate(students):
        form = random.choice(("/a.py", " - a.py", "/src/a.py"))
        yield f"{at + 40}-88 - {one.full} - Oct {at % 28 + 1}, 2025 {at % 9 + 1}05 PM{form}", one


def sakai(students: list[Student], random: Random) -> Iterator[tuple[str, Student]]:
    del random
    for one in students:
        apart = unicodedata.normalize("NFKD", one.sortable)
        name = apart.encode("ascii", "ignore").decode()
        yield f"HW 1/{name}({one.login})/Submission attachment(s)/a.py", one


def classroom(students: list[Student], random: Random) -> Iterator[tuple[str, Student]]:
    for one in students:
        taken = random.choice(("", "", "", "-2"))
        yield f"hw1-submissions/hw1-{one.login}{taken}/src/a.py", one


def gradescope(students: list[Student], random: Random) -> Iterator[tuple[str, Student]]:
    del random
    for at, one in enumerate(students):
        yield f"assignment_7_export/submission_{9_000 + at}/a.py", one


def nbgrader(students: list[Student], random: Random) -> Iterator[tuple[str, Student]]:
    del random
    for at, one in enumerate(students):
        yield f"{one.login}+ps1+2025-02-03 14:05:{at % 60:02}.1 UTC/ps1.ipynb", one


def teams(students: list[Student], random: Random) -> Iterator[tuple[str, Student]]:
    for one in students:
        yield f"Submitted files/{one.full}/HW 1/Version {random.choice((1, 2, 11))}/a.py", one


Maker = Callable[[list[Student], Random], Iterator[tuple[str, Student]]]
PLATFORMS: dict[str, Maker] = {
    "Canvas": canvas,
    "Moodle": moodle,
    "Blackboard": blackboard,
    "Brightspace": brightspace,
    "Sakai": sakai,
    "GitHub Classroom": classroom,
    "Gradescope": gradescope,
    "nbgrader": nbgrader,
    "Microsoft Teams": teams,
}


def metadata(students: list[Student]) -> str:
    """What Gradescope puts beside the submissions."""
    lines = ["---"]
    for at, one in enumerate(students):
        lines += [
            f"submission_{9_000 + at}:",
            "  :submitters:",
            f'  - :name: "{one.full}"',
            f"    :sid: '{one.number}'",
            f"    :email: {one.email}",
            f"  :created_at: 2025-02-03 14:{at % 60:02}:09.123456789 Z",
        ]
    return "\n".join(lines) + "\n"


def roster_of(platform: str, students: list[Student]) -> tuple[list[str], list[list[str]]]:
    """The headings and rows of the platform's own table."""
    match platform:
        case "Canvas":
            head = ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "HW 1 (12)"]
            rows = [["    Points Possible", "", "", "", "", "10"]]
            rows += [[s.sortable, str(s.id), s.number, s.login, "1", ""] for s in students]
        case "Moodle":
            head = ["Identifier", "Full name", "Email address", "Status", "Grade"]
            rows = [[f"Participant {s.participant}", s.full, s.email, "", ""] for s in students]
        case "Blackboard":
            head = ["Last Name", "First Name", "Username", "Student ID", "HW 1 |664617"]
            rows = [[s.last, s.first, s.login, s.number, ""] for s in students]
        case "Brightspace":
            head = ["OrgDefinedId", "Username", "Last Name", "First Name", "HW 1 Points Grade"]
            rows = [[f"#{s.number}", f"#{s.login}", s.last, s.first, ""] for s in students]
        case "Gradescope":
            head = ["First Name", "Last Name", "SID", "Email", "Sections", "Total Score"]
            rows = [[s.first, s.last, s.number, s.email, "", ""] for s in students]
        case "GitHub Classroom":
            head = ["identifier", "github_username", "github_id", "name"]
            rows = [[s.email, s.login, str(s.id), s.full] for s in students]
        case "Microsoft Teams":
            head = ["First Name", "Last Name", "Email Address", "HW 1", "Points"]
            rows = [[s.first, s.last, s.email, "", ""] for s in students]
        case _:
            head = ["student_id", "last_name", "first_name", "email"]
            rows = [[s.login, s.last, s.first, s.email] for s in students]
    return head, rows
