"""Compare formulas with a stage's true gradients at generic points of many sizes."""

import warnings
from collections.abc import Sequence
from functools import lru_cache
from types import CodeType
from typing import Any

from torch import Tensor

from harness.cases.cases import GENERIC_SEED, Case, largest, make_case
from harness.cases.rounding import rounding
from harness.course.inputs import Sizes
from harness.course.stage import Stage, Upstream, Values, as_exact_as

POINTS = 12
RELATIVE, ROOM = 1e-12, 1e-14


def same_as_true(stage: Stage, name: str, expression: str) -> str | None:
    """Return why ``expression`` equals the true gradient of input ``name``, or None if it does not.

    It does if it has the same value in double precision, to 12 digits or to as many as the true
    one has, at generic points of many sizes, and the same shape, apart from leading axes of size 1,
    which torch drops.
    """
    wider, at = False, stage.position(name)
    for case in generic_cases(stage):
        if (true := case.gradients[0][at]) is None:
            # An optional tensor is not there.
            continue
        value = value_of(stage, expression, case.inputs, case.upstreams[0])
        if value is None or not is_gradient(stage, case, 0, at, value):
            return None
        wider |= value.shape != true.shape
    why = f"the same value at {len(generic_cases(stage))} generic points"
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


def is_gradient(stage: Stage, case: Case, index: int, at: int, value: Tensor) -> bool:
    """Return whether a value is the right gradient, to the digits that the reference itself has.

    Where a gradient is 0, rounding leaves some digits of the upstream.
    """
    true, least = case.gradients[index][at], ROOM * case.max_abs[index]
    if true is None or close(value, true, least):
        return true is not None
    return close(value, true, least + largest([rounding(stage, case, index).gradients[at]]))


def has_choices(stage: Stage) -> bool:
    """Return whether only the stage's own sizes show all that it depends on."""
    kinds = stage.inputs.values()
    chosen = any(each.is_given or each.optional or each.several for each in kinds)
    return chosen or bool(stage.conditions)


@lru_cache(maxsize=64)
def generic_cases(stage: Stage) -> tuple[Case, ...]:
    """Return cases of sizes that are all different, at last with axes of size 1.

    Where there are choices, there is one of each of the stage's sizes. Of a recorded stage, these
    are the public ones.
    """
    if stage.recorded:
        public: tuple[Case, ...] = stage.recorded.cases("cases_for")
        return public[1:]
    count = max(POINTS, len(stage.sizes)) if has_choices(stage) else POINTS
    return tuple(
        make_case(stage, GENERIC_SEED, _sizes(stage, number), number) for number in range(count)
    )


def _sizes(stage: Stage, number: int) -> Sizes:
    dimensions = stage.dimensions
    if has_choices(stage):
        return stage.sizes[number % len(stage.sizes)]
    if number == POINTS - 1:
        return dict.fromkeys(dimensions, 1)
    spread = (2, 5, 3, 7, 6, 4)
    return {name: spread[(number + place) % 6] for place, name in enumerate(dimensions)}
