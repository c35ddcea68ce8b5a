"""Other graders, each in an environment of its own, on the same submissions as notebooks."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.meter import ROOT, Command, Usage
from benchmarks.mix import Submission
from benchmarks.styles import STAGES, stub

ENVIRONMENTS = ROOT / ".peers"
CONSTRAINTS = ROOT / "constraints.txt"
# Besides torch and numpy. What constraints.txt does not pin is pinned here.
PACKAGES = {
    "nbgrader": ("nbgrader", "ipykernel"),
    "otter": ("otter-grader[grading]==7.0.0",),
    "pytest": ("pytest",),
}
DISTRIBUTIONS = {"nbgrader": "nbgrader", "otter": "otter-grader", "pytest": "pytest"}
# At these sizes more threads only burn processor time: it is in the peers' favour.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
NAME = "neurons"
TESTS = {
    "weighted_sum": ("WeightedSum",),
    "sigmoid": ("Sigmoid",),
    "squared_error": ("SquaredError",),
    "training": STAGES,
}


class PeerError(Exception):
    """A peer cannot be had or set up; the text says why."""


@dataclass(frozen=True)
class Prepared:
    """Commands that judge submissions, and how to read who got full marks once they have run."""

    commands: Sequence[Command]
    full_marks: Callable[[Usage], Mapping[str, bool]]


class Peer:
    """One of the peers in ``workspace``. Raises PeerError where it cannot be had or set up."""

    def __init__(self, name: str, workspace: Path) -> None:
        self.name = name
        self._bin = _environment(name) / "bin"
        self._place = workspace / name
        self._count = 0
        shutil.rmtree(self._place, ignore_errors=True)
        library = self._place / "library"
        library.mkdir(parents=True)
        shutil.copy(Path(__file__).with_name("peer_checks.py"), library)
        shutil.copy(ROOT / "harness" / "training" / "data" / "digits.npz", library)
        self._env = {**self._own_env(), **ONE_THREAD, "PYTHONPATH": str(library)}
        {"nbgrader": self._set_up_nbgrader, "otter": self._set_up_otter}.get(
            name, self._set_up_pytest
        )()

    @property
    def version(self) -> str:
        """What is installed."""
        code = f"import importlib.metadata as m; print(m.version({DISTRIBUTIONS[self.name]!r}))"
        return subprocess.run(
            [self._bin / "python", "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()

    def prepare(self, submissions: Sequence[Submission], at_once: int) -> Prepared:
        """Lays the submissions out anew, as if none had been graded."""
        self._count += 1
        place = self._place / f"run-{self._count}"
        how = {"nbgrader": self._prepare_nbgrader, "otter": self._prepare_otter}
        return how.get(self.name, self._prepare_pytest)(place, submissions, at_once)

    def _own_env(self) -> dict[str, str]:
        """Away from what the user has set up: kernels, settings, other environments."""
        places = {
            name: str(self._place / name.lower())
            for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
        }
        path = f"{self._bin}{os.pathsep}{os.environ.get('PATH', '')}"
        return {**places, "IPYTHONDIR": str(self._place / "ipython"), "PATH": path}

    def _run(self, cwd: Path, *argv: str) -> None:
        done = subprocess.run(
            [self._bin / argv[0], *argv[1:]],
            cwd=cwd,
            env={**os.environ, **self._env},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise PeerError(f"{' '.join(argv)}: {(done.stderr or done.stdout).strip()[-500:]}")

    def _command(self, cwd: Path, *argv: str, **env: str) -> Command:
        return Command([str(self._bin / argv[0]), *argv[1:]], str(cwd), {**self._env, **env})

    def _set_up_nbgrader(self) -> None:
        course = self._place / "course"
        source = course / "source" / NAME
        source.mkdir(parents=True)
        (course / "nbgrader_config.py").write_text(
            f"c = get_config()\nc.CourseDirectory.course_id = {NAME!r}\n", encoding="utf-8"
        )
        _write(source / f"{NAME}.ipynb", _notebook(_solution_cell(), *_hidden_tests()))
        self._run(course, "nbgrader", "generate_assignment", NAME)

    def _prepare_nbgrader(
        self, place: Path, submissions: Sequence[Submission], at_once: int
    ) -> Prepared:
        courses = [place / f"course-{number}" for number in range(at_once)]
        for number, course in enumerate(courses):
            shutil.copytree(self._place / "course", course)
            released = json.loads(
                (course / "release" / NAME / f"{NAME}.ipynb").read_text(encoding="utf-8")
            )
            for each in submissions[number::at_once]:
                released["cells"][0]["source"] = each.code
                _write(course / "submitted" / each.name / NAME / f"{NAME}.ipynb", released)
        commands = [self._command(course, "nbgrader", "autograde", NAME) for course in courses]
        return Prepared(commands, lambda _: self._exported(courses))

    def _exported(self, courses: Sequence[Path]) -> dict[str, bool]:
        marks: dict[str, bool] = {}
        for course in courses:
            self._run(course, "nbgrader", "export")
            with (course / "grades.csv").open(encoding="utf-8", newline="") as file:
                for row in csv.DictReader(file):
                    marks[row["student_id"]] = row["score"] == row["max_score"]
        return marks

    def _set_up_otter(self) -> None:
        tests = self._place / "tests"
        tests.mkdir()
        for test, stages in TESTS.items():
            given = ", ".join(stages)
            code = (
                "import peer_checks\nfrom otter.test_files import test_case\n\n"
                f"OK_FORMAT = False\nname = {test!r}\npoints = 1\n\n\n"
                f"@test_case(hidden=True)\ndef test_{test}({given}):\n"
                f"    peer_checks.check_{test}({given})\n"
            )
            (tests / f"{test}.py").write_text(code, encoding="utf-8")
        self._run(self._place, "otter", "generate", "-t", "tests", "-o", "autograder.zip")

    def _prepare_otter(
        self, place: Path, submissions: Sequence[Submission], _at_once: int
    ) -> Prepared:
        commands = []
        for each in submissions:
            folder = place / each.name
            _write(folder / f"{NAME}.ipynb", _notebook(_cell(each.code)))
            zipped = str(self._place / "autograder.zip")
            options = ("-a", zipped, "-o", str(folder), "--no-logo", f"{NAME}.ipynb")
            commands.append(self._command(folder, "otter", "run", *options))
        return Prepared(commands, lambda _: _otter_marks(place, submissions))

    def _set_up_pytest(self) -> None:
        code = (
            "import importlib.util\nimport os\n\nimport peer_checks\nimport pytest\n\n\n"
            '@pytest.fixture(scope="module")\ndef student():\n'
            '    path = os.environ["SUBMISSION"]\n'
            '    spec = importlib.util.spec_from_file_location("submission", path)\n'
            "    module = importlib.util.module_from_spec(spec)\n"
            "    spec.loader.exec_module(module)\n    return module\n"
        )
        for test, stages in TESTS.items():
            given = ", ".join(f"student.{stage}" for stage in stages)
            code += f"\n\ndef test_{test}(student):\n    peer_checks.check_{test}({given})\n"
        (self._place / "test_submission.py").write_text(code, encoding="utf-8")

    def _prepare_pytest(
        self, place: Path, submissions: Sequence[Submission], _at_once: int
    ) -> Prepared:
        place.mkdir()
        commands = []
        for each in submissions:
            path = place / f"{each.name}.py"
            path.write_text(each.code, encoding="utf-8")
            options = ("-q", "-p", "no:cacheprovider", "test_submission.py")
            commands.append(self._command(self._place, "pytest", *options, SUBMISSION=str(path)))
        names = [each.name for each in submissions]
        return Prepared(
            commands,
            lambda usage: {name: code == 0 for name, code in zip(names, usage.codes, strict=True)},
        )


def _environment(name: str) -> Path:
    """The peer's virtual environment, made if it is not there as it should be."""
    place = ENVIRONMENTS / name
    wanted = "\n".join((sys.version, *PACKAGES[name], CONSTRAINTS.read_text(encoding="utf-8")))
    stamp = place / "installed.txt"
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return place
    print(f"Installing {name} into {place.relative_to(ROOT)}", file=sys.stderr, flush=True)
    ENVIRONMENTS.mkdir(exist_ok=True)
    (ENVIRONMENTS / ".gitignore").write_text("*\n", encoding="utf-8")
    packages = ("torch", "numpy", *PACKAGES[name])
    pip = ("-m", "pip", "install", "-qq", "--disable-pip-version-check", "-c", str(CONSTRAINTS))
    for argv in (
        [sys.executable, "-m", "venv", "--clear", str(place)],
        [str(place / "bin" / "python"), *pip, *packages],
    ):
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode:
            raise PeerError(f"{name} could not be installed: {done.stderr.strip()[-500:]}")
    stamp.write_text(wanted, encoding="utf-8")
    return place


