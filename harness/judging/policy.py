"""Flags and advice from a stage's introspection, and what the settings make of flags."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from torch import Tensor

from harness.candidate.introspection.derivatives import OnceOnly, second_derivatives
from harness.candidate.introspection.reading import FRAMES
from harness.candidate.operations import Backward, Built, Observe, Observed, Seen, Stepped
from harness.cases.cases import Case, float32_case
from harness.cases.compare import Tolerance, difference
from harness.course.report import Check, Flag, FlagKind
from harness.course.settings import Settings
from harness.course.stage import Stage
from harness.judging.vocabulary import FINITE, KEPT
from harness.language import tr
from harness.probes.context import Call, StageContext
from harness.probes.optimizers import OptimizerContext

EVIDENCE_LIMIT = 1_000
SECOND = Tolerance(1e-5, 1e-6)
_PREPARATIONS = ("torch.enable_grad", KEPT)
_AUTOGRAD = ("torch.", "aten.", "grad_fn", *_PREPARATIONS)
_INSIDES = ("sys.", "inspect.", "traceback.", "gc.", "ctypes", *FRAMES)
# What a student reads if the assignment gives no points for it.
_RULES: Mapping[FlagKind, str] = {
    "delegates-to-autograd": tr("has built-in autograd work out the gradient"),
    "built-in-in-place": tr("has a built-in function in the place of your own"),
    "finite-differences": tr("works the gradient out from finite differences"),
    "built-in-optimizer": tr("has an optimizer of torch's own in the place of yours"),
    "inspects-the-grader": tr("looks at the program that runs it"),
}


@dataclass(frozen=True)
class Evidence:
    """The evidence for a flag of one stage, and the first line that shows it.

    Evidence is ``telling`` if it shows more than preparations, which compute no gradient.
    """

    kind: FlagKind
    stage: str
    text: str
    place: str = ""
    code: str = ""
    telling: bool = True

    @property
    def flag(self) -> Flag:
        """The flag of the report."""
        return Flag(self.kind, self.stage, self.text)


@dataclass(frozen=True)
class Introspection:
    """A call with inputs in float32, and what the stage's own process observed of it."""

    in_float32: Call
    observed: Observed


def introspect(context: StageContext) -> Introspection | None:
    """Ask for what is needed beside the checks. Return None if it could not be observed."""
    case = float32_case(context.stage, context.seed, context.stage.sizes[0])
    handle = next(context.handles)
    output, returns, observed = context.candidate.perform(
        [
            context.forward_of(case, handle),
            Backward(handle, case.upstreams[0]),
            replace(
                _question(context.stage, context.cases[0]),
                in_double=context.in_double(context.cases[0]),
            ),
        ]
    )
    if not isinstance(observed, Observed):
        return None
    return Introspection(Call(context, case, 0, output, returns), observed)


def built_in_optimizers(context: OptimizerContext) -> Iterator[Evidence]:
    """Yield the evidence that a student's optimizer is made of one of torch's own."""
    ran = [each for several in context.answers.values() for each in several]
    replies = [reply for each in ran for reply in (each.built, *each.steps)]
    names = dict.fromkeys(
        each.what for reply in replies if isinstance(reply, Built | Stepped) for each in reply.bases
    )
    if names:
        said = ", ".join(f"torch.optim.{name}" for name in names)
        yield Evidence(
            "built-in-optimizer",
            context.optimizer.name,
            f"it is made of {said}",
        )


def evidence_in(stage: str, observed: Observed) -> Iterator[Evidence]:
    """Yield the evidence against the stage, one piece for each kind of flag."""
    ran = [each for each in observed.dispatched if "_backward" in each.what]
    ran += [*observed.packed, *observed.differences]
    if observed.built_in:
        text = (
            f"The output of {stage} comes from torch's own {observed.built_in}, not from its class."
        )
        yield Evidence("built-in-in-place", stage, text)
        ran = []  # nothing of the student's has run
    kinds: dict[FlagKind, list[tuple[Seen, str]]] = {}
    for several, where in ((observed.named, "in the source"), (ran, "as it ran")):
        for each in several:
            if kind := _kind_of(each.what):
                kinds.setdefault(kind, []).append((each, where))
    for found, said in kinds.items():
        said.sort(key=lambda one: one[0].what in _PREPARATIONS)
        first = said[0][0]
        telling = first.what not in _PREPARATIONS
        yield Evidence(found, stage, _text(said), first.place, first.code, telling)


