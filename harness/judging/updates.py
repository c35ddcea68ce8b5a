"""Find what a student's optimizer does instead, by simulation of the known mistakes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from torch import Tensor

from harness.candidate.operations import Stepped
from harness.cases.compare import EPSILON
from harness.course.report import Check, Diagnosis
from harness.course.settings import Settings
from harness.language import tr
from harness.probes.optimizers import OptimizerContext, Ran
from harness.updates.edits import Wrong, combined, conventions_of, hint_of, mistakes_of
from harness.updates.optimizer import Optimizer
from harness.updates.recorded import Path
from harness.updates.rule import Rule
from harness.updates.trajectory import Trajectory

# Variants of Adam differ by 2.7e-4 at least.
SAME = 1e-7
# The checks whose failures are read, and the trajectories to read them from.
READ = {
    "update": ("example", "update"),
    "settings": ("settings",),
    "state": ("state",),
    "missing": ("missing",),
}


def diagnosis_of(context: OptimizerContext, check: Check) -> Diagnosis | None:
    """Return what the optimizer does in a check that failed, if it is known.

    The candidate has answered already.
    """
    optimizer = context.optimizer
    kind = check.id.partition("/")[2]
    if optimizer.rule is None:
        return None
    right = [optimizer.rule, *(each.rule for each in conventions_of(optimizer))]
    # Up to the first that is wrong: with the shapes of the next, a mistake may raise instead.
    went: list[tuple[Ran, Path]] = []
    for ran in [each for name in READ.get(kind, ()) for each in context.answers.get(name, [])]:
        path = _path_of(ran)
        if path is None:
            return None
        went.append((ran, path))
        if not any(_leads_there(rule, ran, path) for rule in right):
            return _read(optimizer, kind, went)
    return None


def _read(optimizer: Optimizer, kind: str, went: Sequence[tuple[Ran, Path]]) -> Diagnosis | None:
    """Return the known mistake that leads everywhere that an optimizer went, if there is one."""
    # Where the rule is right, what is wrong is a habit.
    known: Iterable[Wrong] = combined(optimizer) if kind == "update" else mistakes_of(optimizer)
    for wrong in known:
        if all(_leads_there(wrong.rule, *each) for each in reversed(went)):
            name, hint = "+".join(wrong.names), hint_of(optimizer, wrong.names)
            return Diagnosis("p", name, str(wrong.rule), str(optimizer.rule), hint)
    return None


def message_of(optimizer: Optimizer, diagnosis: Diagnosis, settings: Settings) -> str:
    """Return what a student reads of it at the assignment's level of feedback."""
    said = []
    if settings.shows("formula"):
        written = _news(diagnosis.formula, diagnosis.expected)
        is_rule = "=" in written
        text = (
            tr("Your step behaves like {written}.") if is_rule else tr("In your step, {written}.")
        )
        said.append(text.format(written=written))
    if settings.shows("hint"):
        said.append(diagnosis.hint)
    if settings.shows("solution"):
        right = _news(diagnosis.expected, diagnosis.formula)
        said.append(tr("Right is {right}.").format(right=right))
    return " ".join(said)


def _news(text: str, other: str) -> str:
    """Return what a rule, as text, has and another one has not; all of it if there is nothing."""
    lines, known = text.split("; "), other.split("; ")
    if sorted(lines) == sorted(known):
        return "; ".join(lines)
    return "; ".join(each for each in lines if each not in known) or lines[-1]


def _path_of(ran: Ran) -> Path | None:
    """Return where the parameters went, as far as there are any."""
    path = []
    for step in ran.steps:
        if not isinstance(step, Stepped):
            return None
        values = tuple(each for each in step.parameters if isinstance(each, Tensor))
        if [x.shape for x in values] != [x.shape for x in ran.trajectory.start]:
            return None
        path.append(values)
    return path


def _leads_there(rule: Rule, ran: Ran, path: Path) -> bool:
    """Return whether the rule leads to the same values, step by step."""
    trajectory = ran.trajectory
    # Who divides by a norm may have seen to it that it is not 0.
    guarded = all(bool(each.isfinite().all()) for values in path for each in values)
    try:
        first = _first_step(rule, trajectory, guarded)
        if not _are_same(path[0], first, trajectory.start):
            return False
        found = rule.path(trajectory, guarded=guarded)
        pairs = zip(path, found, strict=True)
        return all(_are_same(values, others, trajectory.start) for values, others in pairs)
    except (ArithmeticError, RuntimeError):
        # The mistake cannot be made with these values: one state for several shapes.
        return False


# Most rules are told from what was written by their first step.
@lru_cache(maxsize=65536)
def _first_step(rule: Rule, trajectory: Trajectory, guarded: bool) -> tuple[Tensor, ...]:
    return next(rule.path(trajectory, guarded=guarded))


def _are_same(ones: Sequence[Tensor], others: Sequence[Tensor], start: Sequence[Tensor]) -> bool:
    for one, other, begin in zip(ones, others, start, strict=True):
        room = SAME * (other - begin).abs() + 64 * EPSILON * begin.abs()
        near = other.isfinite() & ((one - other).abs() <= room)
        is_same = (one == other) | (one.isnan() & other.isnan())
        if not bool((near | is_same).all()):
            return False
    return True
