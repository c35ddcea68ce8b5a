"""Run the checks of an assignment on one candidate, in order, and report.

There are two sessions. One decides, on inputs that the seed draws. The other produces every word
that a student reads: it uses public inputs, and a process that has seen no hidden ones. Before the
first session it asks about the examples, and afterwards, where something failed, a fresh process.
"""

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from harness.candidate.operations import Candidate, Lost, Operation, Reply, Returns
from harness.cases.cases import PUBLIC_SEED
from harness.course.assignment import Assignment
from harness.course.report import Advice, Check, Outcome, Report
from harness.course.settings import Settings
from harness.judging.by_hand import examples_by_hand
from harness.judging.diagnosis import Reading, readings
from harness.judging.policy import (
    Evidence,
    Introspection,
    advice_in,
    built_in_optimizers,
    evidence_in,
    introspect,
    with_consequences,
)
from harness.judging.printed import PrintedLines
from harness.judging.updates import diagnosis_of, message_of
from harness.language import tr
from harness.probes import Errored, Failed, Planned, Session, StageContext, Waits, plan
from harness.probes.float32 import advise_on_dtype
from harness.probes.gradient import advise_on_example
from harness.training.task import Run

# The message for a failure that public inputs do not reproduce.
NOT_SHOWN = tr("This fails on inputs that are not shown, and on no public ones that were tried.")
NOT_SHOWN_HINT = tr("Does the result depend on particular values or sizes, or on earlier calls?")


@dataclass(frozen=True)
class Judgement:
    """A report, with the training run and the reference's if the training passed."""

    report: Report
    run: Run | None
    reference: Run | None = None


def judge(
    assignment: Assignment,
    candidate: Candidate,
    *,
    seed: int = PUBLIC_SEED,
    settings: Settings | None = None,
    only: Iterable[str] | None = None,
    begin: Callable[[str], None] | None = None,
) -> Judgement:
    """Judge a candidate. The same candidate, seed and settings give the same report.

    Without a ``seed`` all inputs are public. ``only`` names checks to report; checks that they
    need are made too, unreported. ``begin`` is called with the id of each check before it is made.
    Raise SettingsError if the settings do not fit the assignment.
    """
    judging = _Judging(assignment, candidate, seed, settings or Settings(), only)
    judging.make(begin)
    return judging.outcome()


class _NoAnswer(Exception):
    """A fresh candidate cannot answer public questions, for example because its time is up."""


class _Public:
    """The candidate for public questions: a fresh one, once hidden ones have been asked."""

    def __init__(self, candidate: Candidate) -> None:
        self._candidate = candidate
        self._is_fresh = False
        self.is_stale = False
        self.printed = PrintedLines()

    def perform(self, operations: Sequence[Operation]) -> list[Reply]:
        """Perform the operations as the candidate does. Raise _NoAnswer if it cannot."""
        if self.is_stale:
            self._candidate = self._candidate.renew()
            self._is_fresh, self.is_stale = True, False
        replies = self._candidate.perform(operations)
        self.printed.count(operations, replies)
        if self._is_fresh and any(isinstance(each, Lost) and each.whole for each in replies):
            raise _NoAnswer
        return replies

    def renew(self) -> Candidate:
        """Return this candidate, which renews itself."""
        return self