def advice_in(context: StageContext, observed: Observed) -> Iterator[str]:
    """Yield advice on a stage whose gradients are right, a sentence each."""
    if context.stage.pair:
        return
    if observed.on_ctx:
        yield (
            tr(
                "forward keeps tensors in attributes of ctx: hand inputs and outputs to "
                "ctx.save_for_backward, so that torch can see when they change in place."
            )
        )
    elif observed.second is not None and not _second_is_right(context, observed.second):
        yield (
            tr(
                "backward cannot be differentiated twice: write @once_differentiable "
                "(from torch.autograd.function) above it, so that torch says so to "
                "whoever tries."
            )
        )


def with_consequences(
    checks: Sequence[Check], evidence: Sequence[Evidence], rules: Settings
) -> tuple[Check, ...]:
    """Return the checks, with no points for those of a stage if the settings say so."""
    found = {
        each.stage: each
        for each in reversed(evidence)
        if each.telling and rules.policy.get(each.kind) == "zero"
    }
    lost = [check for check in checks if check.outcome == "passed" and check.stage in found]
    # One check says why, a gradient if any is right; the others wait for it.
    lost.sort(key=lambda check: "/gradient/" not in check.id)
    first = {check.stage: check.id for check in reversed(lost)}
    return tuple(
        _without_points(check, found[check.stage], first[check.stage], rules)
        if check in lost and check.stage is not None
        else check
        for check in checks
    )


def _without_points(check: Check, why: Evidence, first: str, rules: Settings) -> Check:
    if check.id != first:
        return replace(check, outcome="not_run", points=0.0, waits_for=first)
    instead = (
        tr("the step itself")
        if why.kind == "built-in-optimizer"
        else tr("the gradient's own formula")
    )
    line = f", at {why.place}: `{why.code}`" if why.place else ""
    message = tr(
        "{stage} {fault}{line}. This assignment gives no points for that: write {instead}."
    ).format(stage=check.stage, fault=_RULES[why.kind], line=line, instead=instead)
    return replace(
        check,
        outcome="failed",
        points=0.0,
        message=message if rules.shows("where") else "",
        staff=f"{why.kind}: {why.text}",
    )


def _kind_of(what: str) -> FlagKind | None:
    """Return the kind of flag that something observed is evidence for, if any."""
    if what in FINITE:
        return "finite-differences"
    if what.startswith(_AUTOGRAD):
        return "delegates-to-autograd"
    return "inspects-the-grader" if what.startswith(_INSIDES) else None


def _text(said: Sequence[tuple[Seen, str]]) -> str:
    """Return the evidence line by line: the code, and what was observed of it."""
    lines: dict[tuple[str, str], dict[str, list[str]]] = {}
    for each, where in said:
        lines.setdefault((each.place, each.code), {}).setdefault(where, []).append(each.what)
    return "; ".join(
        f"{place or 'somewhere'}{f': `{code}`' if code else ''} ("
        + "; ".join(f"{where}: {', '.join(whats)}" for where, whats in found.items())
        + ")"
        for (place, code), found in lines.items()
    )[:EVIDENCE_LIMIT]


def _second_is_right(context: StageContext, found: Sequence[object]) -> bool:
    """Return whether the second derivatives are those of the reference, if it has any."""
    right = _reference(context.stage, context.cases[0])
    return right is None or (
        len(found) == len(right)
        and all(
            isinstance(got, Tensor)
            and got.shape == want.shape
            and difference(got, want, SECOND, size=1.0) is None
            for got, want in zip(found, right, strict=True)
        )
    )


@lru_cache(maxsize=256)
def _question(stage: Stage, case: Case) -> Observe:
    has = stage.with_gradient(case.inputs)
    names = stage.names_of(case.inputs)
    required = tuple(each and name in stage.required for name, each in zip(names, has, strict=True))
    return Observe(stage.name, case.inputs, has, case.upstreams[0], required)


@lru_cache(maxsize=256)
def _reference(stage: Stage, case: Case) -> tuple[Tensor, ...] | None:
    try:
        return second_derivatives(stage.forward, _question(stage, case))
    except (OnceOnly, RuntimeError):
        return None  # torch cannot differentiate every operation twice
