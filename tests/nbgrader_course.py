"""A course in the real nbgrader, made by running docs/instructors.md as it is written."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests import nbgrader_class
from tests.users import PROJECT

SCRIPTS = Path(sys.executable).parent
NAME = "one-neuron"
GUIDE = PROJECT / "docs" / "instructors.md"
# Short loops, so that the endless one costs little.
SETTINGS = f'assignment = "{NAME}"\n[limits]\ncall_seconds = 1.0\n'
DUE = datetime(2020, 1, 1, tzinfo=UTC)
STUDENTS_OWN = ("fetch_assignment", "validate", "submit")
LATE = """
from nbgrader.plugins import BasePlugin

class OnePoint(BasePlugin):
    def late_submission_penalty(self, student_id, score, total_seconds_late):
        return 1.0
"""


@dataclass
class Said:
    """What came of a command."""

    code: int
    text: str
    command: str = ""


class Nbgrader:
    """nbgrader's commands, in an environment whose PATH has none of them, nor alembic."""

    def __init__(self, home: Path) -> None:
        self.environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": str(home),
            "PYTHONPATH": str(PROJECT),
            "OMP_NUM_THREADS": "1",
            "PYTHONWARNINGS": "ignore",
        }
        self._output = home / "output"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.nbgrader_commands"],
            cwd=PROJECT,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, arguments: Sequence[str], folder: Path) -> Said:
        """Runs a command in a folder, to its end."""
        order = {"arguments": arguments, "folder": str(folder), "output": str(self._output)}
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        code = int(self._process.stdout.readline())
        return Said(code, self._output.read_text(encoding="utf-8", errors="replace"))

    def close(self) -> None:
        """Ends it."""
        self._process.communicate()


@dataclass
class Course:
    """The folders of an instructor and of a student, and what each command said."""

    folder: Path
    student: Path
    nbgrader: Nbgrader
    said: list[Said] = field(default_factory=list)

    @property
    def gradebook(self) -> Path:
        return self.folder / "gradebook.db"

    def run(self, command: str, where: Path | None = None) -> Said:
        """Runs a command, and keeps what it said."""
        program, *rest = shlex.split(command)
        said = self.nbgrader.run(rest, where or self.folder) if program == "nbgrader" else None
        if said is None:
            found = SCRIPTS / program
            done = subprocess.run(
                [str(found) if found.is_file() else program, *rest],
                cwd=where or self.folder,
                env=self.nbgrader.environment,
                capture_output=True,
                text=True,
                check=False,
            )
            said = Said(done.returncode, done.stdout + done.stderr)
        said.command = command
        self.said.append(said)
        return said

    def notebook(self, step: str, student: str = "") -> dict[str, Any]:
        """A notebook of one of nbgrader's steps."""
        path = self.folder / step / student / NAME / f"{NAME}.ipynb"
        made: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return made

    def feedback(self, student: str) -> str:
        path = self.folder / "feedback" / student / NAME / f"{NAME}.html"
        return path.read_text(encoding="utf-8")

    def scores(self, student: str) -> dict[str, float | None]:
        """The automatic marks by cell, as the gradebook has them."""
        from nbgrader.api import Gradebook

        with Gradebook(f"sqlite:///{self.gradebook}") as gradebook:
            found = gradebook.find_submission_notebook(NAME, NAME, student)
            return {grade.name: grade.auto_score for grade in found.grades}


def _section(title: str) -> str:
    text = GUIDE.read_text(encoding="utf-8")
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    assert found
    return found[1]


def commands(section: str) -> list[str]:
    """The commands in a section of the guide: its indented lines."""
    prose = re.sub(r"^```.*?^```", "", _section(section), flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"^ {4}(\S.*)$", prose, re.MULTILINE)


def config(section: str) -> list[str]:
    """The Python in a section of the guide."""
    return re.findall(r"```python\n(.*?)```", _section(section), re.DOTALL)


def taken_through(root: Path, nbgrader: Nbgrader) -> Course:
    """A course of which every command in the guide's section has been run, in its order."""
    where = root / "downloads"
    where.mkdir()
    course = Course(root / "course", root / "student", nbgrader)
    course.student.mkdir()
    for command in commands("nbgrader"):
        words = command.split()
        if words[0] == "pip":
            continue  # it made the environment that this runs in
        if words[0] == "cd":
            where = (where / words[1]).resolve()
            _set_up(course.folder / "solutions" / NAME)
            _configure(course, root)
            continue
        _meanwhile(course, words)
        course.run(command, course.student if words[1] in STUDENTS_OWN else where)
    return course


def _set_up(solutions: Path) -> None:
    path = solutions / f"{NAME}.ipynb"
    notebook = json.loads(path.read_text(encoding="utf-8"))
    notebook["cells"].append(nbgrader_class.ANSWER)
    path.write_text(json.dumps(notebook), encoding="utf-8")
    (solutions / "assignment.toml").write_text(SETTINGS)


def _configure(course: Course, root: Path) -> None:
    two_lines, own = config("nbgrader")
    own = own.replace("/srv/nbgrader/exchange", str(root / "exchange"))
    path = course.folder / "nbgrader_config.py"
    text = path.read_text(encoding="utf-8")
    assert all(line in text for line in two_lines.splitlines())
    late = 'c.AssignLatePenalties.plugin_class = "late.OnePoint"\n'
    path.write_text(text + own + late, encoding="utf-8")
    (course.folder / "late.py").write_text(LATE)
    (course.student / "nbgrader_config.py").write_text(own)


def _meanwhile(course: Course, words: list[str]) -> None:
    """What people do before a command: hand things in, set a date."""
    match words[:2]:
        case ["nbgrader", "validate"]:
            fetched = course.student / NAME / f"{NAME}.ipynb"
            released = json.loads(fetched.read_text(encoding="utf-8"))
            work = nbgrader_class.solved(course.notebook("solutions"), released)
            fetched.write_text(json.dumps(work), encoding="utf-8")
        case ["nbgrader", "zip_collect"]:
            _download(course)
        case ["nbgrader", "autograde"]:
            from nbgrader.api import Gradebook

            with Gradebook(f"sqlite:///{course.gradebook}") as gradebook:
                gradebook.update_or_create_assignment(
                    NAME, duedate=datetime(2020, 1, 1, tzinfo=UTC)
                )


def _download(course: Course) -> None:
    """The class's notebooks, two of them in a zip as a learning platform gives it."""
    archive = course.folder / "downloaded" / NAME / "archive"
    archive.mkdir(parents=True)
    source, released = course.notebook("solutions"), course.notebook("assignments")
    made = nbgrader_class.notebooks(source, released, course.gradebook)
    with zipfile.ZipFile(archive / "download.zip", "w") as file:
        for student, text in made.items():
            name = f"{student}_2019-12-31-23-00-00_{NAME}.ipynb"
            if student in ("alice", "zoe"):
                file.writestr(name, text)
            else:
                (archive / name).write_text(text, encoding="utf-8")
