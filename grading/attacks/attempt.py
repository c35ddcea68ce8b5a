"""Grade the class of attackers with the real command, and report what was contained."""

import os
import re
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from grading.attacks import ASSIGNMENT, Attack, attacks
from grading.attacks.files import NAMES, make_files
from grading.confined.locks import adopt_orphans
from grading.confined.software import PACKAGE_ROOT
from grading.sandbox import Isolation
from grading.sandbox.temporary import room

SECRET = "a-secret-of-the-grader's"
# Limits that keep loops short; the marks of other submissions do not depend on them.
SETTINGS = f'assignment = "{ASSIGNMENT}"\n[limits]\ncall_seconds = 1.0\nsubmission_seconds = 20.0\n'
TRACES = ("/tmp/backprop-attack", "/dev/shm/backprop-attack")
BACKPROP = (sys.executable, "-m", "grading.cli")


class AttackError(Exception):
    """Grading ended without results; the text is what it said."""


@dataclass(frozen=True)
class Attempted:
    """The outcome of grading the class once, at one isolation level."""

    course: Path
    said: str
    code: int
    results: dict[str, dict[str, Any]]
    knocks: int
    left_running: set[int]


@dataclass(frozen=True)
class Verdict:
    """Whether one attack, or what all of them could reach, was contained; if not, ``why``."""

    numbers: tuple[int, ...]
    attempt: str
    stopped_by: str
    why: str = ""


class Doors(ExitStack):
    """Listeners that no student's process may reach: TCP, UDP and an abstract socket."""

    def __init__(self) -> None:
        super().__init__()
        self.tcp = self.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.udp = self.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self.udp.bind(("127.0.0.1", 0))
        self.abstract = f"backprop-attack-{os.getpid()}"
        self.local = self.enter_context(socket.socket(socket.AF_UNIX))
        self.local.bind(f"\0{self.abstract}")
        self.local.listen()

    def knocks(self) -> int:
        """Count the listeners that something has connected to."""
        return len(select.select((self.tcp, self.udp, self.local), (), (), 0)[0])

    def written_into(self, text: str, course: Path, project: Path) -> str:
        """Return an attack's text with the addresses of its targets filled in."""
        places = {
            "@COURSE@": str(course),
            "@PROJECT@": str(project),
            "@TCP@": str(self.tcp.getsockname()[1]),
            "@UDP@": str(self.udp.getsockname()[1]),
            "@ABSTRACT@": self.abstract,
        }
        return re.sub("@[A-Z]+@", lambda match: places[match[0]], text)


