"""The content of a report in the order to say it, for every way to show it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from harness.course.numbers import decimal
from harness.course.report import GRADING, Check, Diagnosis, Outcome, Report
from harness.drawing.visible import visible
from harness.language import tr

MARKS: Mapping[Outcome, str] = MappingProxyType(
    {"passed": "✓", "failed": "✗", "error": "!", "not_run": "–"}
)
# The title of the part on the training.
TRAINING = "Training"
# What the lists of checks call those that have a title as long as a sentence.
SHORT = MappingProxyType(
    {
        "stability": tr("extreme values"),
        "special": tr("special values"),
        "purity": tr("unchanged inputs"),
        "memory": tr("repeated calls"),
        "layout": tr("transposed tensors"),
        "subsets": tr("subsets of gradients"),
        "update": tr("the step"),
        "state": tr("state of its own"),
        "settings": tr("hyperparameters"),
        "missing": tr("no gradient"),
        "cases": tr("the cases"),
        "right": tr("right backwards pass"),
    }
)
# Where a stage is tried that stands in no network, as the titles of the checks end.
ALONE = "torch's graph", "a step of training"


@dataclass(frozen=True)
class Finding:
    """Something to say, above all what went wrong, once for all checks with the same message.

    ``diagnosis`` is the formula that the message tells, if any.
    """

    outcome: Outcome
    labels: str
    message: str
    diagnosis: Diagnosis | None = None


@dataclass(frozen=True)
class Wait:
    """Checks that mean nothing before another one passes; no labels if the part is one check."""

    needs: str
    labels: tuple[str, ...]

    def __str__(self) -> str:
        return tr("waits for {needs}").format(
            needs=self.needs
        ) + f": {', '.join(self.labels)}" * bool(self.labels)


@dataclass(frozen=True)
class Part:
    """A stage, the chain or the training: what passed, what did not, and what waits."""

    title: str
    passed: tuple[str, ...]
    findings: tuple[Finding, ...]
    waits: tuple[Wait, ...]


def verdict(report: Report) -> str:
    """Return the score and how many checks passed, in one sentence."""
    count, total = sum(check.outcome == "passed" for check in report.checks), len(report.checks)
    if total and count == total:
        checks = (
            tr("All {total} checks passed").format(total=total)
            if total > 1
            else tr("The check passed")
        )
    else:
        checks = tr("{count} of {total} checks passed").format(count=count, total=total)
    if not report.max_score:
        return f"{checks}."
    points = tr("{score} of {max_score} points").format(
        score=decimal(report.score), max_score=decimal(report.max_score)
    )
    return f"{checks}: {points}." if report.passed else f"{points}: {checks}."


def parts(report: Report) -> tuple[Part, ...]:
    """Return the report's checks, stage by stage, then the chain and the training."""
    made: dict[str, list[Check]] = {}
    titles = {"chain": tr("The chain"), "training": TRAINING}
    for check in report.checks:
        title = check.stage and visible(check.stage)
        title = title or titles.get(_slug(check.id), check_label(check.id))
        made.setdefault(title, []).append(check)
    return tuple(
        Part(
            title,
            tuple(
                _label(check) for check in checks if check.outcome == "passed" and not check.message
            ),
            tuple(_findings(checks)),
            tuple(_waits(report, title, checks)),
        )
        for title, checks in made.items()
    )


def next_step(report: Report) -> str:
    """Return what to do next: the first check to fix, or where to go on."""
    for check in report.checks:
        if check.outcome in ("failed", "error"):
            return f"Next: {_fix(report, check.id)}."
    for check in report.checks:
        if check.outcome == "not_run" and check.waits_for != GRADING:
            root = _root(report, check)
            return tr("Next: {fix}; check({stage_name}) says more.").format(
                fix=_fix(report, root), stage_name=_stage_name(report.checks, root)
            )
    ends = (each.stage is None or _slug(each.id) == "chain" for each in report.checks)
    if any(ends) or any(check.id.endswith(("/update", "/cases")) for check in report.checks):
        return tr("Everything holds. Well done.")
    return tr("Next: the other stages; once they all pass, train() tries them together.")


def advice(report: Report) -> tuple[str, ...]:
    """Return the report's advice, each piece after the name of its stage."""
    return tuple(visible(str(each)) for each in report.advice)


