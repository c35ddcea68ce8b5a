"""Inputs far from zero, as far as a right answer is exact there."""

from dataclasses import replace
from functools import lru_cache

import torch
from torch import Tensor

from harness.cases.compare import STEADY, difference
from harness.cases.kinks import REFUSALS
from harness.course.inputs import Real, Sizes, spread, spread_far
from harness.course.stage import Stage, Upstream, Values

# The indices of cases in which a part of the inputs reaches far: of four inputs, one at a time.
TURNING = range(1, 100, 2)
TURNS = 4


def far_from_zero(
    stage: Stage, generator: torch.Generator, sizes: Sizes, index: int, variant: int
) -> Values | None:
    """Return inputs of which one reaches far, or None where this case has none.

    That of an activation does so in every case; the inputs of other stages take turns in cases of
    ``TURNING``, as far as rounding to float32 changes nothing: a student's own formula, which
    need not be as stable as the reference, is right there too.
    """
    if is_activation(stage):
        moved = _moving(stage, stage.differentiable).sample(generator, sizes, variant)
        return moved if all(bool(each.isfinite().all()) for each in stage.run(moved)) else None
    names = _movable(stage)
    if not names or index not in TURNING:
        return None
    turns = min(TURNS, len(names))
    moved = _moving(stage, names[index // 2 % turns :: turns]).sample(generator, sizes, variant)
    return moved if _is_steady(stage, moved, generator) else None


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
    """Return the inputs that may be any number; none where a single number is all they are.

    `Stage.sample` moves single numbers by itself.
    """
    if stage.is_scalar or stage.recorded:
        return ()
    kinds = {name: stage.inputs[name].kind for name in stage.differentiable}
    return tuple(
        name
        for name, kind in kinds.items()
        if isinstance(kind, Real) and kind.is_free and kind.sampler is spread
    )


@lru_cache
def _moving(stage: Stage, names: tuple[str, ...]) -> Stage:
    """Return the stage with some inputs that reach far."""
    moved = {
        name: replace(each, kind=replace(each.kind, sampler=spread_far))
        for name, each in stage.inputs.items()
        if name in names and isinstance(each.kind, Real)
    }
    return replace(stage, inputs={**stage.inputs, **moved})


def _is_steady(stage: Stage, inputs: Values, generator: torch.Generator) -> bool:
    """Return whether rounding the reference to float32 changes nothing that would be noticed."""
    upstream = tuple(
        torch.randn(each.shape, generator=generator, dtype=torch.float64)
        if each.is_floating_point()
        else None
        for each in stage.run(inputs)
    )
    try:
        rounded = _answers(stage, inputs, upstream, torch.float32)
    except REFUSALS:
        return False
    exact = _answers(stage, inputs, upstream, torch.float64)
    return all(
        bool(right.isfinite().all())
        and got.shape == right.shape
        and difference(got, right, STEADY, size=1.0) is None
        for got, right in zip(rounded, exact, strict=True)
    )


def _answers(stage: Stage, inputs: Values, upstream: Upstream, dtype: torch.dtype) -> list[Tensor]:
    """Return real outputs, and gradients, at values rounded to float32, computed in a dtype."""
    rounded = tuple(
        _rounded(each, dtype) if isinstance(each, Tensor) and each.is_floating_point() else each
        for each in inputs
    )
    given = tuple(each if each is None else _rounded(each, dtype) for each in upstream)
    outputs = [each for each in stage.run(rounded) if each.is_floating_point()]
    gradients = stage.true_gradients(rounded, given)
    return [*outputs, *(each for each in gradients if each is not None)]


def _rounded(values: Tensor, dtype: torch.dtype) -> Tensor:
    return values.float().to(dtype)
