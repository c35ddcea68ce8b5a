"""A student's own check: one file, judged in a child process with deadlines."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from grading.errors import hinted
from grading.sandbox import Spawner
from grading.sandbox.remote import RemoteCandidate, with_second_try
from grading.selfcheck.work import Work
from grading.workers.grader import advice_on
from harness.course.assignments import module_of
from harness.course.settings import for_student
from harness.errors import UserError, did_you_mean
from harness.judging.judge import Judgement, judge
from harness.probes import plan


def check_stages(work: Work, stages: Sequence[str], spawner: Spawner) -> Judgement:
    """Judge a student's code, all of it or only the given stages.

    Raise UserError for a stage that the assignment does not have, or code that cannot be used.
    """
    assignment = work.assignment()
    known = [stage.name for stage in assignment.stages]
    known += [optimizer.name for optimizer in assignment.optimizers]
    known += [detective.name for detective in assignment.detectives]
    if unknown := [stage for stage in stages if stage not in known]:
        raise UserError(
            f"{work.name} has no stage {unknown[0]}; its stages are {', '.join(known)}."
            f"{did_you_mean(unknown[0], known)}"
        )
    planned = plan(assignment, work.settings)
    only = {check.id for check in planned if not stages or check.stage in stages}
    return check_work(work, only, spawner)


def check_work(work: Work, only: Iterable[str], spawner: Spawner) -> Judgement:
    """Make the checks named by ``only``; return the report as a student may see it.

    The training is part of what is returned, if it was run. Raise UserError for code that cannot
    be used.
    """
    assignment, wanted = work.assignment(), set(only)

    def judged(remote: RemoteCandidate) -> Judgement | str:
        if remote.definition.unusable:
            return hinted(remote.definition.unusable)
        made = judge(assignment, remote, settings=work.settings, only=wanted)
        advice = (*advice_on(remote), *made.report.advice)
        return replace(made, report=replace(made.report, advice=advice))

    source = work.source.written_for(module_of(work.name), assignment.pairs)
    verdict = with_second_try(spawner, source, work.settings.limits, judged)
    if isinstance(verdict, str):
        raise UserError(f"{work.file}: {verdict}")
    return replace(verdict, report=for_student(verdict.report, work.settings))
