"""How exact a reference is itself: how far evaluations that are equally good lie apart."""

from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from harness.cases.cases import Case, generator_for
from harness.cases.kinks import REFUSALS
from harness.course.inputs import is_real_tensor
from harness.course.stage import Stage, Upstream, Values

# Inputs are moved by the last digit so often, and answers may be off by so many times the spread.
MOVES, TIMES = 6, 10


class Rounding(NamedTuple):
    """How far each output, and the gradient of each argument, may be off for rounding alone."""

    outputs: tuple[Tensor, ...]
    gradients: tuple[Tensor | None, ...]


@lru_cache(maxsize=256)
def rounding(stage: Stage, case: Case, index: int) -> Rounding:
    """Return what rounding the inputs and one upstream of a case to their precision can change.

    Where that is more than a tolerance, as for the norm of values that are nearly equal, a right
    formula in another form comes to another result.
    """
    right = (*case.outputs, *case.gradients[index])
    count = len(case.outputs)
    if case.rooms:
        rooms = zip(right, case.rooms[index], strict=True)
        known = [None if each is None else torch.full(each.shape, room) for each, room in rooms]
        return Rounding(
            tuple(each for each in known[:count] if each is not None), (*known[count:],)
        )
    generator = generator_for(case.seed, stage.name, case.index, index, "rounding")
    # The first is the reference's own arithmetic, which counts in single precision.
    points: list[tuple[Values, Upstream]] = [(case.inputs, case.upstreams[index])]
    points += [
        (
            tuple(_moved(each, generator) for each in case.inputs),
            tuple(_moved(each, generator) for each in case.upstreams[index]),
        )
        for _ in range(MOVES)
    ]
    found: list[Sequence[Tensor | None]] = [right]
    for inputs, upstream in points:
        with suppress(*REFUSALS):
            found.append((*stage.run(inputs), *stage.true_gradients(inputs, upstream)))
    found.append((*case.outputs, *_as_declared(stage, case, index)))
    columns = zip(right, zip(*found, strict=True), strict=True)
    spreads = tuple(_spread(*column) for column in columns)
    return Rounding(tuple(each for each in spreads[:count] if each is not None), spreads[count:])


def _as_declared(stage: Stage, case: Case, index: int) -> Sequence[Tensor | None]:
    """Return the gradients as the stage's own formulas give them, as far as it has any.

    Built-in autograd may be the less exact: torch's softplus is the identity beyond 20.
    """
    gradients = list(case.gradients[index])
    for name, expression in stage.gradients.items():
        at, right = stage.position(name), gradients[stage.position(name)]
        with suppress(*REFUSALS, NameError, TypeError):
            value = stage.evaluate(expression, case.inputs, case.upstreams[index])
            if right is not None and value.shape == right.shape:
                gradients[at] = value
    return gradients


def _moved(value: Any, generator: torch.Generator) -> Any:
    """Return a real tensor in float64, every entry moved by a digit or not; else the value."""
    if not is_real_tensor(value):
        return value
    digits = torch.randint(-1, 2, value.shape, generator=generator).double()
    return value.double() * (1 + digits * torch.finfo(value.dtype).eps)


def _spread(right: Tensor | None, found: Sequence[Tensor | None]) -> Tensor | None:
    """Return how far the values found are from the right ones; 0 where that is not finite."""
    if right is None:
        return None
    offs = [(each.double() - right.double()).abs() for each in found if each is not None]
    return TIMES * torch.stack(offs).amax(0).nan_to_num(0.0, 0.0)
