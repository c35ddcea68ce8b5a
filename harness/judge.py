"""Runs the checks of an assignment on one candidate, in order, and reports."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from harness.assignment import Assignment
from harness.candidate import Candidate
from harness.diagnosis import readings
from harness.policy import Evidence, advice_in, evidence_in, testimony_on, with_consequences
from harness.probes import Errored, Failed, Planned, Waits, plan
from harness.probes.battery import Trial
from harness.report import Advice, Check, Outcome, Report
from harness.settings import Settings
from harness.training.task import Run


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
    seed: int = 0,
    settings: Settings | None = None,
    only: Iterable[str] | None = None,
    begin: Callable[[str], None] | None = None,
) -> Judgement:
    """Judges a candidate. The same candidate, seed and settings give the same report.

    ``only`` names checks to report; checks they need are made too, unreported. ``begin`` is told
    the id of each check before it is made. Raises SettingsError for settings that do not fit the
    assignment.
    """
    settings = settings or Settings()
    planned = plan(assignment, settings)
    wanted = {check.id for check in planned} if only is None else set(only)
    needed = _with_needs(planned, wanted)
    trial = Trial(assignment, candidate, seed)
    trial.show_examples(
        dict.fromkeys(check.stage for check in planned if check.stage and check.id in needed)
    )
    made: dict[str, Check] = {}
    for check in planned:
        if check.id in needed:
            if begin:
                begin(check.id)
            made[check.id] = _make(check, trial, made, settings)
    checks = [_credited(check, made) for check in planned if check.id in wanted]
    checks = _diagnosed(trial, checks, settings)
    evidence = _testimony(trial, checks, settings)
    advice = tuple(
        Advice(name, text) for name, bench in trial.benches.items() for text in bench.advice
    )
    report = Report(
        assignment.name,
        with_consequences(checks, evidence, settings),
        advice,
        tuple(each.flag for each in evidence),
    )
    return Judgement(report, trial.run, trial.reference)


def _diagnosed(trial: Trial, checks: Sequence[Check], settings: Settings) -> list[Check]:
    """The checks, and with each wrong gradient what is known of its formula. Costs no marks."""
    known: dict[str, Check] = {}
    for stage, bench in trial.benches.items():
        prefix = f"{bench.stage.slug}/gradient/"
        wrong = {
            check.id.removeprefix(prefix): check
            for check in checks
            if check.stage == stage and check.outcome == "failed" and check.id.startswith(prefix)
        }
        if not wrong or not bench.runs:
            continue
        for name, reading in readings(bench, tuple(wrong)).items():
            check = wrong[name]
            said = "\n".join(filter(None, (check.message, reading.told(bench, settings))))
            known[check.id] = replace(
                check,
                message=said,
                staff=" ".join(filter(None, (check.staff, reading.observation))),
                diagnosis=reading.diagnosis,
            )
    return [known.get(check.id, check) for check in checks]


def _testimony(trial: Trial, checks: Sequence[Check], settings: Settings) -> list[Evidence]:
    """What the stages' own processes tell, of those whose backward has answered. No check is left
    to make: whatever goes wrong here costs nothing."""
    evidence: list[Evidence] = []
    for name, bench in trial.benches.items():
        gradients = [f"{bench.stage.slug}/gradient/{each}" for each in bench.stage.required]
        outcomes = [check.outcome for check in checks if check.id in gradients]
        told = testimony_on(bench) if {"passed", "failed"} & set(outcomes) else None
        if told is None:
            continue
        evidence += evidence_in(name, told)
        if set(bench.stage.required) <= set(bench.sound):
            for text in advice_in(bench, told):
                bench.advise(text)
    return [each for each in evidence if settings.policy.get(each.kind) != "ignore"]


def _with_needs(planned: Sequence[Planned], wanted: set[str]) -> set[str]:
    needed = set(wanted)
    for check in reversed(planned):
        if check.id in needed:
            needed |= {*check.needs, *check.credit}
    return needed


def _make(check: Planned, trial: Trial, made: dict[str, Check], settings: Settings) -> Check:
    for need in check.needs:
        if made[need].outcome != "passed":
            return _not_run(check, need)
    try:
        check.run(trial)
    except Waits as waits:
        return _not_run(check, waits.check)
    except Failed as failed:
        outcome: Outcome = "error" if isinstance(failed, Errored) else "failed"
        return Check(
            check.id,
            check.stage,
            check.title,
            outcome,
            0.0,
            check.max_points,
            message=_message(failed, settings),
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


def _message(failed: Failed, settings: Settings) -> str:
    if not settings.shows("where"):
        return ""
    if not settings.shows("hint") or not failed.detail:
        return failed.where
    return f"{failed.where} {failed.detail}"
