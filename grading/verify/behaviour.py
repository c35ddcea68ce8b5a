"""Tell whether a class does exactly what its stage asks for, without the judge."""

from collections.abc import Sequence
from itertools import islice, pairwise, product

from torch import Tensor

from harness.candidate import operations as ops
from harness.cases.cases import SCALES, SMALL, Case, largest
from harness.cases.rounding import rounding
from harness.course.stage import Stage
from harness.formulas.same import close, generic_cases, has_choices, is_gradient

Mask = tuple[bool, ...]
POINTS = 6
# Of more inputs than six, not every subset is tried.
MOST_MASKS = 63


def same_behaviour(stage: Stage, candidate: ops.Candidate) -> bool:
    """Return whether forward and backward give the right values, to 12 digits, at generic points.

    Pairs of calls interleave, backward runs again for another upstream, every subset of the inputs
    needs a gradient once, each part of several outputs is used alone once, and neither inputs nor
    upstreams may change.
    """
    points = _points(stage)
    first, second = points[:2]
    every = stage.with_gradient(first.inputs)
    pairs = [(pair, stage.with_gradient(pair[0].inputs), 0) for pair in pairwise(points)]
    pairs += [((first, second), mask, 0) for mask in _subsets(every)]
    pairs += [((first, second), every, at) for at in range(len(SCALES), len(first.upstreams))]
    return all(
        _pair_is_right(stage, candidate, 10 * number, *each) for number, each in enumerate(pairs)
    )


def _points(stage: Stage) -> list[Case]:
    """Return the first generic points; where there are choices, all but the largest.

    Among many numbers are some for which a reference itself has fewer digits: from 20 on, torch's
    softplus leaves out a term of up to 2e-9.
    """
    points = generic_cases(stage)
    more = points[POINTS:] if has_choices(stage) else ()
    small = (
        each
        for each in more
        if min((each.sizes[name] for name in stage.dimensions), default=0) <= SMALL
    )
    return [*points[:POINTS], *small]


def _subsets(has: Mask) -> list[Mask]:
    subsets = product(*((True, False) if each else (False,) for each in has))
    return [mask for mask in islice(subsets, MOST_MASKS + 1) if any(mask)][1:]


def _pair_is_right(
    stage: Stage,
    candidate: ops.Candidate,
    handle: int,
    pair: tuple[Case, Case],
    mask: Mask,
    begin: int,
) -> bool:
    """Judge two calls; the first upstream of the first of them has the index ``begin``."""
    masks = [_fitting(stage, case, mask) for case in pair]
    # The call and the upstream of each backward.
    asked = ((0, begin), (1, 1), (0, 2))
    script: list[ops.Operation] = [
        ops.Forward(handle + at, stage.name, case.inputs, masks[at]) for at, case in enumerate(pair)
    ]
    script += [ops.Backward(handle + at, pair[at].upstreams[index]) for at, index in asked]
    script += [ops.Read(handle), ops.Read(handle + 1)]
    replies = candidate.perform(script)
    return (
        all(_are_outputs(stage, *each) for each in zip(replies[:2], pair, strict=True))
        and all(
            _are_gradients(stage, reply, pair[at], index, masks[at])
            for reply, (at, index) in zip(replies[2:5], asked, strict=True)
        )
        and all(_is_untouched(stage, *each) for each in zip(replies[5:], pair, strict=True))
    )


def _fitting(stage: Stage, case: Case, mask: Mask) -> Mask:
    """Return the mask, or all that has a gradient if the case has other arguments."""
    has = stage.with_gradient(case.inputs)
    wanted = len(mask) == len(has) and all(
        can or not need for need, can in zip(mask, has, strict=True)
    )
    return mask if wanted else has


def _are_outputs(stage: Stage, reply: ops.Reply, case: Case) -> bool:
    if not isinstance(reply, ops.Output) or len(reply.values) != len(case.outputs):
        return False
    return reply.several == (len(case.outputs) > 1) and all(
        isinstance(value, Tensor)
        and value.shape == right.shape
        and _is_output(stage, case, at, value)
        for at, (value, right) in enumerate(zip(reply.values, case.outputs, strict=True))
    )


def _is_output(stage: Stage, case: Case, at: int, value: Tensor) -> bool:
    right = case.outputs[at]
    if not right.is_floating_point():
        return value.dtype == right.dtype and value.equal(right)
    return close(value, right) or close(
        value, right, largest([rounding(stage, case, 0).outputs[at]])
    )


def _are_gradients(stage: Stage, reply: ops.Reply, case: Case, index: int, mask: Mask) -> bool:
    if not isinstance(reply, ops.Returns):
        return False
    names = stage.names_of(case.inputs)
    values, more = reply.values[: len(names)], reply.values[len(names) :]
    # Torch ignores None beyond the last input.
    if len(values) < len(names) or any(value is not None for value in more):
        return False
    return all(
        not needed
        or (value is None and name in stage.optional)
        or (isinstance(value, Tensor) and is_gradient(stage, case, index, at, value))
        for at, (name, value, needed) in enumerate(zip(names, values, mask, strict=True))
    )


def _is_untouched(stage: Stage, reply: ops.Reply, case: Case) -> bool:
    if not isinstance(reply, ops.Unchanged):
        return False
    names = zip(stage.names_of(case.inputs), reply.inputs, strict=True)
    kept: Sequence[bool] = [
        same for name, same in names if stage.inputs[name].kind.role != "buffer"
    ]
    return all((*kept, *reply.upstreams, reply.results))
