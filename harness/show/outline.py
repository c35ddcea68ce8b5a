"""What there is to say about a report, in the order to say it; how it looks is for others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from types import MappingProxyType

from harness.course.report import Check, Diagnosis, Outcome, Report
from harness.show.visible import visible

MARKS: Mapping[Outcome, str] = MappingProxyType(
    {"passed": "✓", "failed": "✗", "error": "!", "not_run": "–"}
)
# What the part is called that tells of the training.
TRAINING = "Training"


@dataclass(frozen=True)
class Finding:
    """What went wrong, said once for all checks of which it is true.

    ``diagnosis`` is what the message tells of a formula, as far as it does.
    """

    outcome: Outcome
    labels: tuple[str, ...]
    message: str
    diagnosis: Diagnosis | None = None


@dataclass(frozen=True)
class Wait:
    """Checks that mean nothing before another one passes; no labels where a part is one check."""

    needs: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Part:
    """A stage, the chain or the training: what passed, what did not, and what waits."""

    title: str
    passed: tuple[str, ...]
    findings: tuple[Finding, ...]
    waits: tuple[Wait, ...]


def verdict(report: Report) -> str:
    """The score and how many checks passed, in one sentence."""
    count, total = sum(check.outcome == "passed" for check in report.checks), len(report.checks)
    if total and count == total:
        checks = f"All {total} checks passed" if total > 1 else "The check passed"
    else:
        checks = f"{count} of {total} checks passed"
    if not report.max_score:
        return f"{checks}."
    points = f"{number(report.score)} of {number(report.max_score)} points"
    return f"{checks}: {points}." if report.passed else f"{points}: {checks}."


def parts(report: Report) -> tuple[Part, ...]:
    """The report's checks, stage by stage, then the chain and the training."""
    made: dict[str, list[Check]] = {}
    for check in report.checks:
        made.setdefault(_part_title(check), []).append(check)
    return tuple(_part(report, title, checks) for title, checks in made.items())


def next_step(report: Report) -> str:
    """What to do next: the first check to mend, or where to go on."""
    for check in report.checks:
        if check.outcome in ("failed", "error"):
            return f"Next: {_mend(report, check.id)}."
    for check in report.checks:
        if check.outcome == "not_run":
            root = _root(report, check)
            return f"Next: {_mend(report, root)}; check({_stage_name(report, root)}) says more."
    if any(check.stage is None for check in report.checks):
        return "Everything holds. Well done."
    return "Next: the other stages; once they all pass, train() joins them to a network."


def advice(report: Report) -> tuple[str, ...]:
    """The report's advice, each piece with its stage before it."""
    return tuple(
        visible(f"{each.stage}: {each.text}" if each.stage else each.text) for each in report.advice
    )


def number(value: float) -> str:
    """Points as a person writes them: 7.5, 10."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def check_label(id: str) -> str:
    """A check's short name, within its stage: ``∂C/∂z`` for ``sigmoid/gradient/z``."""
    return _label(id)


def _part(report: Report, title: str, checks: list[Check]) -> Part:
    return Part(
        title=title,
        passed=tuple(_label(check.id) for check in checks if check.outcome == "passed"),
        findings=tuple(_findings(checks)),
        waits=tuple(_waits(report, title, checks)),
    )


def _part_title(check: Check) -> str:
    if check.stage:
        return visible(check.stage)
    return {"chain": "The chain", "training": TRAINING}.get(_slug(check.id), _label(check.id))


def _findings(checks: list[Check]) -> Iterable[Finding]:
    troubled = [check for check in checks if check.outcome in ("failed", "error")]
    for (outcome, message), group in groupby(troubled, lambda each: (each.outcome, _said(each))):
        same = list(group)
        labels = tuple(_label(check.id) for check in same)
        yield Finding(outcome, labels, message, same[0].diagnosis)


def _said(check: Check) -> str:
    if check.message:
        return visible(check.message)
    start = "Does not hold" if check.outcome == "failed" else "Could not be checked"
    return visible(f"{start}: {check.title}")


def _waits(report: Report, title: str, checks: list[Check]) -> Iterable[Wait]:
    waiting: dict[str, list[str]] = {}
    for check in checks:
        if check.outcome == "not_run":
            root = _root(report, check)
            waiting.setdefault(root, []).append(_label(check.id))
    for root, labels in waiting.items():
        stage = _stage_name(report, root)
        needs = _label(root) if stage in (title, "") else f"{_label(root)} of {stage}"
        yield Wait(needs, tuple(labels) if len(checks) > 1 else ())


def _root(report: Report, check: Check) -> str:
    """The check at the end of what this one waits for: the one to mend."""
    known = {each.id: each for each in report.checks}
    seen = {check.id}
    while check.waits_for and check.waits_for not in seen:
        if check.waits_for not in known:
            return check.waits_for
        seen.add(check.waits_for)
        check = known[check.waits_for]
    return check.id


def _mend(report: Report, id: str) -> str:
    label, stage = _label(id), _stage_name(report, id)
    if "/gradient/" in id:
        return f"get {label} right in {stage}.backward"
    if id.endswith("/forward"):
        return f"get {stage}.forward right"
    if _slug(id) == "chain":
        return "find what goes wrong in the chain"
    return f"mend “{label}” in {stage}" if stage else f"find what goes wrong in “{label}”"


def _label(id: str) -> str:
    slug, _, rest = id.partition("/")
    if rest.startswith("gradient/"):
        rest = f"∂C/∂{rest.removeprefix('gradient/')}"
    elif slug == "chain":
        rest = "whole chain" if rest == "whole" else _class_name(rest)
    return visible(rest or slug)


def _stage_name(report: Report, id: str) -> str:
    """The class a check is about; empty for the chain and the training."""
    for check in report.checks:
        if check.stage and _slug(check.id) == _slug(id):
            return visible(check.stage)
    return "" if _slug(id) in ("chain", "training") else visible(_class_name(_slug(id)))


def _slug(id: str) -> str:
    return id.partition("/")[0]


def _class_name(slug: str) -> str:
    return "".join(word[:1].upper() + word[1:] for word in slug.split("-"))
