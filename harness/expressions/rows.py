"""Expressions of one shape, to be found by their values up to a constant factor."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from harness.expressions.steps import Array

Places = NDArray[np.intp]
Shape = tuple[int, ...]

# The tolerance for values of rows that are scaled to size 1.
ROUNDING = 1e-9
# The tolerances for each value, relative to itself and to the size of its row.
FINE, FINEST = 1e-5, 1e-13
# With fewer nonzero values, anything is a multiple of anything; smaller ones count as zero.
LEAST, FAINT = 3, 1e-8
# How many entries of large tensors are compared.
COMPARED = 48
# How many of the simplest expressions are found with a number added to them, and how little a row
# may vary, relative to its size, before it counts as constant.
LINES, LEVEL = 6000, 1e-3
# The seed of the direction along which rows are sorted.
DIRECTION = 20


@dataclass(frozen=True)
class Term:
    """An expression, with more brackets than it needs, and how simple it is (less is simpler)."""

    text: str
    cost: float


@dataclass(frozen=True)
class Block:
    """Expressions of one shape: their values along the first axis, their costs, and their terms."""

    values: Array
    costs: Array
    write: Callable[[int], Term]

    def __len__(self) -> int:
        return len(self.values)


def columns_of(shape: Shape) -> Places:
    """Return which entries of tensors of a shape are compared: all, or some if they are many."""
    count = math.prod(shape)
    if count <= COMPARED:
        return np.arange(count)
    return np.sort(np.random.default_rng(DIRECTION).choice(count, COMPARED, replace=False))


def broadcasts(one: Shape, to: Shape) -> bool:
    """Return whether a shape broadcasts to another."""
    pairs = zip(one[::-1], to[::-1], strict=False)
    return len(one) <= len(to) and all(x in (1, y) for x, y in pairs)


class Rows:
    """Expressions of one shape, to be found by their values up to a constant factor.

    The block has their values at the entries ``columns``. ``constants`` says whether to keep
    expressions with the same value everywhere, and ``alike`` how many of those are kept that are
    equal up to a factor: the simplest ones.
    """

    def __init__(
        self, block: Block, columns: Places, *, constants: bool = True, alike: int | None = None
    ) -> None:
        values, self._columns = block.values, columns
        good = np.isfinite(values).all(1) & (_seen(values) >= min(LEAST, values.shape[1]))
        if not constants:
            good &= (values != values[:, :1]).any(1)
        places = np.flatnonzero(good)
        if alike is not None:
            places = places[_simplest_alike(values[good], block.costs[good], alike)]
        self._block, self._places = block, places
        self.values, self.costs = values[places], block.costs[places]

    def __len__(self) -> int:
        return len(self.values)

    def picked(self, values: Array) -> Array:
        """Return the entries that are compared."""
        return values.reshape(-1)[self._columns]

    def place(self, row: int) -> int:
        """Return the index that a row has in the block."""
        return int(self._places[row])

    def term(self, row: int) -> Term:
        """Return the expression of a row."""
        return self._block.write(self.place(row))

    def simplest(self, count: int) -> Places:
        """Return the rows of the ``count`` simplest expressions."""
        return self._order[:count]

    def find(self, wanted: Array) -> tuple[Places, Places]:
        """Return the pairs of rows of ``wanted`` and rows here that are equal up to a factor."""
        return self._multiples.find(wanted)

    def find_lines(self, wanted: Array) -> tuple[Places, Places]:
        """Return the pairs that are equal up to a factor and a number added to all values."""
        wanted = np.asarray(wanted, np.float64)
        # With few different values, a factor and a number make anything of anything.
        largest: Array = np.abs(wanted).max(1, keepdims=True)
        steps = np.diff(np.sort(wanted, 1), axis=1) > FINE * largest
        asked, found = self._lines.find(
            np.where(steps.sum(1, keepdims=True) >= LEAST, _centred(wanted), np.nan)
        )
        return asked, self._simple[found]

    @cached_property
    def _order(self) -> Places:
        return np.argsort(self.costs, kind="stable")

    @cached_property
    def _multiples(self) -> _Index:
        return _Index(self.values)

    @cached_property
    def _simple(self) -> Places:
        return self.simplest(LINES)

    @cached_property
    def _lines(self) -> _Index:
        return _Index(_centred(self.values[self._simple]))


class _Index:
    """Rows of values, sorted along a random direction, to be found up to a constant factor."""

    def __init__(self, values: Array) -> None:
        self._units = _units(values)
        keys = _along(self._units)
        self._order = np.argsort(keys)
        self._keys = keys[self._order]

    def find(self, wanted: Array) -> tuple[Places, Places]:
        """Return the pairs of rows of ``wanted`` and rows here that are equal up to a factor."""
        units = _units(wanted)
        few = _seen(wanted) < min(LEAST, wanted.shape[1])
        probes = np.where(few, np.nan, _along(units))
        room = 10 * ROUNDING
        first = np.searchsorted(self._keys, probes - room)
        last = np.searchsorted(self._keys, probes + room)
        counts = np.where(np.isfinite(probes), last - first, 0)
        asked = np.repeat(np.arange(len(wanted)), counts)
        offsets = np.arange(counts.sum()) - np.repeat(counts.cumsum() - counts, counts)
        rows = self._order[np.repeat(first, counts) + offsets]
        near = np.abs(units[asked] - self._units[rows]).max(1, initial=0) <= ROUNDING
        asked, rows = asked[near], rows[near]
        # Relative to one huge value, all others look equal.
        sizes = np.abs(units[asked])
        off = np.abs(units[asked] - self._units[rows])
        same = (off <= FINE * sizes + FINEST).all(1)
        # Rows that differ in rounding only come in the order of the table, on every processor.
        order = np.lexsort((rows[same], asked[same]))
        return asked[same][order], rows[same][order]


def _simplest_alike(values: Array, costs: Array, most: int) -> Places:
    """Return the rows, in order, without all but some of those that are equal up to a factor."""
    keys = _along(_units(values))
    order = np.argsort(keys, kind="stable")
    groups = np.empty(len(keys), np.intp)
    groups[order] = np.cumsum(np.diff(keys[order], prepend=-np.inf) > ROUNDING)
    order = np.lexsort((costs, groups))
    begins = np.flatnonzero(np.diff(groups[order], prepend=-1))
    ranks = np.arange(len(keys)) - np.repeat(begins, np.diff(begins, append=len(keys)))
    return np.sort(order[ranks < most])


def _along(rows: Array) -> Array:
    """Return where rows are along one direction. Numpy's own product would start threads."""
    direction = np.random.default_rng(DIRECTION).normal(size=rows.shape[1])
    places: Array = np.einsum("ij,j", rows, direction)
    return places


def _seen(rows: Array) -> Places:
    """Count the values of each row that are not negligible relative to its largest."""
    sizes = np.abs(rows)
    seen: Places = (sizes > FAINT * sizes.max(1, initial=0, keepdims=True)).sum(1)
    return seen


def _centred(rows: Array) -> Array:
    """Subtract its mean from each row; a row of which little but rounding is left becomes NaN."""
    centred: Array = rows - rows.mean(1, keepdims=True)
    flat = np.abs(centred).max(1, initial=0) <= LEVEL * np.abs(rows).max(1, initial=0)
    return np.where(flat[:, None], np.nan, centred)


def _units(rows: Array) -> Array:
    """Divide each row by its size and sign, which makes all multiples of a row equal."""
    with np.errstate(all="ignore"):
        sizes = np.abs(rows).sum(1, keepdims=True)
        clear = np.abs(rows) > 1e-6 * sizes
        first = np.take_along_axis(rows, clear.argmax(1)[:, None], 1)
        units: Array = rows / (sizes * np.sign(first))
    return units
