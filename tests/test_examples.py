"""The examples are verified as `backprop verify` does: a sample of everything, behind the wall."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from grading.verify import mutants
from grading.verify.case import read_solution, unsolved
from grading.verify.run import cases_of, judged
from grading.workers.batch import grade_entries
from grading.workers.jobs import Job
from harness.course.assignments import DECLARATION, load_assignment, module_of, use_course
from harness.course.settings import Settings
from harness.judging.validation import validate

ROOT = Path(__file__).resolve().parent.parent
COURSE = ROOT / "examples"
SKELETON = ROOT / "grading" / "courses" / "skeleton"
NAMES = sorted(path.parent.name for path in COURSE.glob(f"solutions/*/{DECLARATION}"))


@pytest.fixture
def course():
    """The course of the examples, in this process."""
    use_course(COURSE)
    yield COURSE / "solutions"
    use_course(None)


def nothing(doing, done, of):
    """Progress that nobody watches."""


def test_there_are_twenty_operations_and_more():
    stages = [stage for name in NAMES for stage in load_assignment(name, declared(name)).stages]
    assert len({stage.name for stage in stages}) >= 20


def declared(name):
    return COURSE / "solutions" / name / DECLARATION


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_declaration_of_an_example_is_valid(name):
    validate(load_assignment(name, declared(name)))


@pytest.mark.slow
def test_the_types_of_all_declarations_are_right(tmp_path):
    """That of `backprop new` among them; `mypy` itself refuses several files of one name."""
    for name in NAMES:
        shutil.copyfile(declared(name), tmp_path / f"{module_of(name)}.py")
    shutil.copyfile(SKELETON / "assignment.py.txt", tmp_path / "skeleton.py")
    command = [sys.executable, "-m", "mypy", "--config-file", ROOT / "pyproject.toml", tmp_path]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.startswith(f"Success: no issues found in {len(NAMES) + 1} "), done.stdout


@pytest.mark.proof
@pytest.mark.parametrize("name", NAMES)
def test_a_sample_of_everything_is_right_behind_the_wall(name, course, zygote, monkeypatch):
    """The whole of it is ``backprop verify --course examples``."""
    monkeypatch.setattr(mutants, "MOST_SOURCES", 6)
    assignment, solution = load_assignment(name), read_solution(course / name)
    handout = unsolved(solution, assignment)
    cases = cases_of(assignment, solution, handout, Settings(), zygote, nothing)
    kinds = Counter(each.kind for each in cases)
    assert kinds["control"] >= 15 and kinds["mistake"] > 50
    assert kinds["source"] >= 3 * len(assignment.stages)

    def behind_the_wall(entries):
        return grade_entries(entries, Job(name, Settings(), 0), 2, zygote)

    verdicts = judged(cases[:4] + cases[4::97], behind_the_wall, nothing)
    off = {each.case.name: each.why for each in verdicts if each.outcome == "off"}
    assert off == {}
