"""Runs the checks of an assignment on one candidate, in order, and reports.

There are two trials. One decides, on inputs that the seed draws. The other gives every word that a
student reads: it is on public inputs, and asks a process that has seen nothing hidden. Before the
first trial it asks about the examples, and afterwards, where something failed, a fresh process.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from harness.candidate.operations import Candidate, Lost, Operation, Reply, Returns
from harness.course.assignment import Assignment
from harness.course.report import Advice, Check, Report
from harness.course.settings import Settings
from harness.judging.diagnosis import Reading, readings
from harness.judging.policy import (
    Evidence,
    Told,
    advice_in,
    evidence_in,
    testimony_on,
    with_consequences,
)
from harness.probes import Bench, Errored, Failed, Planned, Waits, plan
from harness.probes.cases import PUBLIC_SEED
from harness.probes.float32 import advise_on_dtype
from harness.probes.gradient import advise_on_example
from harness.probes.plan import Trial
from harness.training.task import Run

# All that is told of a failure that public inputs do not bring about.
NOT_SHOWN = "This fails on inputs that are not shown, and on no public ones that were tried."
NOT_SHOWN_HINT = "Does the result depend on particular values or sizes, or on earlier calls?"


@dataclass(frozen=True)
class Judgement:
    """A report, and the training run behind it with the reference's, if it came to that."""

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
    """Judges a candidate. The same candidate, seed and settings give the same report.

    Without a ``seed`` all inputs are public. ``only`` names checks to report; checks they need are
    made too, unreported. ``begin`` is told the id of each check before it is made. Raises
    SettingsError for settings that do not fit the assignment.
    """
    settings = settings or Settings()
    planned = plan(assignment, settings)
    wanted = {check.id for check in planned} if only is None else set(only)
    needed = _with_needs(planned, wanted)
    asked = _Public(candidate)
    public = Trial(assignment, asked, PUBLIC_SEED)
    told = _ask_first(public, [check for check in planned if check.id in needed], wanted)
    trial = public
    if seed != PUBLIC_SEED:
        asked.is_stale = True
        trial = Trial(assignment, candidate, seed, public)
    made: dict[str, Check] = {}
    failures: dict[str, Failed] = {}
    for check in planned:
        if check.id in needed:
            if begin:
                begin(check.id)
            made[check.id] = _make(check, trial, made, failures)
    shown = {
        check.id: _on_public_inputs(check, failures[check.id], trial, public)
        for check in planned
        if check.id in failures and check.id in wanted
    }
    checks = [_credited(check, made) for check in planned if check.id in wanted]
    checks = [_with_words(check, failures, shown, settings) for check in checks]
    checks = _diagnosed(public, checks, shown, settings)
    evidence = _evidence(public, told, checks, settings)
    report = Report(
        assignment.name,
        with_consequences(checks, evidence, settings),
        tuple(_advice(public, trial, told, made)),
        tuple(each.flag for each in evidence),
    )
    return Judgement(report, trial.run, trial.reference)


class _NoAnswer(Exception):
    """A fresh candidate cannot answer public questions, as when it has used up its time."""


class _Public:
    """The candidate for public questions: a fresh one, once hidden ones have been asked."""

    def __init__(self, candidate: Candidate) -> None:
        self._candidate = candidate
        self._is_fresh = False
        self.is_stale = False

    def perform(self, operations: Sequence[Operation]) -> list[Reply]:
        """As the candidate does. Raises _NoAnswer."""
        if self.is_stale:
            self._candidate = self._candidate.renew()
            self._is_fresh, self.is_stale = True, False
        replies = self._candidate.perform(operations)
        if self._is_fresh and any(isinstance(each, Lost) and each.whole for each in replies):
            raise _NoAnswer
        return replies

    def renew(self) -> Candidate:
        """Itself, which sees to that."""
        return self


def _ask_first(public: Trial, checks: Sequence[Planned], wanted: set[str]) -> dict[str, Told]:
    """Asks what has to be known before the code sees anything hidden: of each stage the example,
    and the testimony where a gradient of it is to be reported."""
    stages = dict.fromkeys(check.stage for check in checks if check.stage)
    benches = [public.benches[stage] for stage in stages]
    for bench in benches:
        _ = bench.example
    told = {
        bench.stage.name: testimony_on(bench)
        for bench in benches
        if bench.lives and _has_answered(bench) and wanted & _gradients(bench)
    }
    return {name: each for name, each in told.items() if each}


def _has_answered(bench: Bench) -> bool:
    return any(isinstance(reply, Returns) for reply in bench.example[1].returns)


def _gradients(bench: Bench) -> set[str]:
    """The ids of the gradient checks that a stage has to pass."""
    return {f"{bench.stage.slug}/gradient/{name}" for name in bench.stage.required}


