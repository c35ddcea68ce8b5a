"""Where a reference has a kink, and which gradients are right there: any between its slopes."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, inf

from harness.course.stage import Stage

# How far inputs move, relative to 1 + |x|, to look at the point itself and at its surroundings.
AT, NEAR = 1e-7, 1e-4
# A smooth gradient varies in proportion to the move, so much more for a longer one; at a kink it
# varies as much for any move.
LONGER, NOT_IN_PROPORTION = 16, 4
DIRECTIONS = 2
# Variations below this, relative to the largest gradient or upstream, need no second look. Around
# a point a smooth gradient varies by more.
AT_LEAST = {AT: 5e-7, NEAR: 1e-2}

Point = tuple[Tensor, ...]


class Slopes(NamedTuple):
    """The least and the largest right value of each entry of a gradient.

    They differ at a kink. Both are NaN where the reference is not finite: any value passes there.
    """

    low: Tensor
    high: Tensor

    def nearest(self, got: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``got`` and the right values nearest to it; both are 0 where any value passes."""
        asked = self.low.isfinite()
        got = torch.where(asked, got.detach().double(), 0.0)
        # For NaN the value in the middle is the right one to show.
        middle = (self.low + self.high) / 2
        right = torch.where(got.isnan(), middle, got.clamp(self.low, self.high))
        return got, torch.where(asked, right, 0.0)


def slopes_at(
    stage: Stage, inputs: Point, upstream: Tensor, generator: torch.Generator
) -> tuple[Slopes, ...]:
    """Return the slopes of the reference at a point, for each input."""
    true = stage.true_gradients(inputs, upstream)
    kinks = _kinks(stage, inputs, upstream, generator, AT)
    if not any(bool(mask.any()) for mask in kinks):
        ranges = list(zip(true, true, strict=True))
    else:
        # Of entries that tie, each has to win once: they move one at a time too.
        moves = [*_directions(inputs, generator), *_single(inputs)]
        around = _range(stage, inputs, upstream, moves, AT)
        ranges = [
            (torch.where(mask, low, right), torch.where(mask, high, right))
            for mask, right, (low, high) in zip(kinks, true, around, strict=True)
        ]
    return tuple(
        Slopes(*(torch.where(right.isfinite(), bound, torch.nan) for bound in bounds))
        for right, bounds in zip(true, ranges, strict=True)
    )


def is_near_kink(stage: Stage, inputs: Point, upstream: Tensor, generator: torch.Generator) -> bool:
    """Return whether a numerical check at the point could step over a kink of the reference."""
    return any(bool(mask.any()) for mask in _kinks(stage, inputs, upstream, generator, NEAR))


def _kinks(
    stage: Stage, inputs: Point, upstream: Tensor, generator: torch.Generator, size: float
) -> list[Tensor]:
    """Return a mask for each input: entries whose slope varies, and not in proportion to moves."""
    moves = list(_directions(inputs, generator))
    ranges = _range(stage, inputs, upstream, moves, size)
    short = [high - low for low, high in ranges]
    largest = max(map(_largest, [upstream, *(bound for bounds in ranges for bound in bounds)]))
    masks = [spread > AT_LEAST[size] * largest for spread in short]
    if not any(bool(mask.any()) for mask in masks):
        return masks
    long = [high - low for low, high in _range(stage, inputs, upstream, moves, LONGER * size)]
    return [
        mask & (spread * NOT_IN_PROPORTION > wide)
        for mask, spread, wide in zip(masks, short, long, strict=True)
    ]


def _range(
    stage: Stage, inputs: Point, upstream: Tensor, moves: Sequence[Point], size: float
) -> list[tuple[Tensor, Tensor]]:
    """Return the least and the largest slope of each entry, at the point and after every move.

    A slope that is not finite after a move lies outside the domain of the reference.
    """
    points = [inputs] + [
        tuple(
            value + size * (1 + value.abs()) * move
            for value, move in zip(inputs, each, strict=True)
        )
        for each in moves
    ]
    found = [stage.true_gradients(point, upstream) for point in points]
    stacked = [torch.stack(column) for column in zip(*found, strict=True)]
    return [
        (values.nan_to_num(inf, inf, inf).amin(0), values.nan_to_num(-inf, -inf, -inf).amax(0))
        for values in stacked
    ]


def _directions(inputs: Point, generator: torch.Generator) -> Iterator[Point]:
    """Yield random moves of all entries by 0.5 to 1, each with its opposite."""
    for _ in range(DIRECTIONS):
        moves = [
            (1 + torch.rand(value.shape, generator=generator, dtype=torch.float64))
            .div(2)
            .mul(torch.randint(2, value.shape, generator=generator) * 2 - 1)
            for value in inputs
        ]
        yield tuple(moves)
        yield tuple(-move for move in moves)


def _single(inputs: Point) -> Iterator[Point]:
    """Yield moves of one entry, up and down."""
    for place, value in enumerate(inputs):
        for entry in range(value.numel()):
            for sign in (1.0, -1.0):
                moves = [torch.zeros_like(each) for each in inputs]
                moves[place].view(-1)[entry] = sign
                yield tuple(moves)


def _largest(values: Tensor) -> float:
    finite = values[values.isfinite()]
    return float(finite.abs().max()) if finite.numel() else 0.0
