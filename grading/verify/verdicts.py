"""Tell whether the judge was right about a case."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from grading.results.lines import Result
from grading.verify.case import MUTANTS, Case
from harness.course.report import Check, Diagnosis, FlagKind

DELEGATES: FlagKind = "delegates-to-autograd"
Outcome = Literal["right", "rejected", "equivalent", "off"]


@dataclass(frozen=True)
class Verdict:
    """A case, the checks that failed on it, and what that says about the judge.

    ``outcome`` is "right" for a solution, a handout or a control with the expected outcome,
    "rejected" or "equivalent" for a mutant, and "off", with the reason, for anything else. ``read``
    has what was said about wrong gradients.
    """

    case: Case
    failed: tuple[str, ...]
    outcome: Outcome
    why: str = ""
    read: tuple[Diagnosis, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the verdict as JSON-ready data."""
        each = self.case
        return {
            "name": each.name,
            "kind": each.kind,
            "stage": each.stage or None,
            "text": each.text,
            "outcome": self.outcome,
            "why": self.why or each.same or "",
            "failed": list(self.failed),
        }


def verdict_on(case: Case, result: Result) -> Verdict:
    """Return what the result of a case says about the judge."""
    failed = _ids(result.checks, "failed", "error")
    if why := _fault(case, result, failed):
        return Verdict(case, failed, "off", why)
    if case.kind not in MUTANTS:
        return Verdict(case, failed, "right")
    read = tuple(check.diagnosis for check in result.checks if check.diagnosis)
    return Verdict(case, failed, "rejected" if failed else "equivalent", read=read)


def _fault(case: Case, result: Result, failed: tuple[str, ...]) -> str:
    """Return what is unexpected about a result, or an empty text."""
    if result.status != "graded":
        return f"is {result.status}: {result.reason}"
    if case.kind in MUTANTS:
        return _fault_of_mutant(case, result, failed)
    if case.kind == "handout":
        return f"gets {result.score:g} points as it is" if result.score else ""
    return _short_of_full(result, failed) or _flagged(case, result)


def _short_of_full(result: Result, failed: tuple[str, ...]) -> str:
    if failed:
        first = next(check for check in result.checks if check.id in failed)
        said = f"{first.message or first.title} {first.staff}".strip()
        return f"does not get full marks, as {_listed(failed)} failed: {said}"
    if result.score != result.max_score:
        return f"gets {result.score} of {result.max_score} points, and no check failed"
    return ""


def _flagged(case: Case, result: Result) -> str:
    for flag in result.flags:
        if not (case.delegates and flag.kind == DELEGATES):
            return f"is flagged: {flag.evidence}"
    return ""


def _fault_of_mutant(case: Case, result: Result, failed: tuple[str, ...]) -> str:
    others = [id for id in failed if _stage_of(id) not in (case.stage, None)]
    if others:
        return f"blames another stage: {_listed(others)}"
    if case.kind == "mistake":
        return _wrong_claims(case, result, failed)
    if not failed:
        return "" if case.same else "survives: every check passed"
    values = [id for id in failed if _judges_values(id)]
    if case.same and values:
        return f"is right ({case.same}), and yet {_listed(values)} failed"
    return _wrong_edges(case, result)


def _wrong_claims(case: Case, result: Result, failed: tuple[str, ...]) -> str:
    """Return why the failed checks are not the claimed ones, or an empty text."""
    if not failed and case.same:
        return ""
    if not failed:
        where = f", where {_listed(case.claims)} should have failed" if case.claims else ""
        return f"survives: every check passed{where}"
    missing = [id for id in case.claims if id not in failed]
    if missing:
        return f"is not rejected by {_listed(missing)}, but by {_listed(failed)}"
    return _wrong_edges(case, result)


def _wrong_edges(case: Case, result: Result) -> str:
    """Return which checks of right values failed, as text.

    An error says nothing about values: if backward raises, all of its checks have one.
    """
    wrong = [id for id in _ids(result.checks, "failed") if _judges_values(id)]
    more = [id for id in wrong if case.claims and id not in case.claims]
    return f"blames what is right: {_listed(more)}" if more else ""


def _stage_of(id: str) -> str | None:
    """Return the slug of the stage that a check blames, or None for the chain and the training."""
    first, _, second = id.partition("/")
    if first == "chain":
        return second if second != "whole" else None
    return None if first == "training" else first


def _judges_values(id: str) -> bool:
    return id.endswith("/forward") or "/gradient/" in id


def _ids(checks: Sequence[Check], *outcomes: str) -> tuple[str, ...]:
    return tuple(check.id for check in checks if check.outcome in outcomes)


def _listed(ids: Sequence[str]) -> str:
    return ", ".join(ids)
