"""Makes flags and advice of a stage's testimony, and applies what the settings say of flags."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from torch import Tensor

from harness.candidate.introspection.derivatives import second_derivatives
from harness.candidate.introspection.reading import FRAMES
from harness.candidate.operations import Backward, Forward, Observe, Observed, Seen
from harness.course.report import Check, Flag, FlagKind
from harness.course.settings import Settings
from harness.course.stage import Stage
from harness.judging.vocabulary import FINITE, KEPT
from harness.probes.cases import Case, single_case
from harness.probes.compare import Tolerance, difference
from harness.probes.context import Answer, Bench

EVIDENCE_LIMIT = 1_000
SECOND = Tolerance(1e-5, 1e-6)
_PREPARATIONS = ("torch.enable_grad", KEPT)
_AUTOGRAD = ("torch.", "aten.", "grad_fn", *_PREPARATIONS)
_INSIDES = ("sys.", "inspect.", "traceback.", "gc.", "ctypes", *FRAMES)
# What a student reads whose assignment gives no points for it.
_RULES: Mapping[FlagKind, str] = {
    "delegates-to-autograd": "has built-in autograd work out the gradient",
    "built-in-in-place": "has a built-in function in the place of your own",
    "finite-differences": "works the gradient out from finite differences",
    "inspects-the-grader": "looks at the program that runs it",
}


@dataclass(frozen=True)
class Evidence:
    """What speaks for a flag of one stage, and the first line that it stands on.

    ``telling`` evidence is of more than preparations, which alone work no gradient out.
    """

    kind: FlagKind
    stage: str
    text: str
    place: str = ""
    code: str = ""
    telling: bool = True

    @property
    def flag(self) -> Flag:
        """The evidence as a report has it."""
        return Flag(self.kind, self.stage, self.text)


@dataclass(frozen=True)
class Told:
    """What a stage makes of inputs in float32, and what its own process tells of it."""

    single: Answer
    observed: Observed


def testimony_on(bench: Bench) -> Told | None:
    """What there is to be said beside the checks; None where it could not be had."""
    case, handle = single_case(bench.stage, bench.seed, bench.sizes[0]), next(bench.handles)
    needed = (True,) * len(case.inputs)
    output, returns, observed = bench.candidate.perform(
        [
            Forward(handle, bench.stage.name, case.inputs, needed),
            Backward(handle, case.upstreams[0]),
            _question(bench.stage, bench.cases[0]),
        ]
    )
    return Told(Answer(output, (returns,)), observed) if isinstance(observed, Observed) else None


def evidence_in(stage: str, told: Observed) -> Iterator[Evidence]:
    """What the testimony holds against the stage, one piece for each kind."""
    ran = [each for each in told.dispatched if "_backward" in each.what]
    ran += [*told.packed, *told.differences]
    if told.built_in:
        text = f"The output of {stage} comes from torch's own {told.built_in}, not from its class."
        yield Evidence("built-in-in-place", stage, text)
        ran = []  # nothing of the student's has run
    kinds: dict[FlagKind, list[tuple[Seen, str]]] = {}
    for several, where in ((told.named, "in the source"), (ran, "as it ran")):
        for each in several:
            kind = _kind_of(each.what)
            if kind:
                kinds.setdefault(kind, []).append((each, where))
    for found, said in kinds.items():
        said.sort(key=lambda one: one[0].what in _PREPARATIONS)
        first = said[0][0]
        telling = first.what not in _PREPARATIONS
        yield Evidence(found, stage, _text(said), first.place, first.code, telling)


def advice_in(bench: Bench, told: Observed) -> Iterator[str]:
    """What is worth knowing beside right gradients, a sentence each."""
    name = bench.stage.name
    if told.on_ctx:
        yield (
            "forward keeps tensors in attributes of ctx: hand inputs and outputs to "
            "ctx.save_for_backward, so that torch can see when they change in place."
        )
    elif told.second is not None and not _second_is_right(bench, told.second):
        yield (
            f"{name} cannot be differentiated twice: write @once_differentiable (from "
            "torch.autograd.function) above backward, so that torch says so to whoever tries."
        )


def with_consequences(
    checks: Sequence[Check], evidence: Sequence[Evidence], rules: Settings
) -> tuple[Check, ...]:
    """The checks, those of a stage without points where the settings say so."""
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
    line = f", at {why.place}: `{why.code}`" if why.place else ""
    message = (
        f"{check.stage} {_RULES[why.kind]}{line}. This assignment gives no points for that: "
        "write the gradient's own formula."
    )
    return replace(
        check,
        outcome="failed",
        points=0.0,
        message=message if rules.shows("where") else "",
        staff=f"{why.kind}: {why.text}",
    )


def _kind_of(what: str) -> FlagKind | None:
    """Which kind of flag a piece of testimony speaks for; None for words that mean nothing here."""
    if what in FINITE:
        return "finite-differences"
    if what.startswith(_AUTOGRAD):
        return "delegates-to-autograd"
    return "inspects-the-grader" if what.startswith(_INSIDES) else None


def _text(said: Sequence[tuple[Seen, str]]) -> str:
    """The evidence line by line: what stands there, and what was seen of it."""
    lines: dict[tuple[str, str], dict[str, list[str]]] = {}
    for each, where in said:
        lines.setdefault((each.place, each.code), {}).setdefault(where, []).append(each.what)
    return "; ".join(
        f"{place or 'somewhere'}{f': `{code}`' if code else ''} ("
        + "; ".join(f"{where}: {', '.join(whats)}" for where, whats in found.items())
        + ")"
        for (place, code), found in lines.items()
    )[:EVIDENCE_LIMIT]


def _second_is_right(bench: Bench, found: Sequence[object]) -> bool:
    """Whether the second derivatives are those of the reference."""
    right = _reference(bench.stage, bench.cases[0])
    return len(found) == len(right) and all(
        isinstance(got, Tensor)
        and got.shape == want.shape
        and difference(got, want, SECOND, size=1.0) is None
        for got, want in zip(found, right, strict=True)
    )


@lru_cache(maxsize=256)
def _question(stage: Stage, case: Case) -> Observe:
    required = tuple(name in stage.required for name in stage.inputs)
    return Observe(stage.name, case.inputs, case.upstreams[0], required)


@lru_cache(maxsize=256)
def _reference(stage: Stage, case: Case) -> tuple[Tensor, ...]:
    return second_derivatives(stage.forward, _question(stage, case))
