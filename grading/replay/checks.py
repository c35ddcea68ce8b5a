"""Run the failed checks on record again, and keep what they saw."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from grading.parsing.source import Unreadable
from grading.replay.transcript import Moment, Transcript
from grading.results.record import Record
from grading.sandbox import Spawner
from grading.sandbox.reader import Reader
from grading.sandbox.remote import RemoteCandidate, with_second_try
from grading.submissions.reading import sought
from harness.candidate.operations import Returned
from harness.course.assignment import Assignment
from harness.course.assignments import load_assignment, module_of
from harness.course.report import Check, Report
from harness.course.settings import SettingsError
from harness.errors import UserError
from harness.judging.judge import judge


@dataclass(frozen=True)
class Replay:
    """A check on record, its outcome now, and what it saw now of the case on record.

    ``cases`` are those of a detective's function.
    """

    recorded: Check
    now: Check
    moments: Sequence[Moment]
    cases: Sequence[Mapping[str, Returned]] = ()

    @property
    def same(self) -> bool:
        """Whether it has the recorded outcome."""
        return self.now.outcome == self.recorded.outcome


def replay_checks(record: Record, spawner: Spawner) -> tuple[Replay, ...]:
    """Run the checks of a record again on the same inputs.

    All others are run too, in order, as what one call leaves behind can affect another. Raise
    UserError if the code cannot be loaded, or the record does not fit this version.
    """
    assignment = load_assignment(record.run.assignment)
    report, transcript = _judged(record, assignment, spawner)
    made = {check.id: check for check in report.checks}
    replays: list[Replay] = []
    for check in record.checks:
        try:
            now, facts = made[check.id], check.case
            moments = transcript.moments(check.id, facts) if facts else []
            cases = transcript.cases.get(check.stage or "", ())
            replays.append(Replay(check, now, moments, cases))
        except LookupError:
            raise UserError(
                f"The inputs of {check.id} cannot be reproduced with this version; regrade "
                f"{record.result.submission}."
            ) from None
    return tuple(replays)


def _judged(record: Record, assignment: Assignment, spawner: Spawner) -> tuple[Report, Transcript]:
    settings, seed = record.run.settings, record.run.seed
    with Reader(spawner) as reader:
        try:
            file = record.result.file or ""
            source = reader.source(record.files, sought(assignment.name, file))
        except Unreadable as why:
            raise UserError(f"The code could not be read this time: {why}") from None

    def judged(remote: RemoteCandidate) -> tuple[Report, Transcript] | str:
        if remote.definition.unusable:
            return remote.definition.unusable
        transcript = Transcript(assignment, remote)
        judgement = judge(
            assignment, transcript, seed=seed, settings=settings, begin=transcript.begin
        )
        return judgement.report, transcript

    source = source.written_for(module_of(assignment.name), assignment.pairs)
    try:
        verdict = with_second_try(spawner, source, settings.limits, judged)
    except SettingsError as error:
        raise UserError(f"The settings on record do not fit this version: {error}") from None
    if isinstance(verdict, str):
        raise UserError(f"The code could not be loaded this time: {verdict}")
    return verdict
