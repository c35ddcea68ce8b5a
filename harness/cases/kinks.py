"""Where a reference has a kink, and which gradients are right there: any between its slopes."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, inf

from harness.course.stage import Stage, Upstream, Values

# How far inputs move, relative to 1 + |x|, to look at the point itself and at its surroundings.
AT, NEAR = 1e-7, 1e-4
# A smooth gradient varies in proportion to the move, so much more for a longer one; at a kink it
# varies as much for any move.
LONGER, NOT_IN_PROPORTION = 16, 4
DIRECTIONS = 2
# At a kink, how many show whether all slopes have been seen.
MORE_DIRECTIONS = 40
# With more entries at kinks than this, they are not moved one at a time.
MOST_SINGLE = 40
# By how much slopes may differ and still count as the same.
SAME = 1e-6
# Variations below this, relative to the largest gradient or upstream, need no second look. Around
# a point a smooth gradient varies by more.
AT_LEAST = {AT: 5e-7, NEAR: 1e-2}

# What a reference raises for values that it is not defined for.
REFUSALS = (RuntimeError, ValueError, ArithmeticError, IndexError, AssertionError)
# How far each argument moves; None for one that stays.
Moves = tuple[Tensor | None, ...]


class Slopes(NamedTuple):
    """The least and the largest right value of each entry of a gradient.

    They differ at a kink. Both are NaN where the reference is not finite: any value passes there.
    """

    low: Tensor
    high: Tensor

    def nearest(self, got: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``got`` and the right values nearest to it; both are 0 where any value passes."""
        if got.dtype == self.low.dtype and torch.equal(got, self.low):
            return got, got
        asked = self.low.isfinite()
        got = torch.where(asked, got.detach().double(), 0.0)
        # For NaN the value in the middle is the right one to show.
        middle = (self.low + self.high) / 2
        right = torch.where(got.isnan(), middle, got.clamp(self.low, self.high))
        return got, torch.where(asked, right, 0.0)


