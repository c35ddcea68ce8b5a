"""Compare formulas with a stage's true gradients at generic points of many sizes."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import CodeType
from typing import Any

import torch
from torch import Tensor

from harness.course.inputs import Sizes, is_real_tensor
from harness.course.stage import Stage, Upstream, Values, as_exact_as

POINTS = 12
RELATIVE, ROOM = 1e-12, 1e-14
# How often a point is moved by its last digit, and how many times as much as its answers vary by
# that other evaluations of the same function may.
MOVES, TIMES = 3, 10


@dataclass(frozen=True, eq=False)
class Answers:
    """The right outputs and gradients at a point, and how far off right ones may be."""

    inputs: Values
    upstream: Upstream
    outputs: tuple[Tensor, ...]
    gradients: tuple[Tensor | None, ...]
    output_rooms: tuple[float, ...]
    gradient_rooms: tuple[float, ...]


def same_as_true(stage: Stage, name: str, expression: str) -> str | None:
    """Return why ``expression`` equals the true gradient of input ``name``, or None if it does not.

    It does if it has the same value in double precision, to 12 digits or to as many as the true
    one has, at generic points of many sizes, and the same shape, apart from leading axes of size 1,
    which torch drops.
    """
    wider = False
    for point in generic_answers(stage):
        at = stage.position(name)
        true = point.gradients[at]
        if true is None:
            # An optional tensor is not there.
            continue
        value = value_of(stage, expression, point.inputs, point.upstream)
        if value is None or not close(value, true, point.gradient_rooms[at]):
            return None
        wider |= value.shape != true.shape
    why = f"the same value at {POINTS} generic points"
    return why + (", with extra leading axes of size 1" if wider else "")


def value_of(
    stage: Stage,
    expression: str,
    inputs: Values,
    upstream: Upstream,
    outputs: Sequence[Tensor] | None = None,
) -> Tensor | None:
    """Return the value of an expression, or None if it raises or is not a tensor."""
    try:
        scope = _scope(stage, inputs, upstream, None if outputs is None else tuple(outputs))
        with warnings.catch_warnings(), as_exact_as(inputs):
            # Transposing what is not a matrix is deprecated, not wrong.
            warnings.simplefilter("ignore")
            value: object = eval(_code(expression), scope)
    except Exception:
        # Shapes that do not fit, and whatever else a wrong formula may run into.
        return None
    return value if isinstance(value, Tensor) else None


# The cache compares tensors by identity; many formulas are tried at each place.
@lru_cache(maxsize=128)
def _scope(
    stage: Stage, inputs: Values, upstream: Upstream, outputs: tuple[Tensor, ...] | None
) -> dict[str, Any]:
    return stage.whole_scope(inputs, upstream, outputs)


@lru_cache(maxsize=8192)
def _code(expression: str) -> CodeType:
    return compile(expression, "<formula>", "eval")


def close(value: Tensor, true: Tensor, more: float = 0.0) -> bool:
    """Return whether two tensors are equal, apart from leading axes of size 1 in the first.

    They may differ in the last digits, and by ``more``.
    """
    leading = value.dim() - true.dim()
    if leading < 0 or value.shape != (1,) * leading + tuple(true.shape):
        return False
    if not value.is_floating_point():
        return False
    value = value.detach().double().reshape(true.shape)
    room = ROOM * float(true.abs().max()) + more if true.numel() else 0.0
    return bool(((value - true).abs() <= RELATIVE * true.abs() + room).all())


def generic_points(stage: Stage) -> Iterator[tuple[Values, Upstream]]:
    """Yield inputs and upstreams of sizes that are all different, at last with axes of size 1."""
    for number in range(POINTS):
        generator = torch.Generator().manual_seed(7919 * number + 17)
        inputs = stage.sample(generator, _sizes(stage, number), number)
        yield (
            inputs,
            tuple(
                2 * torch.randn(output.shape, generator=generator, dtype=torch.float64)
                if output.is_floating_point()
                else None
                for output in stage.run(inputs)
            ),
        )


@lru_cache(maxsize=64)
def generic_answers(stage: Stage) -> tuple[Answers, ...]:
    """Return the generic points of a stage with the right answers."""
    return tuple(answers(stage, *point) for point in generic_points(stage))


def answers(stage: Stage, inputs: Values, upstream: Upstream) -> Answers:
    """Return the right answers at a point.

    A reference may itself have few digits, as layer norm has where rows hardly vary. How many is
    seen by moving the point by the last digit of its numbers. Where a gradient is 0, rounding
    leaves some digits of the upstream.
    """
    outputs, gradients = stage.run(inputs), stage.true_gradients(inputs, upstream)
    generator = torch.Generator().manual_seed(5)
    size = max(float(each.abs().max()) for each in upstream if each is not None and each.numel())
    rooms = [0.0] * len(outputs) + [ROOM * size] * len(gradients)
    for _ in range(MOVES):
        moved, other = (_moved(each, generator) for each in (inputs, upstream))
        found = (*stage.run(moved), *stage.true_gradients(moved, other))
        differences = map(_difference, found, (*outputs, *gradients))
        rooms = [max(room, TIMES * more) for room, more in zip(rooms, differences, strict=True)]
    parts = tuple(rooms[: len(outputs)]), tuple(rooms[len(outputs) :])
    return Answers(inputs, upstream, outputs, gradients, *parts)


def _moved(values: Values | Upstream, generator: torch.Generator) -> Any:
    """Return the values with the last digit of every real number moved up, down, or not."""

    def moved(value: Tensor) -> Tensor:
        ways = torch.randint(-1, 2, value.shape, generator=generator)
        return value * (1 + torch.finfo(value.dtype).eps * ways)

    return tuple(
        moved(value) if isinstance(value, Tensor) and is_real_tensor(value) else value
        for value in values
    )


def _difference(value: Tensor | None, other: Tensor | None) -> float:
    if value is None or other is None or not value.numel() or value.shape != other.shape:
        return 0.0
    return float((value.double() - other.double()).abs().nan_to_num().max())


def _sizes(stage: Stage, number: int) -> Sizes:
    dimensions = stage.dimensions
    kinds = stage.inputs.values()
    if stage.conditions or any(each.is_given or each.optional or each.several for each in kinds):
        return stage.sizes[number % len(stage.sizes)]
    if number == POINTS - 1:
        return dict.fromkeys(dimensions, 1)
    spread = (2, 5, 3, 7, 6, 4)
    return {name: spread[(number + place) % 6] for place, name in enumerate(dimensions)}
