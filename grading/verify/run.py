"""`backprop verify`: grade all cases of an assignment and compare with what is expected."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grading.results.lines import Result
from grading.sandbox import LEVELS, Spawner, open_spawner, open_zygote
from grading.sandbox.temporary import room
from grading.submissions.reading import Entry
from grading.verify.case import Case, Solution, read_solution, unsolved
from grading.verify.controls import controls_for
from grading.verify.hints import hints_of, hints_of_pairs
from grading.verify.mutants import mutants_of
from grading.verify.verdicts import Verdict, verdict_on
from grading.workers.batch import grade_entries
from grading.workers.jobs import Job
from harness.course.assignment import Assignment
from harness.course.assignments import (
    DECLARATION,
    is_declared,
    load_assignment,
    release_in,
    source_of,
)
from harness.course.settings import Settings, settings_beside
from harness.judging.validation import validate
from harness.probes import plan

Progress = Callable[[str, int, int], None]
Judge = Callable[[Sequence[Entry]], Iterator[Result]]


@dataclass(frozen=True)
class Proof:
    """The verdicts on all cases of one assignment."""

    assignment: str
    seed: int
    checks: tuple[str, ...]
    verdicts: tuple[Verdict, ...]

    @property
    def off(self) -> tuple[Verdict, ...]:
        """The verdicts that show the judge, the solution or the handout to be wrong."""
        return tuple(verdict for verdict in self.verdicts if verdict.outcome == "off")

    def as_dict(self) -> dict[str, Any]:
        """Return the proof as JSON-ready data."""
        return {
            "assignment": self.assignment,
            "seed": self.seed,
            "verdicts": [verdict.as_dict() for verdict in self.verdicts],
        }


def verify(course: Path, name: str, workers: int, seed: int, progress: Progress) -> Proof:
    """Verify the assignment ``name`` of the course in the folder ``course``.

    ``progress`` is called with what is being done, how much of it is done, and how much there is.
    Raise UserError for a declaration that cannot be used, or if there is no usable solution,
    handout or settings file.
    """
    source = source_of(name, course)
    assignment = load_assignment(name, source / DECLARATION)
    settings = settings_beside(source, name)
    validate(assignment)
    plan(assignment, settings)
    solution = read_solution(source)
    handout = _handout(source, release_in(course) / source.name, solution, assignment)
    with (
        open_zygote(LEVELS, settings.packages) or nullcontext() as zygote,
        nullcontext(zygote) if zygote else open_spawner() as spawner,
    ):

        def judge(entries: Sequence[Entry]) -> Iterator[Result]:
            return grade_entries(entries, Job(name, settings, seed), workers, zygote)

        cases = cases_of(assignment, solution, handout, settings, spawner, progress)
        verdicts = judged(cases, judge, progress)
        cases = [*hints_of(assignment, solution, verdicts)]
        for stage in assignment.stages:
            cases += hints_of_pairs(stage, solution)
        verdicts += judged(cases, judge, progress)
    checks = tuple(check.id for check in plan(assignment, settings))
    return Proof(name, seed, checks, verdicts)


def _handout(source: Path, released: Path, solution: Solution, assignment: Assignment) -> Solution:
    """Return what students get: as released, or as it would be if the solution is a module."""
    if is_declared(source) and solution.suffix == ".py" and not released.exists():
        return unsolved(solution, assignment)
    return read_solution(released)


def cases_of(
    assignment: Assignment,
    solution: Solution,
    handout: Solution | None,
    settings: Settings,
    spawner: Spawner,
    progress: Progress,
) -> list[Case]:
    """Return everything to judge: the solution, the handout, the controls and the mutants."""
    found = [Case("solution", "solution", solution.suffix, solution.data)]
    if handout:
        found.append(Case("handout", "handout", handout.suffix, handout.data))
    for number, (text, code) in enumerate(controls_for(assignment), start=1):
        data = solution.followed_by(code)
        found.append(Case(f"control {number:03}", "control", solution.suffix, data, text))
    for mutant in mutants_of(assignment, solution, spawner, settings.limits):
        found.append(mutant)
        progress("Making mutants", len(found), 0)
    return found


def judged(cases: Sequence[Case], judge: Judge, progress: Progress) -> tuple[Verdict, ...]:
    """Return the verdicts on the cases, in their order. What several have alike is judged once."""
    results: dict[str, Result] = {}
    first = {each.data: each for each in reversed(cases)}
    with tempfile.TemporaryDirectory(dir=room()) as folder:
        for result in judge([_entry(Path(folder), each) for each in first.values()]):
            results[result.submission] = result
            progress("Judging", len(results), len(first))
    return tuple(verdict_on(each, results[first[each.data].name]) for each in cases)


def _entry(folder: Path, case: Case) -> Entry:
    path = folder / (case.name.replace("/", "-").replace(" ", "-") + case.suffix)
    path.write_bytes(case.data)
    return Entry(case.name, (str(path),))
