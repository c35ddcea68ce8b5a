"""Inputs far from zero, as far as a right answer is exact there."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import torch
from torch import Tensor

from harness.cases.kinks import REFUSALS
from harness.course.inputs import Real, Sizes, spread, spread_far
from harness.course.sizes import covering
from harness.course.stage import Stage, Values

# The indices of cases in which a part of the inputs reaches far: of four inputs, one at a time.
TURNING = range(1, 100, 2)
TURNS = 4
# An input reaches far if the outputs have at most this degree in it.
DEGREE = 2


def far_from_zero(
    stage: Stage, generator: torch.Generator, sizes: Sizes, index: int, variant: int
) -> Values | None:
    """Return inputs of which one reaches far, or None where this case has none.

    That of an activation does so in every case. Those that a stage multiplies and adds take turns
    in cases of ``TURNING``. Others stay near: a formula that is right, but guarded by a small
    number as in log(p + 1e-8), is off by much more where a softmax is nearly 0.
    """
    names = stage.differentiable if is_activation(stage) else _taking_turns(stage, index)
    if not names:
        return None
    moved = _moving(stage, names).sample(generator, sizes, variant)
    try:
        outputs = stage.run(moved)
    except REFUSALS:
        return None
    return moved if all(bool(each.isfinite().all()) for each in outputs) else None


def _taking_turns(stage: Stage, index: int) -> tuple[str, ...]:
    """Return the inputs whose turn it is in this case."""
    if index not in TURNING or not (names := _movable(stage)):
        return ()
    turns = min(TURNS, len(names))
    return names[index // 2 % turns :: turns]


@lru_cache
def is_activation(stage: Stage) -> bool:
    """Return whether a stage is an activation, such as ReLU, whose input may be any number.

    An activation has one input with a gradient, and its output has that shape. Far from zero its
    slope may be cut off by mistake, as ReLU6 does. A sampler that is declared decides by itself.
    """
    names = stage.differentiable
    if len(names) != 1 or stage.recorded:
        return False
    of = stage.inputs[names[0]]
    return (
        of.kind == Real() and not of.several and not of.optional and stage.output_axes[0] == of.axes
    )


@lru_cache
def _movable(stage: Stage) -> tuple[str, ...]:
    """Return the inputs that may be any number, if outputs are polynomials in them at any choice.

    There are none where a single number is all they are: `Stage.sample` moves those by itself.
    """
    if stage.is_scalar or stage.recorded:
        return ()
    kinds = {name: stage.inputs[name].kind for name in stage.differentiable}
    return tuple(
        name
        for name, kind in kinds.items()
        if isinstance(kind, Real) and kind.is_free and kind.sampler is spread
        if all(_is_polynomial(stage, name, sizes) for sizes in covering(stage, stage.sizes))
    )


def _is_polynomial(stage: Stage, name: str, sizes: Sizes) -> bool:
    """Return whether outputs are piecewise of at most second degree in an input.

    Their third derivative, in random directions, is 0 then, and not merely small.
    """
    generator = torch.Generator().manual_seed(0)
    inputs = stage.sample(generator, sizes)
    with torch.enable_grad():
        try:
            copies, _, used = stage.graph(inputs, stage.run(inputs))
            leaves = [
                leaf for at in stage.places(name, copies) if isinstance(leaf := copies[at], Tensor)
            ]
            asked = [output for output, _ in used]
            for _ in range(DEGREE + 1):
                asked = _derivatives(asked, leaves, generator)
        except REFUSALS:
            return False
    return not any(bool(each.count_nonzero()) for each in asked)


def _derivatives(
    values: Sequence[Tensor], leaves: Sequence[Tensor], generator: torch.Generator
) -> list[Tensor]:
    """Return the derivatives by the leaves, in random directions; none where there is no graph."""
    used = [each for each in values if each.requires_grad]
    if not (used and leaves):
        return []
    along = [torch.randn(each.shape, generator=generator, dtype=each.dtype) for each in used]
    found = torch.autograd.grad(used, leaves, along, create_graph=True, allow_unused=True)
    return [each for each in found if each is not None]  # type: ignore[redundant-expr]


@lru_cache
def _moving(stage: Stage, names: tuple[str, ...]) -> Stage:
    """Return the stage with some inputs that reach far."""
    moved = {
        name: replace(each, kind=replace(each.kind, sampler=spread_far))
        for name, each in stage.inputs.items()
        if name in names and isinstance(each.kind, Real)
    }
    return replace(stage, inputs={**stage.inputs, **moved})