class _Judging:
    """The judging of one candidate, from its plan to its report."""

    def __init__(
        self,
        assignment: Assignment,
        candidate: Candidate,
        seed: int,
        settings: Settings,
        only: Iterable[str] | None,
    ) -> None:
        self.assignment, self.settings = assignment, settings
        planned = plan(assignment, settings)
        self.wanted = {check.id for check in planned} if only is None else set(only)
        needed = set(self.wanted)
        for check in reversed(planned):
            if check.id in needed:
                needed |= {*check.needs, *check.credit, *check.after}
        self.planned = tuple(check for check in planned if check.id in needed)
        self.made: dict[str, Check] = {}
        self.failures: dict[str, Failed] = {}
        asked = self.asked = _Public(candidate)
        self.session = self.public = Session(assignment, asked, PUBLIC_SEED)
        self.introspections = self._ask_first()
        if seed != PUBLIC_SEED:
            asked.is_stale = True
            self.session = Session(assignment, candidate, seed, self.public)

    def _ask_first(self) -> dict[str, Introspection]:
        """Ask what has to be known before the code sees anything hidden.

        That is the example of each stage, its introspection if one of its gradients is reported,
        and the cases of detectives.
        """
        stages = dict.fromkeys(check.stage for check in self.planned if check.stage)
        for name, detective in self.public.detectives.items():
            _ = detective.reply if name in stages else None
        contexts = [each for name, each in self.public.contexts.items() if name in stages]
        for context in contexts:
            _ = context.example
        found = {
            context.stage.name: introspect(context)
            for context in contexts
            if context.lives
            and any(isinstance(call.backward, Returns) for call in context.example[1])
            and self.wanted & _gradients(context)
        }
        return {name: each for name, each in found.items() if each}

    def make(self, begin: Callable[[str], None] | None) -> None:
        """Make the checks that are wanted, and those they need."""
        for check in self.planned:
            if begin:
                begin(check.id)
            self.made[check.id] = _make(check, self.session, self.made, self.failures)

    def outcome(self) -> Judgement:
        """Return the report on the checks that are wanted."""
        wanted = [check for check in self.planned if check.id in self.wanted]
        shown = {
            check.id: self._on_public_inputs(check, self.failures[check.id])
            for check in wanted
            if check.id in self.failures
        }
        checks = [self._with_message(_credited(check, self.made), shown) for check in wanted]
        checks = self._diagnosed(checks, {id for id, same in shown.items() if same})
        evidence = self._evidence(checks)
        report = Report(
            self.assignment.name,
            with_consequences(checks, evidence, self.settings),
            tuple(self._advice()),
            tuple(each.flag for each in evidence),
        )
        return Judgement(report, self.session.run, self.session.reference)

    def _on_public_inputs(self, check: Planned, failed: Failed) -> Failed | None:
        """Return the same failure on public inputs, or None if they do not reproduce it."""
        if self.session is self.public:
            return failed
        for name, context in self.public.contexts.items():
            # The outcomes say so: this check did not wait for anything.
            context.sound = list(self.session.contexts[name].sound)
            context.runs = True
        try:
            check.run(self.public)
        except Failed as same:
            return same if isinstance(same, Errored) == isinstance(failed, Errored) else None
        except (Waits, _NoAnswer):
            pass
        return None

    def _with_message(self, check: Check, shown: Mapping[str, Failed | None]) -> Check:
        failed = self.failures.get(check.id)
        if failed is None and check.stage in self.public.detectives:
            # What exposes a wrong backward is told with values, as a hint is.
            return check if self.settings.shows("hint") else replace(check, message="")
        if failed is None or not self.settings.shows("where"):
            return check
        where, detail = NOT_SHOWN + _kind(failed.got), NOT_SHOWN_HINT
        if same := shown[check.id]:
            where, detail = same.where, same.detail
        shows_detail = self.settings.shows("hint") and detail
        return replace(check, message=f"{where} {detail}" if shows_detail else where)

    def _diagnosed(self, checks: Sequence[Check], shown: Collection[str]) -> list[Check]:
        """Add what is known of its formula to the check of each wrong gradient. Costs no marks."""
        known: dict[str, Check] = {}
        for context in self.public.contexts.values():
            prefix = f"{context.stage.slug}/gradient/"
            wrong = {
                check.id.removeprefix(prefix): check
                for check in checks
                if check.id.startswith(prefix) and check.outcome == "failed" and check.id in shown
            }
            try:
                known |= self._read(context, wrong)
            except Exception as error:
                # A formula that cannot be found costs no mark, and no verdict.
                text = f"Its formula could not be read: {type(error).__name__}: {error}"
                known |= {
                    check.id: replace(check, staff=f"{check.staff} {text}".strip())
                    for check in wrong.values()
                }
        for check in checks:
            if check.stage in self.public.optimizers and check.id in shown:
                known[check.id] = self._with_update(check)
        return [known.get(check.id, check) for check in checks]

    def _with_update(self, check: Check) -> Check:
        """Return the check of an optimizer, with what is known of the rule that was written."""
        context = self.public.optimizers[check.stage or ""]
        try:
            found = diagnosis_of(context, check) if check.outcome == "failed" else None
        except Exception as error:
            text = f"Its rule could not be read: {type(error).__name__}: {error}"
            return replace(check, staff=f"{check.staff} {text}".strip())
        if found is None:
            return check
        said = (check.message, message_of(context.optimizer, found, self.settings))
        return replace(check, message="\n".join(filter(None, said)), diagnosis=found)

    def _read(self, context: StageContext, wrong: Mapping[str, Check]) -> dict[str, Check]:
        """Return the checks of wrong gradients, by input, with what is known of their formulas."""
        known: dict[str, Check] = {}
        if not (wrong and context.lives and context.runs):
            return known
        with suppress(_NoAnswer):
            found = readings(context, tuple(wrong))
            shows = [*wrong] if self.settings.shows("hint") else []
            examples = examples_by_hand(context, self.assignment.stages, shows)
            for name, check in wrong.items():
                reading = found.get(name, Reading())
                text = reading.message(context.stage, self.settings)
                said = (check.message, text, examples.get(name))
                known[check.id] = replace(
                    check,
                    message="\n".join(filter(None, said)),
                    staff=" ".join(filter(None, (check.staff, reading.observation))),
                    diagnosis=reading.diagnosis,
                )
        return known

    def _evidence(self, checks: Sequence[Check]) -> list[Evidence]:
        """Return the evidence against the stages whose backward has answered."""
        evidence: list[Evidence] = []
        for name, each in self.introspections.items():
            gradients = _gradients(self.public.contexts[name])
            outcomes = {check.outcome for check in checks if check.id in gradients}
            if outcomes & {"passed", "failed"}:
                evidence += evidence_in(name, each.observed)
        for optimizer in self.session.optimizers.values():
            evidence += built_in_optimizers(optimizer)
        return [each for each in evidence if self.settings.policy.get(each.kind) != "ignore"]

    def _advice(self) -> Iterator[Advice]:
        """Yield advice beside the marks, from answers to public inputs only."""
        for optimizer in self.session.optimizers.values():
            yield from (Advice(optimizer.optimizer.name, text) for text in optimizer.advice)
        for name, context in self.public.contexts.items():
            made = [check for check in self.made.values() if check.stage == name]
            if made:
                advise_on_example(context)
                if text := self.asked.printed.told(context, made):
                    yield Advice(name, text)
            introspection = self.introspections.get(name)
            sound = self.session.contexts[name].sound
            if introspection and set(context.stage.required) <= set(sound):
                precision = self.made.get(f"{context.stage.slug}/precision")
                if precision and precision.outcome == "passed":
                    advise_on_dtype(introspection.in_float32)
                for text in advice_in(context, introspection.observed):
                    context.advise(text)
            yield from (Advice(name, text) for text in context.advice)


