"""Tell whether a class does exactly what its stage asks for, without the judge."""

from collections.abc import Sequence
from dataclasses import replace
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
from harness.course.stage import Stage, Upstream
from harness.formulas.same import Answers, answers, close, generic_answers

Mask = tuple[bool, ...]
POINTS = 6
SCALES = (1.0, -2.0, 3.0)
# Of more inputs than six, not every subset is tried.
MOST_MASKS = 63


def same_behaviour(stage: Stage, candidate: Candidate) -> bool:
    """Return whether forward and backward give the right values, to 12 digits, at generic points.

    Pairs of calls interleave, backward runs again for another upstream, every subset of the inputs
    needs a gradient once, each of several outputs is used alone once, and neither inputs nor
    upstreams may change.
    """
    points = list(islice(generic_answers(stage), POINTS))
    pairs = [(one, other, _everything(stage, one)) for one, other in pairwise(points)]
    pairs += [(points[0], points[1], mask) for mask in _subsets(_everything(stage, points[0]))]
    alone = [answers(stage, points[0].inputs, each) for each in _alone(points[0].upstream)]
    pairs += [(one, points[1], _everything(stage, one)) for one in alone]
    return all(
        _pair_is_right(stage, candidate, 10 * number, (one, other), mask)
        for number, (one, other, mask) in enumerate(pairs)
    )


def _everything(stage: Stage, point: Answers) -> Mask:
    return stage.with_gradient(point.inputs)


def _subsets(has: Mask) -> list[Mask]:
    subsets = product(*((True, False) if each else (False,) for each in has))
    return [mask for mask in islice(subsets, MOST_MASKS + 1) if any(mask)][1:]


def _alone(upstream: Upstream) -> list[Upstream]:
    """Return the upstreams in which only one of several outputs is used."""
    if len(upstream) == 1:
        return []
    used = [place for place, each in enumerate(upstream) if each is not None]
    return [
        tuple(each if place == kept else None for place, each in enumerate(upstream))
        for kept in used
    ]


def _pair_is_right(
    stage: Stage, candidate: Candidate, handle: int, pair: tuple[Answers, Answers], mask: Mask
) -> bool:
    asked = (0, 1, 0)  # the call that each backward belongs to
    points = [_scaled(pair[at], scale) for at, scale in zip(asked, SCALES, strict=True)]
    masks = [_fitting(stage, point, mask) for point in points]
    script: list[Operation] = [
        Forward(handle + at, stage.name, point.inputs, masks[at]) for at, point in enumerate(pair)
    ]
    script += [
        Backward(handle + at, point.upstream) for at, point in zip(asked, points, strict=True)
    ]
    script += [Read(handle), Read(handle + 1)]
    replies = candidate.perform(script)
    outputs, returned, read = replies[:2], replies[2:5], replies[5:]
    return (
        all(map(_are_outputs, outputs, pair))
        and all(
            _are_gradients(stage, reply, point, needed)
            for reply, point, needed in zip(returned, points, masks, strict=True)
        )
        and all(_is_untouched(stage, reply, point) for reply, point in zip(read, pair, strict=True))
    )


def _fitting(stage: Stage, point: Answers, mask: Mask) -> Mask:
    """Return the mask, or all that has a gradient if the point has other arguments."""
    has = _everything(stage, point)
    wanted = len(mask) == len(has) and all(
        can or not need for need, can in zip(mask, has, strict=True)
    )
    return mask if wanted else has


def _scaled(point: Answers, scale: float) -> Answers:
    return replace(
        point,
        upstream=tuple(None if each is None else scale * each for each in point.upstream),
        gradients=tuple(None if each is None else scale * each for each in point.gradients),
        gradient_rooms=tuple(abs(scale) * room for room in point.gradient_rooms),
    )


def _are_outputs(reply: Reply, point: Answers) -> bool:
    if not isinstance(reply, Output) or len(reply.values) != len(point.outputs):
        return False
    return reply.several == (len(point.outputs) > 1) and all(
        isinstance(value, Tensor) and value.shape == right.shape and _is_close(value, right, room)
        for value, right, room in zip(reply.values, point.outputs, point.output_rooms, strict=True)
    )


def _is_close(value: Tensor, right: Tensor, room: float) -> bool:
    if right.is_floating_point():
        return close(value, right, room)
    return value.dtype == right.dtype and value.equal(right)


def _are_gradients(stage: Stage, reply: Reply, point: Answers, mask: Mask) -> bool:
    if not isinstance(reply, Returns):
        return False
    names = stage.names_of(point.inputs)
    values, more = reply.values[: len(names)], reply.values[len(names) :]
    # Torch ignores None beyond the last input.
    if len(values) < len(names) or any(value is not None for value in more):
        return False
    rows = zip(names, values, point.gradients, point.gradient_rooms, mask, strict=True)
    return all(
        not needed
        or (value is None and name in stage.optional)
        or (isinstance(value, Tensor) and right is not None and close(value, right, room))
        for name, value, right, room, needed in rows
    )


def _is_untouched(stage: Stage, reply: Reply, point: Answers) -> bool:
    if not isinstance(reply, Unchanged):
        return False
    names = zip(stage.names_of(point.inputs), reply.inputs, strict=True)
    kept: Sequence[bool] = [
        same for name, same in names if stage.inputs[name].kind.role != "buffer"
    ]
    return all((*kept, *reply.upstreams, reply.results))
