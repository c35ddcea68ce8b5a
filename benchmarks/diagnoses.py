"""How often a wrong gradient gets a formula, whether the formula holds, and what that costs.

Run as ``python -m benchmarks.diagnoses``: minutes. Known mistakes, formulas made by rule and fresh
mistakes (written without a look at the rules) are judged, stage by stage; then known mistakes are
graded behind the wall, and the time that reading them takes is set against all of it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from unittest.mock import patch

import click
from rich.console import Console
from rich.table import Table

from grading.parsing.source import read_source
from grading.sandbox import LEVELS, open_spawner
from grading.submissions.reading import Submission
from grading.verify.case import read_solution
from grading.verify.writing import stage_text
from grading.workers.grader import grade_submission
from harness.course.assignments import load_assignment
from harness.course.report import Check
from harness.course.settings import Settings
from harness.course.stage import Stage
from harness.expressions.variants import variants_of
from harness.formulas.same import same_as_true
from harness.judging.diagnosis import Reading, readings
from harness.mistakes import mistakes_in
from harness.probes.context import StageContext
from tests.diagnosing import (
    FRESH,
    OWN,
    STAGES,
    candidate_for,
    fresh_candidate,
    gradient_checks,
    is_named_so,
    own_candidate,
    own_checks,
    reproduces,
)

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Wrong:
    """A wrong gradient, its check, and how it was made: by name where it has one."""

    stage: Stage
    gradient: str
    candidate: type
    check: Check
    name: str = ""
    has_formula: bool = True


def known() -> Iterator[Wrong]:
    """The mistakes that teachers know."""
    for assignment, stage in STAGES:
        for mistake in mistakes_in(stage):
            if mistake.gradients:
                candidate = candidate_for(
                    assignment, stage, mistake.gradients, mistake.forward, mistake.code
                )
                for name, check in gradient_checks(assignment, stage, candidate).items():
                    yield Wrong(stage, name, candidate, check, mistake.name)


def by_rule() -> Iterator[Wrong]:
    """True gradients changed in one place."""
    for assignment, stage in STAGES:
        for name in stage.inputs:
            for variant in variants_of(stage, name):
                if not same_as_true(stage, name, variant.expression):
                    candidate = candidate_for(assignment, stage, {name: variant.expression})
                    check = gradient_checks(assignment, stage, candidate)[name]
                    yield Wrong(stage, name, candidate, check)


def fresh(name: str) -> Iterator[Wrong]:
    """Mistakes written for the purpose, one set of them; some have no formula."""
    for entry in FRESH[name]:
        stage, candidate = fresh_candidate(entry)
        for of, check in gradient_checks(entry["assignment"], stage, candidate).items():
            if of in entry["wrong"]:
                yield Wrong(stage, of, candidate, check, has_formula=bool(entry["formula"].get(of)))


def own() -> Iterator[Wrong]:
    """Mistakes in the stages that the examples declare, written from the declarations alone."""
    for entry in OWN:
        stage, candidate = own_candidate(entry)
        for of, check in own_checks(stage, candidate).items():
            if of in entry["wrong"]:
                yield Wrong(stage, of, candidate, check, has_formula=of in entry["formula"])


SETS: dict[str, Callable[[], Iterator[Wrong]]] = {
    "known mistakes": known,
    "made by rule": by_rule,
    "examples' stages": own,
    **{f"fresh, {name}": partial(fresh, name) for name in FRESH},
}


def _row(name: str, found: list[Wrong]) -> tuple[str, ...]:
    failed = [each for each in found if each.check.outcome == "failed"]
    # A number where a tensor belongs is told so; there is no value to read.
    failed = [each for each in failed if "where a tensor belongs" not in each.check.message]
    closed = [each for each in failed if each.has_formula]
    read = [each for each in failed if each.check.diagnosis]
    hold = [each for each in read if _holds(each)]
    named = [each for each in read if each.name]
    right = [
        each
        for each in named
        if each.check.diagnosis and is_named_so(each.check.diagnosis.mistake, each.name)
    ]
    got = sum(each.has_formula for each in read)
    return (
        name,
        str(len(failed)),
        f"{got} of {len(closed)} ({got / len(closed):.1%})",
        f"{len(hold)} of {len(read)}",
        f"{len(right)} of {len(named)}" if named else "",
    )


def _holds(wrong: Wrong) -> bool:
    assert wrong.check.diagnosis
    formula = wrong.check.diagnosis.formula
    return bool(reproduces(wrong.stage, wrong.gradient, wrong.candidate, formula))


def _costs() -> Mapping[str, list[float]]:
    """Of submissions with a known mistake each: seconds to grade them, and to read them."""
    spent: list[float] = []

    def timed(context: StageContext, names: Sequence[str]) -> dict[str, Reading]:
        start = time.process_time()
        try:
            return readings(context, names)
        finally:
            spent[-1] += time.process_time() - start

    costs: dict[str, list[float]] = {"grading": [], "reading": []}
    with (
        patch("harness.judging.judge.readings", timed),
        open_spawner(LEVELS) as spawner,
    ):
        for turn in range(2):
            for submission, assignment in _submissions():
                spent.append(0.0)
                graded = grade_submission(
                    submission, load_assignment(assignment), Settings(), 0, spawner
                )
                if turn:
                    costs["grading"].append(graded.result.seconds.cpu - spent[-1])
                    costs["reading"].append(spent[-1])
    return costs


def _submissions() -> Iterator[tuple[Submission, str]]:
    """Every fourth known mistake, after the solution."""
    for assignment, stage in STAGES:
        solution = read_solution(ROOT / "solutions" / assignment)
        for mistake in [each for each in mistakes_in(stage) if each.gradients][::4]:
            code = stage_text(stage, mistake.gradients, forward=mistake.forward, code=mistake.code)
            source = read_source(solution.name, solution.followed_by(code))
            yield Submission(mistake.name, "", source=source), assignment


@click.command()
def main() -> None:
    """Prints the shares of wrong gradients that get a formula, and what reading them costs."""
    console = Console()
    table = Table("", "wrong", "with a formula", "that hold", "named as made")
    for name, make in SETS.items():
        with console.status(name):
            table.add_row(*_row(name, list(make())))
    console.print(table)
    costs = _costs()
    reading, grading = sum(costs["reading"]), sum(costs["grading"])
    console.print(
        f"Reading takes {1e3 * statistics.median(costs['reading']):.1f} ms of processor time in "
        f"the median, {reading / grading:.1%} of what grading {len(costs['grading'])} "
        "submissions takes without it."
    )


if __name__ == "__main__":
    main()
