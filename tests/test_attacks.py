"""A class of attackers, graded among ordinary students: none gains, harms or leaves a trace.

Each attacker does its work right, or wrong in one stage, and attacks by the way. An attack that
gets through shows itself: it raises `Through`, which would stand in the advice, or reaches one of
the canaries laid out here.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.hostile_class import bombs
from tests.users import ORDINARY, PROJECT, as_ordinary_user, needs

CLASS = PROJECT / "tests" / "hostile_class"
SUBMISSIONS = sorted((CLASS / "submissions").iterdir())
EXPECTED = tomllib.loads((CLASS / "expected.toml").read_text(encoding="utf-8"))
SECRET = "a-secret-of-the-grader's"
# Limits that keep loops short; the marks of no other submission depend on them.
SETTINGS = 'assignment = "many-neurons"\n[limits]\ncall_seconds = 1.0\n'
PR_SET_CHILD_SUBREAPER = 36
TRACES = ("/tmp/backprop-attack", "/dev/shm/backprop-attack", "/dev/shm/psm_*")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux locks processes down"),
]
CONFIGURATIONS = [
    pytest.param((level, user), id=f"{level}-{user}")
    for level in ("full", "partial")
    for user in ("root", "ordinary")
]

# What locks, limits and processes of their own stop is tried at each level as each user, beside the
# ordinary submissions. The judge and the parser are the same everywhere: each level and each user
# has once what those stop.
THE_WALL = re.compile("Landlock|seccomp|RLIMIT|bubblewrap|SIGKILL|a fork|fresh child")
ORDINARY_WORK = ("right", "right-too", "wrong")
WITH_ALL = {("full", "root"), ("partial", "ordinary")}


@dataclass(frozen=True)
class Graded:
    """What came of grading the class once, at one isolation level, as one user."""

    level: str
    course: Path
    said: str
    code: int
    results: dict[str, dict]
    knocks: int
    left_running: set[int]

    def expected(self) -> Iterator[tuple[str, dict, dict]]:
        """The name of each submission, what is expected of it, and what came of it."""
        for name, result in self.results.items():
            yield name, EXPECTED[name], result


class Doors:
    """Listeners that no student's process may reach: TCP, UDP and an abstract socket."""

    def __init__(self) -> None:
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", 0))
        self.abstract = f"backprop-attack-{os.getpid()}"
        self.local = socket.socket(socket.AF_UNIX)
        self.local.bind(f"\0{self.abstract}")
        self.local.listen()

    def __enter__(self) -> Doors:
        return self

    def __exit__(self, *_error: object) -> None:
        for door in (self.tcp, self.udp, self.local):
            door.close()

    def knocks(self) -> int:
        """How many of the doors somebody has come to."""
        return sum(map(self._has_visitor, (self.tcp, self.udp, self.local)))

    def _has_visitor(self, door: socket.socket) -> bool:
        door.setblocking(False)
        try:
            if door is self.udp:
                door.recv(1)
            else:
                door.accept()[0].close()
        except BlockingIOError:
            return False
        return True

    def written_into(self, text: str, course: Path) -> str:
        """An attacker's text, told where its victims are."""
        places = {
            "@COURSE@": str(course),
            "@PROJECT@": str(PROJECT),
            "@TCP@": str(self.tcp.getsockname()[1]),
            "@UDP@": str(self.udp.getsockname()[1]),
            "@ABSTRACT@": self.abstract,
        }
        return re.sub("@[A-Z]+@", lambda match: places[match[0]], text)


def is_for_the_wall(name: str) -> bool:
    return name in ORDINARY_WORK or bool(THE_WALL.search(EXPECTED[name]["stopped_by"]))


def lay_out(course: Path, doors: Doors, *, everything: bool) -> None:
    """A course with the attackers' class in it, and canaries."""
    folder = course / "class"
    folder.mkdir()
    for path in SUBMISSIONS:
        if not everything and not is_for_the_wall(path.stem):
            continue
        text = doors.written_into(path.read_text(encoding="utf-8"), course)
        (folder / path.name).write_text(text, encoding="utf-8")
    if everything:
        bombs.make(folder)
    (course / "canary.txt").write_text(SECRET)
    settings = course / "solutions" / "many-neurons" / "assignment.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text(SETTINGS)


def own_children() -> set[int]:
    tasks = Path("/proc/self/task").iterdir()
    return {int(pid) for task in tasks for pid in (task / "children").read_text().split()}


def left_running(before: set[int]) -> set[int]:
    """The new children of ours that do not end by themselves, within a while."""
    until = time.monotonic() + 60
    while left := own_children() - before:
        ended = {pid for pid in left if os.waitpid(pid, os.WNOHANG)[0]}
        if left == ended or time.monotonic() > until:
            return left - ended
        time.sleep(0.05)
    return set()