def _gradients(context: StageContext) -> set[str]:
    """Return the ids of the gradient checks that a stage has to pass."""
    return {f"{context.stage.slug}/gradient/{name}" for name in context.stage.required}


def _kind(value: float | None) -> str:
    """Return what may be told of a value that is not shown."""
    if value is None or (math.isfinite(value) and value != 0):
        return ""
    kind = "NaN" if math.isnan(value) else "zero" if value == 0 else "infinity"
    return tr(" A value came back as {kind}.").format(kind=kind)


def _make(
    check: Planned, session: Session, made: Mapping[str, Check], failures: dict[str, Failed]
) -> Check:
    for need in check.needs:
        if made[need].outcome != "passed":
            return _not_run(check, need)
    base = Check(check.id, check.stage, check.title, "passed", check.max_points, check.max_points)
    try:
        base = replace(base, message=check.run(session) or "")
    except Waits as waits:
        return _not_run(check, waits.check)
    except Failed as failed:
        for cause in check.after:
            if made[cause].outcome in ("failed", "error"):
                return _not_run(check, cause)
        failures[check.id] = failed
        outcome: Outcome = "error" if isinstance(failed, Errored) else "failed"
        return replace(base, outcome=outcome, points=0.0, staff=failed.staff, case=failed.case)
    return base


def _credited(planned: Planned, made: dict[str, Check]) -> Check:
    check = made[planned.id]
    if check.outcome != "passed" or not planned.credit:
        return check
    if any(made[id].outcome == "passed" for id in planned.credit):
        return check
    return _not_run(planned, planned.credit[0])


def _not_run(check: Planned, need: str) -> Check:
    return Check(
        check.id, check.stage, check.title, "not_run", 0.0, check.max_points, waits_for=need
    )
