"""A student's own check: one file, judged in a child process with deadlines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from grading.errors import hinted
from grading.sandbox import Spawner
from grading.sandbox.remote import RemoteCandidate, settled
from grading.selfcheck.work import Work
from grading.workers.grader import definition_advice
from harness.course.assignments import load_assignment
from harness.course.visibility import for_student
from harness.errors import UserError
from harness.judging.judge import Judgement, judge
from harness.probes import Planned, plan


def check_stages(work: Work, stages: Sequence[str], spawner: Spawner) -> Judgement:
    """What is to be told of a student's code, all of it or the given stages only.

    Raises UserError for a stage that the assignment does not have, or code that is none.
    """
    known = [stage.name for stage in load_assignment(work.assignment).stages]
    strange = [stage for stage in stages if stage not in known]
    if strange:
        raise UserError(
            f"{work.assignment} has no stage {strange[0]}; its stages are {', '.join(known)}."
        )
    only = {check.id for check in checks_of(work) if not stages or check.stage in stages}
    return check_work(work, only, spawner)


def checks_of(work: Work) -> tuple[Planned, ...]:
    """The checks that are to be made of it. Raises UserError where the settings fit none."""
    return plan(load_assignment(work.assignment), work.settings)


def check_work(work: Work, only: Iterable[str], spawner: Spawner) -> Judgement:
    """What is to be told of the checks named by ``only``: the report as a student may see it, and
    the training, if it came to that. Raises UserError for code that is none.
    """
    wanted = set(only)

    def judged(remote: RemoteCandidate) -> Judgement | str:
        if remote.definition.unusable:
            return hinted(remote.definition.unusable)
        assignment = load_assignment(work.assignment)
        made = judge(assignment, remote, settings=work.settings, only=wanted)
        advice = (*definition_advice(remote.definition), *made.report.advice)
        return replace(made, report=replace(made.report, advice=advice))

    verdict = settled(spawner, work.source, work.settings.limits, judged)
    if isinstance(verdict, str):
        raise UserError(f"{work.file}: {verdict}")
    return replace(verdict, report=for_student(verdict.report, work.settings))