def _otter_marks(place: Path, submissions: Sequence[Submission]) -> dict[str, bool]:
    marks: dict[str, bool] = {}
    for each in submissions:
        results = place / each.name / "results.json"
        if results.is_file():
            tests = json.loads(results.read_text(encoding="utf-8"))["tests"]
            scored = [test for test in tests if test.get("max_score")]
            marks[each.name] = all(test["score"] == test["max_score"] for test in scored)
    return marks


def _solution_cell() -> dict[str, object]:
    code = "import torch\nfrom torch.autograd import Function\n\n\n"
    mark = {"grade": False, "grade_id": "classes", "locked": False, "solution": True}
    body = "\n\n".join(stub(stage) for stage in STAGES)
    return _cell(f"### BEGIN SOLUTION\n{code}{body}### END SOLUTION", mark)


def _hidden_tests() -> list[dict[str, object]]:
    cells = []
    for test, stages in TESTS.items():
        call = f"peer_checks.check_{test}({', '.join(stages)})"
        mark = {"grade": True, "grade_id": test, "locked": True, "solution": False, "points": 1}
        code = f"import peer_checks\n### BEGIN HIDDEN TESTS\n{call}\n### END HIDDEN TESTS"
        cells.append(_cell(code, mark))
    return cells


def _cell(code: str, mark: Mapping[str, object] | None = None) -> dict[str, object]:
    metadata = {"nbgrader": {**mark, "schema_version": 3, "task": False}} if mark else {}
    return {
        "cell_type": "code",
        "execution_count": None,
        "metadata": metadata,
        "outputs": [],
        "source": code,
    }


def _notebook(*cells: Mapping[str, object]) -> dict[str, object]:
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {
        "cells": list(cells),
        "metadata": {"kernelspec": kernel},
        "nbformat": 4,
        "nbformat_minor": 4,
    }


def _write(path: Path, notebook: Mapping[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(notebook), encoding="utf-8")