def slopes_at(
    stage: Stage, inputs: Values, upstream: Upstream, generator: torch.Generator
) -> tuple[Slopes | None, ...]:
    """Return the slopes of the reference at a point, for each argument that has a gradient."""
    has = stage.with_gradient(inputs)
    true = _real(stage.true_gradients(inputs, upstream))
    ranges = [(right, right) for right in true]
    kinks = _kinks(stage, inputs, upstream, generator, AT)
    if stage.ties == "any" and any(bool(mask.any()) for mask in kinks):
        # Each of the entries that tie has to win once.
        kinks = _kinks(stage, inputs, upstream, generator, AT, MORE_DIRECTIONS)
        moves = [
            *_directions(inputs, has, generator, MORE_DIRECTIONS),
            *_single(inputs, has, kinks),
        ]
        half = MORE_DIRECTIONS * 2
        some = _sums(stage, inputs, upstream, [*moves[: half // 2], *moves[half:]])
        more = _sums(stage, inputs, upstream, moves[half // 2 : half])
        ranges = [_at_kinks(*each) for each in zip(kinks, true, some, more, strict=True)]
    found = iter(
        Slopes(*(torch.where(right.isfinite(), bound, torch.nan) for bound in bounds))
        for right, bounds in zip(true, ranges, strict=True)
    )
    return tuple(next(found) if each else None for each in has)


def _sums(
    stage: Stage, inputs: Values, upstream: Upstream, moves: Sequence[Moves]
) -> list[tuple[Tensor, Tensor]]:
    """Return bounds of each gradient: of each output's part in it the least and the largest, added.

    Where outputs have ties, each chooses its winner for itself.
    """
    bounds = _bounds(inputs, moves, AT, partial(stage.parts_of_gradients, upstream=upstream))
    if not bounds:
        # Torch cannot tell the parts of every operation: any value passes at its kinks.
        asked = zip(inputs, stage.with_gradient(inputs), strict=True)
        return [
            (torch.full_like(value, torch.nan),) * 2
            for value, has in asked
            if has and isinstance(value, Tensor)
        ]
    return [(low.sum(0), high.sum(0)) for low, high in bounds]


def _at_kinks(
    mask: Tensor, right: Tensor, some: tuple[Tensor, Tensor], more: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """Return the bounds of a gradient: the slopes seen at its kinks, and elsewhere its value.

    Where more moves find slopes beyond those of ``some``, as where ties add up inside an output,
    not all that is right is known: any value passes at its kinks.
    """
    room = SAME * (1 + right.abs())
    beyond = (more[0] < some[0] - room) | (more[1] > some[1] + room)
    low, high = torch.minimum(some[0], more[0]), torch.maximum(some[1], more[1])
    if bool((beyond & mask).any()):
        low = high = torch.full_like(right, torch.nan)
    return torch.where(mask, low, right), torch.where(mask, high, right)


def is_near_kink(
    stage: Stage, inputs: Values, upstream: Upstream, generator: torch.Generator
) -> bool:
    """Return whether a numerical check at the point could step over a kink of the reference."""
    return any(bool(mask.any()) for mask in _kinks(stage, inputs, upstream, generator, NEAR))


def _kinks(
    stage: Stage,
    inputs: Values,
    upstream: Upstream,
    generator: torch.Generator,
    size: float,
    directions: int = DIRECTIONS,
) -> list[Tensor]:
    """Return a mask for each gradient: entries whose slope varies, not in proportion to moves."""
    moves = list(_directions(inputs, stage.with_gradient(inputs), generator, directions))

    def slopes(point: Values) -> list[Tensor]:
        return _real(stage.true_gradients(point, upstream))

    ranges = _bounds(inputs, moves, size, slopes)
    short = [high - low for low, high in ranges]
    bounds = (bound for pair in ranges for bound in pair)
    largest = max(map(_largest, [*_real(upstream), *bounds]), default=0.0)
    masks = [spread > AT_LEAST[size] * largest for spread in short]
    if not any(bool(mask.any()) for mask in masks):
        return masks
    long = [high - low for low, high in _bounds(inputs, moves, LONGER * size, slopes)]
    return [
        mask & (spread * NOT_IN_PROPORTION > wide)
        for mask, spread, wide in zip(masks, short, long, strict=True)
    ]


def _bounds(
    inputs: Values,
    moves: Sequence[Moves],
    size: float,
    slopes: Callable[[Values], Sequence[Tensor]],
) -> list[tuple[Tensor, Tensor]]:
    """Return the least and the largest of what ``slopes`` finds at the point and after every move.

    A slope that is not finite after a move lies outside the domain of the reference, and so does
    a point that it refuses.
    """
    found: list[Sequence[Tensor]] = []
    for point in (inputs, *(_moved(inputs, each, size) for each in moves)):
        with suppress(*REFUSALS):
            found.append(slopes(point))
    stacked = [torch.stack(column) for column in zip(*found, strict=True)]
    return [
        (values.nan_to_num(inf, inf, inf).amin(0), values.nan_to_num(-inf, -inf, -inf).amax(0))
        for values in stacked
    ]


def _moved(inputs: Values, moves: Moves, size: float) -> Values:
    return tuple(
        value + size * (1 + value.abs()) * move
        if isinstance(value, Tensor) and move is not None
        else value
        for value, move in zip(inputs, moves, strict=True)
    )


def _real(values: Sequence[Tensor | None]) -> list[Tensor]:
    return [value for value in values if value is not None]


def _directions(
    inputs: Values, has: Sequence[bool], generator: torch.Generator, count: int = DIRECTIONS
) -> Iterator[Moves]:
    """Yield random moves of all entries by 0.5 to 1, each with its opposite."""
    for _ in range(count):
        moves = [
            (1 + torch.rand(value.shape, generator=generator, dtype=torch.float64))
            .div(2)
            .mul(torch.randint(2, value.shape, generator=generator) * 2 - 1)
            if isinstance(value, Tensor) and each
            else None
            for value, each in zip(inputs, has, strict=True)
        ]
        yield tuple(moves)
        yield tuple(None if move is None else -move for move in moves)


def _single(inputs: Values, has: Sequence[bool], masks: Sequence[Tensor]) -> Iterator[Moves]:
    """Yield moves of one entry at a kink, up and down, if these entries are few."""
    if sum(int(mask.sum()) for mask in masks) > MOST_SINGLE:
        return
    places = [place for place, each in enumerate(has) if each]
    for place, mask in zip(places, masks, strict=True):
        for entry in mask.flatten().nonzero().flatten().tolist():
            for sign in (1.0, -1.0):
                move = torch.zeros(mask.shape, dtype=torch.float64)
                move.view(-1)[entry] = sign
                yield tuple(move if at == place else None for at in range(len(inputs)))


def _largest(values: Tensor) -> float:
    finite = values[values.isfinite()]
    return float(finite.abs().max()) if finite.numel() else 0.0
