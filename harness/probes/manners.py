"""Manners that torch relies on: they matter once the gradients themselves are right."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor

from harness.candidate import Backward, Forward, Operation, Read, Trouble, Unchanged
from harness.probes.bench import Answer, Bench, Failed
from harness.probes.cases import Case, case_of, extreme_cases, generator_for
from harness.probes.compare import EXTREMES, PRECISION, difference, number
from harness.probes.forward import judge_output
from harness.probes.gradient import judge_gradient, usable_gradient


def precision(bench: Bench) -> None:
    """The gradients keep double precision"""
    for case, answer in zip(bench.cases, bench.answers, strict=True):
        for turn in range(len(case.upstreams)):
            values = bench.returned(answer, turn, case)
            for name in bench.sound:
                at = tuple(bench.stage.inputs).index(name)
                got = usable_gradient(bench, name, case, turn, values)
                size = float(case.upstreams[turn].abs().max())
                right = case.gradients[turn][at]
                if got is not None and difference(got, right, PRECISION, size=size):
                    raise Failed(
                        f"{bench.stage.name}.backward: ∂C/∂{name} is right, but loses digits.",
                        "It agrees to 6 digits and not to 9: does something in backward turn "
                        "float64 into float32, or approximate?",
                        case=case.facts(),
                    )


def stability(bench: Bench) -> None:
    """Values far from zero give finite, right results"""
    cases = tuple(extreme_cases(bench.stage, bench.seed, bench.sizes[0]))
    for case, answer in zip(cases, bench.ask(cases), strict=True):
        try:
            judge_output(bench, case, bench.output(answer.output, case), EXTREMES)
            values = bench.returned(answer, 0, case)
            for name in bench.sound:
                judge_gradient(bench, name, case, 0, values, EXTREMES)
        except Failed as failed:
            raise Failed(
                f"{bench.stage.name} breaks down for some of the values {_values(bench)}.",
                "Does an exponential overflow to inf, so that inf / inf gives nan?",
                staff=failed.staff,
                case=case.facts(),
            ) from None


def purity(bench: Bench) -> None:
    """The inputs and the upstream gradient are left unchanged"""
    for case in bench.cases[:2]:
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
    first, second = bench.cases[:2]
    one, two = next(bench.handles), next(bench.handles)
    needed = (True,) * len(first.inputs)
    stage = bench.stage.name
    replies = bench.candidate.perform(
        [
            Forward(one, stage, first.inputs, needed),
            Forward(two, stage, second.inputs, needed),
            Backward(one, first.upstreams[0]),
            Backward(two, second.upstreams[0]),
            Backward(one, first.upstreams[0]),
        ]
    )
    turns = (
        (first, Answer(replies[0], (replies[2],)), "a later forward has run"),
        (second, Answer(replies[1], (replies[3],)), "another backward has run"),
        (first, Answer(replies[0], (replies[4],)), "its backward has run once before"),
    )
    for case, answer, after in turns:
        values = bench.returned(answer, 0, case)
        _judge_all(
            bench,
            case,
            values,
            f"{stage}.backward gives a wrong gradient after {after}.",
            "Keep what backward needs in ctx (ctx.save_for_backward), not in the class or in a "
            "global, and do not change what you saved.",
        )


def layout(bench: Bench) -> None:
    """Transposed and expanded tensors give the same gradients"""
    generator = generator_for(bench.seed, bench.stage.name, "layout")
    inputs = bench.stage.sample(generator, bench.sizes[0])
    output = bench.stage.forward(*inputs)
    upstream = torch.randn(output.shape, generator=generator, dtype=torch.float64)
    one = torch.randn((), generator=generator, dtype=torch.float64).expand(output.shape)
    rows = tuple(value[:1].expand(value.shape) for value in inputs if value.dim() == 2)
    expanded = (*rows, *(value for value in inputs if value.dim() != 2))
    cases = [_layout_case(bench, tuple(map(_transposed, inputs)), (_transposed(upstream), one))]
    if len(rows) == len(inputs):
        cases.append(_layout_case(bench, expanded, (upstream,)))
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
    for needed in product((True, False), repeat=len(case.inputs)):
        if all(needed) or not any(needed):
            continue
        (answer,) = bench.ask([case], requires_grad=needed)
        values = bench.returned(answer, 0, case)
        asked = [name for name, need in zip(bench.stage.inputs, needed, strict=True) if need]
        names = [name for name in asked if name in bench.sound]
        if not names:
            continue
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
            raise Failed(where, detail, staff=failed.staff, case=case.facts()) from None


def _layout_case(bench: Bench, inputs: tuple[Tensor, ...], upstreams: tuple[Tensor, ...]) -> Case:
    return case_of(bench.stage, bench.seed, bench.sizes[0], inputs, upstreams)


def _transposed(value: Tensor) -> Tensor:
    return value.T.contiguous().T if value.dim() == 2 else value


def _values(bench: Bench) -> str:
    return "; ".join(
        f"{name} = {', '.join(number(value) for value in values)}"
        for name, values in bench.stage.extremes.items()
    )