def grade(level: str, user: str, course: Path) -> Graded:
    """Grades the class by the real command. What it leaves running becomes our child."""
    if level == "full":
        needs("bwrap")
    if user == "root" and os.geteuid():
        pytest.skip("only root can grade as root")
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    before = own_children()
    with Doors() as doors:
        lay_out(course, doors, everything=(level, user) in WITH_ALL)
        prefix: list[str] = []
        if user == "ordinary":
            prefix = as_ordinary_user()
            give_away(course)
        options = ["--assignment", "many-neurons", "--out", "out", "--isolation", level]
        done = subprocess.run(
            [*prefix, sys.executable, "-m", "grading.cli", "grade", "class", *options],
            cwd=course,
            env=os.environ
            | {"PYTHONPATH": str(PROJECT), "HOME": str(course), "COLUMNS": "100"}
            | {"BACKPROP_SECRET": SECRET},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=600,
        )
        knocks = doors.knocks()
    said = done.stdout.decode(errors="replace")
    path = course / "out" / "results.jsonl"
    assert path.is_file(), said
    lines = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    results = {line["submission"]: line for line in lines}
    return Graded(level, course, said, done.returncode, results, knocks, left_running(before))


def give_away(course: Path) -> None:
    if os.geteuid():
        return
    for path in (course, *course.rglob("*")):
        os.chown(path, ORDINARY, ORDINARY, follow_symlinks=False)


@pytest.fixture(scope="module", params=CONFIGURATIONS)
def graded(request: pytest.FixtureRequest) -> Iterator[Graded]:
    with tempfile.TemporaryDirectory(prefix="hostile-") as name:
        course = Path(name)
        course.chmod(0o755)
        level, user = request.param
        yield grade(level, user, course)


def told(result: dict) -> str:
    """All that a student reads of a result, a line each."""
    lines = [each["text"] for each in result["advice"]]
    lines += [check["message"] for check in result["checks"]]
    return "\n".join([*lines, result.get("reason") or ""])


def wrong(result: dict) -> dict[str, str]:
    outcomes = {check["id"]: check["outcome"] for check in result["checks"]}
    return {id: each for id, each in outcomes.items() if each in ("failed", "error")}


def test_every_submission_has_its_line_and_the_run_succeeds(graded):
    handed_in = {path.stem for path in (graded.course / "class").iterdir()}
    assert set(graded.results) == handed_in, graded.said
    assert graded.code == 0, graded.said


def test_every_attack_gets_the_mark_that_its_work_deserves(graded):
    for name, entry, result in graded.expected():
        assert result["status"] == entry.get("status", "graded"), (name, result)
        assert result["score"] == pytest.approx(entry["score"]), (name, told(result))
        assert wrong(result) == entry.get("wrong", {}), (name, told(result))


def test_every_attack_is_stopped_and_its_student_told_by_what(graded):
    for name, entry, result in graded.expected():
        text = told(result)
        assert "Through" not in text, (name, text)
        for part in entry.get(f"told_{graded.level}", entry.get("told", [])):
            assert part in text, (name, part, text)


def test_ordinary_marks_are_those_without_attackers(graded):
    for name in ORDINARY_WORK[:2]:
        assert graded.results[name]["score"] == 10
        assert told(graded.results[name]).strip() == ""
    assert wrong(graded.results["wrong"]) == {"sigmoid/gradient/z": "failed"}


def test_no_hidden_input_no_secret_and_no_folder_is_told(graded):
    for name, result in graded.results.items():
        text = told(result)
        assert SECRET not in text, name
        assert str(graded.course) not in text, name
        assert str(PROJECT) not in text, name
        if "LEAKED" in text:
            assert name == "inputs-in-messages", (name, text)


def test_nobody_was_reached(graded):
    assert graded.knocks == 0


def test_nothing_is_left_behind(graded):
    assert graded.left_running == set()
    for pattern in TRACES:
        assert list(Path("/").glob(pattern.lstrip("/"))) == []
    out = {path.name for path in (graded.course / "out").iterdir()}
    published = {"results.jsonl", "grades.csv", "run.json", "report"}
    assert out == published | {"journal.jsonl", ".lock", ".seed"}
    assert not [path for path in graded.course.rglob("*attack*") if path.parent.name != "class"]


def test_what_is_printed_holds_no_escape_of_theirs(graded):
    assert "\x1b" not in graded.said
    assert "\u202e" not in graded.said


def test_what_was_expected_says_what_is_there():
    made = {path.rpartition(".")[0] for path in bombs.FILES} | {"link", "pipe", "shadows"}
    assert set(EXPECTED) == {path.stem for path in SUBMISSIONS} | made
    for name, entry in EXPECTED.items():
        assert set(entry) <= KEYS, name
        assert all(1 <= number <= 66 for number in entry["numbers"]), name
        assert entry["numbers"] or name in ORDINARY_WORK


def numbers_in(text: str) -> set[int]:
    """The numbers of "1–3, 12"."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.strip().partition("–")
        found |= set(range(int(first), int(last or first) + 1))
    return found


def test_the_documents_table_lists_what_the_class_attempts():
    document = (PROJECT / "docs" / "security.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([\d–, ]+) \|", document, re.MULTILINE)
    listed = [number for row in rows for number in sorted(numbers_in(row))]
    attempted = {number for entry in EXPECTED.values() for number in entry["numbers"]}
    assert len(listed) == len(set(listed))
    assert set(listed) == attempted
    # Neither can be shown by one submission, and no assignment has optimizers.
    assert set(range(1, 67)) - attempted == {35, 36, 62}
    assert "**35, 36:" in document


KEYS = {"numbers", "stopped_by", "score", "status", "wrong", "told", "told_partial"}
