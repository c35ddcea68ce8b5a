"""Grades one submission: its code behind the wall, the judge on this side."""

import re
import time
from collections.abc import Iterable
from contextlib import suppress

import msgspec
from msgspec import UNSET

from grading.confined.wire import LATER
from grading.parsing.source import Source
from grading.results.lines import OPEN, Result, Seconds, Status
from grading.sandbox import Spawner
from grading.sandbox.remote import CHAIN, DEFINITIONS, RemoteCandidate
from grading.submissions.reading import Submission
from grading.workers.jobs import Graded
from harness.candidate.operations import Raised
from harness.causes.explaining import explanation
from harness.course.assignment import Assignment
from harness.course.assignments import assignment_names, load_assignment, module_of
from harness.course.report import Advice, Flag
from harness.course.settings import Settings
from harness.errors import UserError
from harness.judging.judge import Judgement, judge
from harness.probes import plan

# A class or a function as code begins its definition.
_DEFINED = re.compile(r"^[^\S\n]*(?:class|def)[^\S\n]+(\w+)", re.MULTILINE)
# The kind of the flag for a process that something other than the grader or a limit has ended.
KILLED = "killed-by-the-system"


def grade_alone(
    submission: Submission, assignment: Assignment, settings: Settings, seed: int, spawner: Spawner
) -> Result:
    """Return the result of a submission that runs alone, of a second try if needed.

    Raise SpawnerError if the grader itself failed.
    """
    graded = grade_submission(submission, assignment, settings, seed, spawner)
    if graded.again:
        graded = grade_submission(submission, assignment, settings, seed, spawner, second=True)
    return graded.result


def grade_submission(
    submission: Submission,
    assignment: Assignment,
    settings: Settings,
    seed: int,
    spawner: Spawner,
    only: Iterable[str] | None = None,
    *,
    second: bool = False,
) -> Graded:
    """Return what one try comes to, with all checks or those that ``only`` names.

    A ``second`` try is final. Raise SpawnerError if the grader itself failed.
    """
    wall, cpu = time.perf_counter(), time.process_time()
    if submission.source is None:
        status: Status = "undecided" if submission.undecided else "unreadable"
        result = unmarked(submission, assignment, settings, status, submission.reason)
        return Graded(result, again=False)
    if other := other_work(submission.source, assignment):
        reason = (
            f"This looks like {other}, handed in as {assignment.name}. Grade it as {other}, or "
            "give a mark with `backprop override`."
        )
        return Graded(unmarked(submission, assignment, settings, "undecided", reason), again=False)
    source = submission.source.written_for(module_of(assignment.name), assignment.pairs)
    with RemoteCandidate(spawner, source, settings.limits, second=second) as remote:
        if unusable := remote.definition.unusable:
            result = unmarked(submission, assignment, settings, "unreadable", unusable)
            return Graded(msgspec.structs.replace(result, flags=_kills(remote)), remote.doubtful)
        judgement = judge(assignment, remote, seed=seed, settings=settings, only=only)
    seconds = Seconds(
        round(time.perf_counter() - wall, 4),
        round(time.process_time() - cpu + remote.cpu_seconds, 4),
    )
    return Graded(_result(submission, judgement, remote, seconds), remote.doubtful)


def _kills(remote: RemoteCandidate) -> list[Flag]:
    """Return a flag for each part of the work whose process was ended from outside."""
    return [
        Flag(
            KILLED,
            None if part in (CHAIN, DEFINITIONS) else part,
            f"The process of {part} was ended by {signal}, which neither the grader nor one of "
            "its limits sent; that part gets no points.",
        )
        for part, signal in remote.kills.items()
    ]


def other_work(source: Source, assignment: Assignment) -> str:
    """Return the other assignment that code is for, "" if there is none.

    It defines all that students write there, and nothing of what they write here.
    """
    cells = (*source.cells, *source.modules)
    defined = {name for cell in cells for name in _DEFINED.findall(cell.text)}
    if defined & {part for parts in assignment.parts for part in parts}:
        return ""
    for name in assignment_names():
        # A declaration that cannot be used is not in question here.
        with suppress(UserError):
            theirs = {part for parts in load_assignment(name).parts for part in parts}
            if name != assignment.name and theirs <= defined:
                return name
    return ""


def unmarked(
    submission: Submission,
    assignment: Assignment,
    settings: Settings,
    status: Status,
    reason: str,
    staff: str = "",
) -> Result:
    """Return the result if no check was made: no usable code, or a mark that stays open."""
    most = sum(check.max_points for check in plan(assignment, settings))
    return Result(
        submission=submission.name,
        assignment=assignment.name,
        status=status,
        reason=reason,
        staff=staff,
        score=None if status in OPEN else 0.0,
        max_score=round(most, 9),
        digest=submission.digest,
        seconds=Seconds(0.0, 0.0),
    )


def _result(
    submission: Submission, judgement: Judgement, remote: RemoteCandidate, seconds: Seconds
) -> Result:
    report = judgement.report
    return Result(
        submission=submission.name,
        assignment=report.assignment,
        status="graded",
        score=report.score,
        max_score=report.max_score,
        checks=list(report.checks),
        advice=[*advice_on(remote), *report.advice],
        flags=[*report.flags, *_kills(remote)],
        digest=submission.digest,
        seconds=seconds,
        file=remote.source.file or UNSET,
    )


def advice_on(remote: RemoteCandidate) -> list[Advice]:
    """Return which of several files was graded, and the first five statements that failed."""
    source, definition = remote.source, remote.definition
    others = ", ".join(source.passed_over)
    said = [f"{source.file} was graded, and not {others}."] if others else []
    for failed in definition.failed[:5]:
        if failed.kind == "stopped":
            said.append(f"The code at {failed.place} was skipped: {failed.text}.")
        elif failed.kind == "BdbQuit":
            said.append(
                f"The code at {failed.place} stopped in the debugger: remove the breakpoint."
            )
        elif failed.kind == LATER:
            said.append(f"The code at {failed.place} was run again at the end: {failed.text}.")
        else:
            text = f": {failed.text}" if failed.text else ""
            why = explanation(Raised(failed.kind, failed.text, failed.place))
            said.append(f"The code at {failed.place} raised {failed.kind}{text}. {why}".strip())
    more = len(definition.failed) - 5
    said += [f"{more} more statements failed."] if more > 0 else []
    return [Advice(None, text) for text in said]
