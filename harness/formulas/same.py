"""Compare formulas with a stage's true gradients at generic points of many sizes."""

import warnings
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from harness.course.inputs import Sizes
from harness.course.stage import Stage, Upstream, Values

POINTS = 12
RELATIVE, ROOM = 1e-12, 1e-14


def same_as_true(stage: Stage, name: str, expression: str) -> str | None:
    """Return why ``expression`` equals the true gradient of input ``name``, or None if it does not.

    It does if it has the same value in double precision, to 12 digits, at generic points of many
    sizes, and the same shape, apart from leading axes of size 1, which torch drops.
    """
    wider = False
    for inputs, upstream in generic_points(stage):
        true = stage.true_gradients(inputs, upstream)[stage.position(name)]
        value = value_of(stage, expression, inputs, upstream)
        if value is None or true is None or not close(value, true):
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
        with warnings.catch_warnings():
            # Transposing what is not a matrix is deprecated, not wrong.
            warnings.simplefilter("ignore")
            value: object = stage.evaluate(expression, inputs, upstream, outputs)
    except Exception:
        # Shapes that do not fit, and whatever else a wrong formula may run into.
        return None
    return value if isinstance(value, Tensor) else None


def close(value: Tensor, true: Tensor) -> bool:
    """Return whether two tensors are equal, apart from leading axes of size 1 in the first."""
    leading = value.dim() - true.dim()
    if leading < 0 or value.shape != (1,) * leading + tuple(true.shape):
        return False
    if not value.is_floating_point():
        return False
    value = value.detach().double().reshape(true.shape)
    room = ROOM * float(true.abs().max()) if true.numel() else 0.0
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


def _sizes(stage: Stage, number: int) -> Sizes:
    dimensions = stage.dimensions
    if stage.conditions or any(each.is_given or each.several for each in stage.inputs.values()):
        return stage.sizes[number % len(stage.sizes)]
    if number == POINTS - 1:
        return dict.fromkeys(dimensions, 1)
    spread = (2, 5, 3, 7, 6, 4)
    return {name: spread[(number + place) % 6] for place, name in enumerate(dimensions)}
