"""What a backward was asked and what it returned for one input."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from harness.cases.cases import largest
from harness.course.stage import Stage, Upstream, Values
from harness.formulas.same import close, value_of

# The tolerances for entries: 9 digits for a formula in float64, 5 for one in float32.
EXACT, SINGLE = 1e-9, 1e-5


@dataclass(frozen=True, eq=False)
class Sample:
    """One call: the inputs, what forward returned, the upstreams, and the raw return.

    ``got`` is the return for the input in question: float64, with leading axes of size 1 as they
    came, of any shape.
    """

    inputs: Values
    outputs: tuple[Tensor, ...]
    upstream: Upstream
    got: Tensor


def value_at(stage: Stage, expression: str, sample: Sample) -> Tensor | None:
    """Return the value of an expression where the sample was taken, or None if it has none."""
    value = value_of(stage, expression, sample.inputs, sample.upstream, sample.outputs)
    return None if value is None or value.is_complex() else value.detach().double()


def is_number(stage: Stage, expression: str, sample: Sample) -> bool:
    """Return whether an expression has real numbers, and no conditions or whole ones."""
    value = value_of(stage, expression, sample.inputs, sample.upstream, sample.outputs)
    return value is not None and value.is_floating_point()


def is_right(stage: Stage, sample: Sample) -> bool:
    """Return whether forward returned what the reference does."""
    pairs = zip(sample.outputs, stage.run(sample.inputs), strict=True)
    return all(close(output, right) for output, right in pairs)


def reproduces(
    stage: Stage, expression: str, samples: Sequence[Sample], tolerance: float = EXACT
) -> bool:
    """Return whether the expression has the returned shape and values in every sample."""
    values = ((value_at(stage, expression, sample), sample.got) for sample in samples)
    return all(value is not None and same_values(value, got, tolerance) for value, got in values)


def same_values(value: Tensor, got: Tensor, tolerance: float) -> bool:
    """Return whether two tensors agree in shape and, relative to their sizes, in every entry.

    A little room, relative to the largest entry, is for sums that cancel.
    """
    if value.shape != got.shape:
        return False
    room = 1e-3 * tolerance * _largest(got)
    return torch.allclose(value, got, rtol=tolerance, atol=room, equal_nan=True)


# What came back is compared with many formulas. A tensor's hash is its identity.
@lru_cache(maxsize=256)
def _largest(values: Tensor) -> float:
    """Return the largest finite absolute value."""
    return largest([values.nan_to_num(0, 0, 0)])
