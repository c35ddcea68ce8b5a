"""Manners that torch relies on: they matter once the gradients themselves are right."""

from __future__ import annotations

import math
from itertools import product

from harness.candidate.operations import Backward, Forward, Operation, Read, Trouble, Unchanged
from harness.probes.cases import Case, extreme_cases, layout_cases, memory_cases, shuffled
from harness.probes.compare import DIGITS, EXTREMES, PRECISION, difference, number
from harness.probes.context import Answer, Bench, Errored, Failed, noting
from harness.probes.float32 import judge_in_float32
from harness.probes.forward import judge_output
from harness.probes.gradient import judge_gradient, usable_gradient


def precision(bench: Bench) -> None:
    """Forward and backward keep double precision, and work in single precision too"""
    for case, answer in bench.answers_one_by_one():
        for turn in range(len(case.upstreams)):
            values = bench.returned(answer, turn, case)
            for name in bench.sound:
                at = tuple(bench.stage.inputs).index(name)
                got = usable_gradient(bench, name, case, turn, values)
                right = case.gradients[turn][at]
                size = case.reach[turn]
                if got is not None and difference(got, right, PRECISION, size=size):
                    raise Failed(
                        f"{bench.stage.name}.backward: ∂C/∂{name} is right, but loses digits.",
                        "It agrees to 6 digits and not to 9: does something in backward turn "
                        "float64 into float32, or approximate?",
                        case=case.facts(turn),
                    )
    judge_in_float32(bench, forward=_outputs_are_right(bench))


def _outputs_are_right(bench: Bench) -> bool:
    """Whether forward is right; a wrong one has its own failure. Raises Failed where it is right
    and loses digits."""
    outputs = [
        (case, bench.output(reply, case))
        for case, reply in zip(bench.cases, bench.outputs, strict=True)
    ]
    try:
        for case, output in outputs:
            judge_output(bench, case, output)
    except Failed:
        return False
    try:
        for case, output in outputs:
            judge_output(bench, case, output, DIGITS)
    except Failed as failed:
        raise failed.restated(
            f"{bench.stage.name}.forward is right, but loses digits.",
            "It agrees to 6 digits and not to 9: does something in forward turn float64 into "
            "float32, or approximate?",
        ) from None
    return True


def stability(bench: Bench) -> None:
    """Values far from zero give finite, right results"""
    cases = extreme_cases(bench.stage, bench.seed, bench.sizes_for("stability"))
    for case, answer in zip(cases, bench.ask(cases), strict=True):
        try:
            judge_output(bench, case, bench.output(answer.output, case), EXTREMES)
            values = bench.returned(answer, 0, case)
            for name in bench.sound:
                judge_gradient(bench, name, case, 0, values, EXTREMES)
        except Failed as failed:
            raise failed.restated(
                f"{bench.stage.name} breaks down for some values of {_values(bench)}.",
                f"{failed.detail} {_far_out(failed.got)}".strip(),
            ) from None


def _far_out(got: float | None) -> str:
    """A question on what came back far from zero, where one value is wrong."""
    if got is None:
        return ""
    if not math.isfinite(got):
        return "Does an exponential overflow to inf, so that inf / inf gives nan?"
    if got == 0:
        return "It is small there, and not 0: does your formula stop somewhere?"
    return "Is something cut off or approximated there?"


def purity(bench: Bench) -> None:
    """The inputs and the upstream gradient are left unchanged"""
    for case in bench.cases[1:3]:
        handle = next(bench.handles)
        needed = (True,) * len(case.inputs)
        script: list[Operation] = [Forward(handle, bench.stage.name, case.inputs, needed)]
        script += [Backward(handle, upstream) for upstream in case.upstreams]
        reply = bench.candidate.perform([*script, Read(handle)])[-1]
        if isinstance(reply, Trouble):
            bench.trouble(reply, "backward", case)
        assert isinstance(reply, Unchanged)
        names = zip(bench.stage.inputs, reply.inputs, strict=True)
        changed = [name for name, same in names if not same]
        if not all(reply.upstreams):
            changed.append("the upstream gradient")
        if changed:
            raise Failed(
                f"{bench.stage.name} changes {' and '.join(changed)} in place.",
                "Another part of the network still needs the old values: compute new tensors "
                "(x * 2) rather than changing the ones you were given (x *= 2).",
                case=case.facts(),
            )


