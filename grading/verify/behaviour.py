"""Tell whether a class does exactly what its stage asks for, without the judge."""

from collections.abc import Sequence
from itertools import islice, pairwise, product

from torch import Tensor

from harness.candidate.operations import (
    Backward,
    Candidate,
    Forward,
    Operation,
    Output,
    Read,
    Reply,
    Returns,
    Unchanged,
)
from harness.course.stage import Stage, Upstream, Values
from harness.formulas.same import close, generic_points

Point = tuple[Values, Upstream]
Mask = tuple[bool, ...]
POINTS = 6
SCALES = (1.0, -2.0, 3.0)


def same_behaviour(stage: Stage, candidate: Candidate) -> bool:
    """Return whether forward and backward give the right values, to 12 digits, at generic points.

    Pairs of calls interleave, backward runs again for another upstream, every subset of the inputs
    needs a gradient once, and neither inputs nor upstreams may change.
    """
    points = list(islice(generic_points(stage), POINTS))
    has = stage.with_gradient(points[0][0])
    subsets = product(*((True, False) if each else (False,) for each in has))
    masks = [mask for mask in subsets if any(mask)]
    everything = masks[0]
    pairs = [(one, other, everything) for one, other in pairwise(points)]
    pairs += [(points[0], points[1], mask) for mask in masks[1:]]
    return all(
        _pair_is_right(stage, candidate, 10 * number, (one, other), mask)
        for number, (one, other, mask) in enumerate(pairs)
    )


def _pair_is_right(
    stage: Stage, candidate: Candidate, handle: int, pair: tuple[Point, Point], mask: Mask
) -> bool:
    asked = (0, 1, 0)  # the call that each backward belongs to
    script: list[Operation] = [
        Forward(handle + at, stage.name, inputs, mask) for at, (inputs, _) in enumerate(pair)
    ]
    script += [
        Backward(handle + at, _scaled(pair[at][1], number)) for number, at in enumerate(asked)
    ]
    script += [Read(handle), Read(handle + 1)]
    replies = candidate.perform(script)
    outputs, returned, read = replies[:2], replies[2:5], replies[5:]
    right_outputs = all(
        _are_outputs(reply, stage.run(inputs))
        for reply, (inputs, _) in zip(outputs, pair, strict=True)
    )
    right_gradients = all(
        _are_gradients(stage, reply, (pair[at][0], _scaled(pair[at][1], number)), mask)
        for number, (at, reply) in enumerate(zip(asked, returned, strict=True))
    )
    untouched = all(
        isinstance(reply, Unchanged) and all((*reply.inputs, *reply.upstreams, reply.results))
        for reply in read
    )
    return right_outputs and right_gradients and untouched


def _scaled(upstream: Upstream, number: int) -> Upstream:
    return tuple(None if each is None else SCALES[number] * each for each in upstream)


def _are_outputs(reply: Reply, right: Sequence[Tensor]) -> bool:
    if not isinstance(reply, Output) or len(reply.values) != len(right):
        return False
    return all(
        isinstance(value, Tensor) and value.shape == each.shape and close(value, each)
        for value, each in zip(reply.values, right, strict=True)
    )


def _are_gradients(stage: Stage, reply: Reply, point: Point, mask: Mask) -> bool:
    if not isinstance(reply, Returns):
        return False
    names = stage.names_of(point[0])
    values, more = reply.values[: len(names)], reply.values[len(names) :]
    # Torch ignores None beyond the last input.
    if len(values) < len(names) or any(value is not None for value in more):
        return False
    true = stage.true_gradients(*point)
    rows = zip(names, values, true, mask, strict=True)
    return all(
        not needed
        or (value is None and name in stage.optional)
        or (isinstance(value, Tensor) and right is not None and close(value, right))
        for name, value, right, needed in rows
    )