def _on_public_inputs(check: Planned, failed: Failed, trial: Trial, public: Trial) -> Failed | None:
    """The same failure as public inputs bring it about; None where they do not."""
    if trial is public:
        return failed
    for name, bench in public.benches.items():
        # What the outcomes tell: this check waited for nothing.
        bench.sound = list(trial.benches[name].sound)
        bench.runs = True
    try:
        check.run(public)
    except Failed as same:
        return same if isinstance(same, Errored) == isinstance(failed, Errored) else None
    except (Waits, _NoAnswer):
        pass
    return None


def _with_words(
    check: Check,
    failures: Mapping[str, Failed],
    shown: Mapping[str, Failed | None],
    settings: Settings,
) -> Check:
    failed = failures.get(check.id)
    if failed is None or not settings.shows("where"):
        return check
    same = shown[check.id]
    where, detail = (
        (same.where, same.detail) if same else (NOT_SHOWN + _kind(failed.got), NOT_SHOWN_HINT)
    )
    return replace(
        check, message=f"{where} {detail}" if settings.shows("hint") and detail else where
    )


def _kind(value: float | None) -> str:
    """What may be told of a value that is not shown."""
    if value is None or (math.isfinite(value) and value != 0):
        return ""
    kind = "NaN" if math.isnan(value) else "zero" if value == 0 else "infinity"
    return f" A value came back as {kind}."


def _diagnosed(
    public: Trial,
    checks: Sequence[Check],
    shown: Mapping[str, Failed | None],
    settings: Settings,
) -> list[Check]:
    """The checks, and with each wrong gradient what is known of its formula. Costs no marks."""
    known: dict[str, Check] = {}
    for stage, bench in public.benches.items():
        prefix = f"{bench.stage.slug}/gradient/"
        wrong = {
            check.id.removeprefix(prefix): check
            for check in checks
            if check.stage == stage
            and check.outcome == "failed"
            and check.id.startswith(prefix)
            and shown.get(check.id)
        }
        for name, reading in _readings(bench, tuple(wrong)).items():
            check = wrong[name]
            said = "\n".join(filter(None, (check.message, reading.told(bench, settings))))
            known[check.id] = replace(
                check,
                message=said,
                staff=" ".join(filter(None, (check.staff, reading.observation))),
                diagnosis=reading.diagnosis,
            )
    return [known.get(check.id, check) for check in checks]


def _readings(bench: Bench, names: tuple[str, ...]) -> dict[str, Reading]:
    try:
        return readings(bench, names) if names and bench.lives and bench.runs else {}
    except _NoAnswer:
        return {}


def _evidence(
    public: Trial, told: Mapping[str, Told], checks: Sequence[Check], settings: Settings
) -> list[Evidence]:
    """What the testimony says against the stages whose backward has answered."""
    evidence: list[Evidence] = []
    for name, each in told.items():
        gradients = _gradients(public.benches[name])
        outcomes = {check.outcome for check in checks if check.id in gradients}
        if outcomes & {"passed", "failed"}:
            evidence += evidence_in(name, each.observed)
    return [each for each in evidence if settings.policy.get(each.kind) != "ignore"]


def _advice(
    public: Trial, trial: Trial, told: Mapping[str, Told], made: Mapping[str, Check]
) -> Iterator[Advice]:
    """What is worth knowing beside the marks, from answers to public inputs only."""
    for name, bench in public.benches.items():
        if any(check.stage == name for check in made.values()):
            advise_on_example(bench)
        if name in told and set(bench.stage.required) <= set(trial.benches[name].sound):
            precision = made.get(f"{bench.stage.slug}/precision")
            if precision and precision.outcome == "passed":
                advise_on_dtype(bench, told[name].single)
            for text in advice_in(bench, told[name].observed):
                bench.advise(text)
        yield from (Advice(name, text) for text in bench.advice)


def _with_needs(planned: Sequence[Planned], wanted: set[str]) -> set[str]:
    needed = set(wanted)
    for check in reversed(planned):
        if check.id in needed:
            needed |= {*check.needs, *check.credit}
    return needed


def _make(
    check: Planned, trial: Trial, made: Mapping[str, Check], failures: dict[str, Failed]
) -> Check:
    for need in check.needs:
        if made[need].outcome != "passed":
            return _not_run(check, need)
    try:
        check.run(trial)
    except Waits as waits:
        return _not_run(check, waits.check)
    except Failed as failed:
        failures[check.id] = failed
        return Check(
            check.id,
            check.stage,
            check.title,
            "error" if isinstance(failed, Errored) else "failed",
            0.0,
            check.max_points,
            staff=failed.staff,
            case=failed.case,
        )
    return Check(check.id, check.stage, check.title, "passed", check.max_points, check.max_points)


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