def check_label(id: str, title: str = "") -> str:
    """Return a check's short name within its stage: ``∂C/∂z`` for ``sigmoid/gradient/z``.

    The ``title`` of a check of the chain, "ReLU works in …", says how the class is written.
    """
    slug, _, rest = id.partition("/")
    if rest.startswith("gradient/"):
        rest = f"∂C/∂{rest.removeprefix('gradient/')}"
    elif slug == "chain":
        named, *where = title.replace(" work in ", " works in ").split(" works in ")
        alone = [each for each in where if each in ALONE]
        rest = tr("whole chain") if rest == "whole" else named if where else _class_name(rest)
        rest = alone[0] if alone else rest
    elif rest.startswith(("shown/", "hidden/")):
        rest = rest.replace("/", " ")
    return visible(SHORT.get(rest, rest) or slug)


def needed(id: str, checks: Iterable[Check]) -> str:
    """Return a check that another one waits for: ``∂C/∂z of Sigmoid`` for its id.

    ``checks`` are those of the report, which know how the class is written.
    """
    stage = _stage_name(checks, id)
    return f"{check_label(id)} of {stage}" if stage else check_label(id)


def _title(check: Check) -> str:
    """Return the label of a check, or its title where that says more than a word can."""
    _, _, rest = check.id.partition("/")
    if rest.startswith("shown/"):
        return visible("∂" + check.title.partition("∂")[2])
    return visible(check.title) if rest in ("precision", *SHORT) else _label(check)


def _label(check: Check) -> str:
    return check_label(check.id, check.title)


def _findings(checks: list[Check]) -> Iterable[Finding]:
    same: dict[tuple[Outcome, str, str], list[Check]] = {}
    for check in checks:
        if check.outcome in ("failed", "error"):
            same.setdefault((check.outcome, _said(check), ""), []).append(check)
        elif check.message:
            same[check.outcome, _said(check), check.id] = [check]
    asked: dict[str, str] = {}
    for (outcome, message, _), group in same.items():
        labels = ", ".join(_title(check) for check in group)
        if (known := group[0].diagnosis) and known.hint:
            if known.hint in asked:
                again = tr("The same question as for {labels}.").format(labels=asked[known.hint])
                message = message.replace(visible(known.hint), again)
            asked.setdefault(known.hint, labels)
        yield Finding(outcome, labels, message, known)


def _said(check: Check) -> str:
    if check.message:
        return visible(check.message)
    start = tr("Does not hold") if check.outcome == "failed" else tr("Could not be checked")
    return visible(f"{start}: {check.title}")


def _waits(report: Report, title: str, checks: list[Check]) -> Iterable[Wait]:
    waiting: dict[str, list[str]] = {}
    for check in checks:
        if check.outcome == "not_run":
            waiting.setdefault(_root(report, check), []).append(_label(check))
    for root, labels in waiting.items():
        stage = _stage_name(report.checks, root)
        alone = stage in (title, "") or root == GRADING
        label = next((_label(each) for each in report.checks if each.id == root), check_label(root))
        needs = label if alone else f"{label} of {stage}"
        yield Wait(needs, tuple(labels) if len(checks) > 1 else ())


def _root(report: Report, check: Check) -> str:
    """Return the check at the end of the chain that this one waits for: the one to fix."""
    known = {each.id: each for each in report.checks}
    seen = {check.id}
    while check.waits_for and check.waits_for not in seen:
        if check.waits_for not in known:
            return check.waits_for
        seen.add(check.waits_for)
        check = known[check.waits_for]
    return check.id


def _fix(report: Report, id: str) -> str:
    label, stage = check_label(id), _stage_name(report.checks, id)
    if "/gradient/" in id:
        return tr("get {label} of {stage} right").format(label=label, stage=stage)
    if id.endswith("/forward"):
        return tr("get the forward of {stage} right").format(stage=stage)
    if _slug(id) == "chain":
        return tr("find what goes wrong in the chain")
    label = next((_title(check) for check in report.checks if check.id == id), label)
    return (
        tr("fix “{label}” in {stage}").format(label=label, stage=stage)
        if stage
        else tr("find what goes wrong in “{label}”").format(label=label)
    )


def _stage_name(checks: Iterable[Check], id: str) -> str:
    """Return the class that a check is about; "" for the chain and the training."""
    for check in checks:
        if check.stage and _slug(check.id) == _slug(id):
            return visible(check.stage)
        if check.id == f"chain/{_slug(id)}":
            return _label(check)
    return "" if _slug(id) in ("chain", "training") else visible(_class_name(_slug(id)))


def _slug(id: str) -> str:
    return id.partition("/")[0]


def _class_name(slug: str) -> str:
    return "".join(word[:1].upper() + word[1:] for word in slug.split("-"))