def memory(bench: Bench) -> None:
    """Calls do not disturb each other, and backward can run twice"""
    first, second, *others = memory_cases(bench.stage, bench.seed, bench.sizes)
    _judge_pair(bench, first, second, "")
    try:
        for other in others:
            _judge_pair(bench, first, other, " with other sizes")
    except Errored as raised:
        # Of calls that are fine each by itself: what raises is one that reads another's memory.
        raise raised.restated(
            f"{bench.stage.name}.backward raises after a forward with other sizes has run.", _KEEP
        ) from None


_KEEP = (
    "Keep what backward needs in ctx (ctx.save_for_backward), not in the class or in a global, "
    "and do not change what you saved."
)


def _judge_pair(bench: Bench, first: Case, second: Case, what: str) -> None:
    """Judges two calls that interleave; ``what`` tells the second from the first."""
    one, two = next(bench.handles), next(bench.handles)
    needed = (True,) * len(first.inputs)
    stage = bench.stage.name
    replies = bench.candidate.perform(
        [
            Forward(one, stage, first.inputs, needed),
            Forward(two, stage, second.inputs, needed),
            Backward(one, first.upstreams[0]),
            Backward(two, second.upstreams[0]),
            Read(one),
            Backward(one, first.upstreams[0]),
        ]
    )
    read = replies.pop(4)
    turns = (
        (first, Answer(replies[0], (replies[2],)), f"a later forward{what} has run"),
        (second, Answer(replies[1], (replies[3],)), f"another backward{what} has run"),
        (first, Answer(replies[0], (replies[4],)), "its backward has run once before"),
    )
    with noting(second_seed=second.seed, second_index=second.index):
        for case, answer, after in turns:
            values = bench.returned(answer, 0, case)
            where = f"{stage}.backward gives a wrong gradient after {after}."
            _judge_all(bench, case, values, where, _KEEP)
        if isinstance(read, Unchanged) and not read.results:
            raise Failed(
                f"What {stage} has returned changes when it is called again{what}.",
                "Return a new tensor from each call, not one that is kept in the class or in a "
                "global and filled anew.",
                case=first.facts(),
            )


def layout(bench: Bench) -> None:
    """Transposed and expanded tensors give the same gradients"""
    cases = layout_cases(bench.stage, bench.seed, bench.sizes_for("layout"))
    for case, answer in zip(cases, bench.ask(cases), strict=True):
        for turn in range(len(case.upstreams)):
            values = bench.returned(answer, turn, case)
            _judge_all(
                bench,
                case,
                values,
                f"{bench.stage.name}.backward is wrong when a tensor is transposed or expanded.",
                "The values are the same, only their order in memory differs: operations such "
                "as @, *, .T and sum do not mind.",
                turn=turn,
            )


def subsets(bench: Bench) -> None:
    """Each input gets its gradient whichever others need one"""
    case = bench.cases[1]
    ways = product((True, False), repeat=len(case.inputs))
    for needed in shuffled(ways, bench.seed, bench.stage.name, "subsets"):
        if all(needed) or not any(needed):
            continue
        with noting(requires_grad=sum(need << place for place, need in enumerate(needed))):
            _judge_subset(bench, case, needed)


def _judge_subset(bench: Bench, case: Case, needed: tuple[bool, ...]) -> None:
    (answer,) = bench.ask([case], requires_grad=needed)
    values = bench.returned(answer, 0, case)
    asked = [name for name, need in zip(bench.stage.inputs, needed, strict=True) if need]
    names = [name for name in asked if name in bench.sound]
    if not names:
        return
    _judge_all(
        bench,
        case,
        values,
        f"{bench.stage.name}.backward is wrong when only {' and '.join(asked)} "
        f"need{'s' if len(asked) == 1 else ''} a gradient.",
        "ctx.needs_input_grad tells which inputs need one, in the order of forward's inputs.",
        names=names,
    )


def _judge_all(
    bench: Bench,
    case: Case,
    values: tuple[object, ...],
    where: str,
    detail: str,
    *,
    turn: int = 0,
    names: list[str] | None = None,
) -> None:
    for name in names or bench.sound:
        try:
            judge_gradient(bench, name, case, turn, values)  # type: ignore[arg-type]
        except Failed as failed:
            raise failed.restated(where, detail) from None


def _values(bench: Bench) -> str:
    return "; ".join(
        f"{name} from {number(min(values))} to {number(max(values))}"
        for name, values in bench.stage.extremes.items()
    )