def attempt(
    course: Path,
    level: Isolation,
    *,
    names: Collection[str] = (),
    command: Sequence[str] = BACKPROP,
    project: Path = PACKAGE_ROOT,
    prepared: Callable[[], None] = lambda: None,
) -> Attempted:
    """Grade the attackers with these ``names``, or all, in the empty folder ``course``.

    ``project`` is where the packages that ``command`` runs are; ``prepared`` is called when all
    files are there. Processes left running become children of this one. Raise AttackError if
    grading wrote no results.
    """
    adopt_orphans()
    before = _own_children()
    with Doors() as doors:
        _lay_out(course, doors, project, names or attacks())
        prepared()
        options = ["--assignment", ASSIGNMENT, "--out", "out", "--isolation", level]
        done = subprocess.run(
            [*command, "grade", "class", *options],
            cwd=course,
            env=os.environ | {"HOME": str(course), "COLUMNS": "100", "BACKPROP_SECRET": SECRET},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        knocks = doors.knocks()
    said = done.stdout.decode(errors="replace")
    path = course / "out" / "results.jsonl"
    if not path.is_file():
        raise AttackError(said)
    lines = map(msgspec.json.decode, path.read_bytes().splitlines())
    results = {line["submission"]: line for line in lines}
    return Attempted(course, said, done.returncode, results, knocks, _left_running(before))


def attempt_here(level: Isolation) -> list[Verdict]:
    """Grade all attackers at a level, in a temporary folder, and return the verdicts.

    Raise AttackError if grading wrote no results.
    """
    with tempfile.TemporaryDirectory(dir=room()) as name:
        course = Path(name).resolve()
        # Isolation keeps attackers out, not the permissions of this folder.
        course.chmod(0o755)
        return verdicts(attempt(course, level))


def verdicts(attempted: Attempted) -> list[Verdict]:
    """Return the verdict on each attack, by number, and on what all of them could reach."""
    tried = sorted(attacks().items(), key=lambda item: (item[1].numbers, item[0]))
    found = [
        Verdict(attack.numbers, attack.attempt, attack.stopped_by, _not_contained(attack, result))
        for name, attack in tried
        if (result := attempted.results.get(name)) and attack.numbers
    ]
    return found + [Verdict((), what, "all of these", why) for what, why in _reached(attempted)]


def told(result: dict[str, Any]) -> str:
    """Return all that a student reads of a result, one text per line."""
    lines = [each["text"] for each in result["advice"]]
    lines += [check["message"] for check in result["checks"]]
    return "\n".join([*lines, result.get("reason") or ""])


def wrong(result: dict[str, Any]) -> dict[str, str]:
    """Return the checks of a result that failed or ended in an error, with their outcome."""
    outcomes = {check["id"]: check["outcome"] for check in result["checks"]}
    return {id: each for id, each in outcomes.items() if each in ("failed", "error")}


def traces() -> list[Path]:
    """Return the files that attackers left outside the course."""
    return [path for path in map(Path, TRACES) if path.exists()]


def _lay_out(course: Path, doors: Doors, project: Path, names: Collection[str]) -> None:
    """Write a course with the class of attackers, and canaries."""
    folder = course / "class"
    folder.mkdir()
    for name in set(names) - NAMES:
        text = doors.written_into(attacks()[name].text, course, project)
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    make_files(folder, names)
    (course / "canary.txt").write_text(SECRET)
    settings = course / "solutions" / ASSIGNMENT / "assignment.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text(SETTINGS)


def _not_contained(attack: Attack, result: dict[str, Any]) -> str:
    """Return why an attack was not contained, or "" if it was."""
    text = told(result)
    for line in text.splitlines():
        if "Through" in line or SECRET in line:
            return line
    for flag in result["flags"]:
        if "LEAKED" in flag["evidence"]:
            return f"its own text is shown as evidence: {flag['evidence']}"
    if result["status"] not in ("graded", "unreadable"):
        return f"its mark is open: {result.get('reason') or result['status']}"
    if result["status"] == "graded" and attack.status == "unreadable":
        return "it was graded, and should have been refused"
    passed = {each["id"] for each in result["checks"] if each["outcome"] == "passed"}
    if earned := passed & set(attack.wrong):
        return f"it passed {', '.join(sorted(earned))}"
    return ""


def _reached(attempted: Attempted) -> Iterator[tuple[str, str]]:
    results = attempted.results
    ordinary = {name: each.wrong for name, each in attacks().items() if not each.numbers}
    moved = [name for name, expected in ordinary.items() if wrong(results[name]) != expected]
    yield "Change the mark of an ordinary submission.", ", ".join(moved)
    yield "Reach a listening socket.", f"{attempted.knocks} were reached" * bool(attempted.knocks)
    running = f"{len(attempted.left_running)} are still there" * bool(attempted.left_running)
    yield "Leave a process running.", running
    yield "Leave a file outside.", ", ".join(map(str, traces()))
    canary = attempted.course / "canary.txt"
    kept = canary.is_file() and canary.read_text() == SECRET
    yield "Change a file of the grader's.", "" if kept else f"{canary} has changed"


def _own_children() -> set[int]:
    tasks = Path("/proc/self/task").iterdir()
    return {int(pid) for task in tasks for pid in (task / "children").read_text().split()}


def _left_running(before: set[int]) -> set[int]:
    """Return the new children of this process that do not end within a minute."""
    until = time.monotonic() + 60
    while left := _own_children() - before:
        ended = {pid for pid in left if os.waitpid(pid, os.WNOHANG)[0]}
        if left == ended or time.monotonic() > until:
            return left - ended
        time.sleep(0.05)
    return set()
