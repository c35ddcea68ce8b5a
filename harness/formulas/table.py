"""All small expressions over a stage's names, to be found by their values at one point.

Values of many expressions are computed at once, from arrays that hold those of smaller ones. The
text of an expression is put together only when it is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from harness.formulas.steps import ALONG_AXES, ENTRYWISE, Array, Step, some, values_after

Places = NDArray[np.intp]
Shape = tuple[int, ...]

# The tolerance for values of rows that are scaled to size 1.
ROUNDING = 1e-9
# The tolerances for each value, relative to itself and to the size of its row.
FINE, FINEST = 1e-5, 1e-13
# With fewer nonzero values, anything is a multiple of anything; smaller ones count as zero.
LEAST, FAINT = 3, 1e-8
# The cost of a larger expression that is used as it is.
PART = 3.0
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


class Table:
    """Expressions of up to about four names at one point, by shape.

    ``names`` maps names to their values: a tensor, or, if the stage works on single numbers
    (``shaped`` is False), the numbers at several points along one axis. ``parts`` maps larger
    expressions, which are used as they are, to their values.
    """

    def __init__(
        self, names: Mapping[str, Array], parts: Mapping[str, Array], *, shaped: bool
    ) -> None:
        atoms = [_single(name, value, 1.0) for name, value in names.items()]
        whole = [_single(text, value, PART) for text, value in parts.items()]
        with np.errstate(all="ignore"):
            blocks = [*whole, *(_of_tensors(atoms) if shaped else _of_numbers(atoms))]
            self._blocks = _by_shape(blocks)
        self._rows: dict[Shape, Rows] = {}

    def rows(self, shape: Shape) -> Rows:
        """Return all expressions that have this shape or broadcast to it."""
        if shape not in self._rows:
            wide = [_widened(block, shape) for block in self._blocks.values()]
            block = _one([block for block in wide if block is not None], shape)
            self._rows[shape] = Rows(block, constants=shape in ((), (1,)))
        return self._rows[shape]


class Rows:
    """Expressions of one shape, to be found by their values up to a constant factor.

    ``constants`` says whether to keep expressions with the same value everywhere.
    """

    def __init__(self, block: Block, *, constants: bool = True) -> None:
        values = block.values.reshape(len(block), math.prod(block.values.shape[1:]))
        good = np.isfinite(values).all(1) & (_seen(values) >= min(LEAST, values.shape[1]))
        if not constants:
            good &= (values != values[:, :1]).any(1)
        self._block, self._places = block, np.flatnonzero(good)
        self.values, self.costs = values[good], block.costs[good]

    def __len__(self) -> int:
        return len(self.values)

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
        self._direction = np.random.default_rng(DIRECTION).normal(size=values.shape[1])
        keys: Array = self._units @ self._direction
        self._order = np.argsort(keys)
        self._keys = keys[self._order]

    def find(self, wanted: Array) -> tuple[Places, Places]:
        """Return the pairs of rows of ``wanted`` and rows here that are equal up to a factor."""
        units = _units(wanted)
        few = _seen(wanted) < min(LEAST, wanted.shape[1])
        probes = np.where(few, np.nan, units @ self._direction)
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


def _of_numbers(atoms: Sequence[Block]) -> Iterator[Block]:
    """Yield expressions of single numbers: every step from every name, and all pairs of these."""
    plain = _stacked(block for atom in atoms for block in _made(atom, ENTRYWISE))
    yield from (*plain, *_pairs(plain, plain), *_twice(plain))
    yield from (each for block in _pairs(atoms, atoms) for each in _made(block, ENTRYWISE[1:]))


def _of_tensors(atoms: Sequence[Block]) -> Iterator[Block]:
    """Yield expressions of tensors: steps on entries and on axes, and products of some of these.

    There are no more pairs than needed, as the search combines two rows itself.
    """
    plain = _stacked(block for atom in atoms for block in _made(atom, ENTRYWISE))
    few = _stacked(block for atom in atoms for block in _made(atom, some("few")))
    pairs = _stacked(_pairs(few, few))
    singles = [*plain, *_along_axes(few)]
    yield from (*singles, *_twice([*plain, *_along_axes(atoms)]))
    yield from (*pairs, *_along_axes(pairs, some("sums")))
    around = _stacked(each for block in _pairs(atoms, atoms) for each in _made(block, ENTRYWISE))
    yield from (*around, *_along_axes(_stacked(_pairs(atoms, atoms))))
    squares = (each for block in _pairs(atoms, atoms) for each in _made(block, some("sizes")))
    yield from _along_axes(_stacked(squares), some("sums"))
    along = _stacked([*_along_axes(atoms), *_of_rows(atoms)])
    yield from (*along, *_pairs(atoms, along), *_pairs(along, atoms))
    yield from _outer([*_along_axes(atoms, (*some("sums"), *some("columns"))), *atoms])
    sides = _stacked([*few, *_along_axes(few, some("matrices"))])
    yield from _matrix_products(sides, sides)
    turned = [*pairs, *_along_axes(pairs, ALONG_AXES[:1])]
    yield from _matrix_products(turned, atoms)


def _twice(blocks: Iterable[Block]) -> Iterator[Block]:
    """Yield what a second step makes of blocks."""
    return (each for block in blocks for each in _made(block, ENTRYWISE[1:]))


def _of_rows(blocks: Iterable[Block]) -> Iterator[Block]:
    """Yield vectors as columns."""
    step = Step("_[:, None]", 1, along_axes=True)
    return (each for block in blocks if block.values.ndim == 2 for each in _made(block, [step]))


def _along_axes(blocks: Iterable[Block], steps: Sequence[Step] = ALONG_AXES) -> Iterator[Block]:
    for block in blocks:
        if block.values.ndim == 3:
            yield from _made(block, steps)


def _single(text: str, value: Array, cost: float) -> Block:
    return Block(value[None], np.full(1, cost), lambda row: Term(text, cost))


def _made(block: Block, steps: Sequence[Step]) -> Iterator[Block]:
    for step, values in zip(steps, values_after(steps, block.values), strict=True):
        yield Block(values, block.costs + step.cost, partial(_apply, block, step))


def _apply(block: Block, step: Step, row: int) -> Term:
    term = block.write(row)
    return Term(step.pattern.replace("_", f"({term.text})"), term.cost + step.cost)


OPERATORS: Mapping[str, Callable[[Array, Array], Array]] = {
    "*": np.multiply,
    "/": np.divide,
    "+": np.add,
    "-": np.subtract,
}


def _pairs(
    lefts: Sequence[Block], rights: Sequence[Block], operators: str = "*/+-"
) -> Iterator[Block]:
    """Combine every left block with every right one, entry by entry, if their shapes broadcast."""
    for left in lefts:
        for right in rights:
            if _go_together(left.values.shape[1:], right.values.shape[1:]):
                for operator in operators:
                    yield _joined(left, operator, right, OPERATORS[operator])


def _go_together(one: Shape, other: Shape) -> bool:
    """Return whether the shapes broadcast."""
    return all(x == y or 1 in (x, y) for x, y in zip(one[::-1], other[::-1], strict=False))


def _outer(blocks: Sequence[Block]) -> Iterator[Block]:
    rows = [block for block in blocks if block.values.ndim == 2]
    for left in rows:
        for right in rows:
            product = left.values[:, None, :, None] * right.values[None, :, None, :]
            yield _paired(left, right, product, "outer({}, {})")


def _matrix_products(lefts: Sequence[Block], rights: Sequence[Block]) -> Iterator[Block]:
    for left in lefts:
        for right in rights:
            if left.values.ndim == 3 and left.values.shape[2:] == right.values.shape[1:2]:
                flat = right.values.ndim == 2
                factor = right.values[..., None] if flat else right.values
                product = left.values[:, None] @ factor[None]
                yield _paired(left, right, product[..., 0] if flat else product, "({}) @ ({})")


def _joined(left: Block, operator: str, right: Block, of: Callable[[Array, Array], Array]) -> Block:
    deep = max(left.values.ndim, right.values.ndim)
    one, other = _padded(left.values, deep), _padded(right.values, deep)
    return _paired(left, right, of(one[:, None], other[None]), f"({{}}) {operator} ({{}})")


def _padded(values: Array, deep: int) -> Array:
    """Insert axes of size 1 before the entries' own, as broadcasting does."""
    return values.reshape(len(values), *(1,) * (deep - values.ndim), *values.shape[1:])


def _paired(left: Block, right: Block, values: Array, pattern: str) -> Block:
    costs = left.costs[:, None] + right.costs[None] + 0.5
    rows = values.reshape(len(left) * len(right), *values.shape[2:])
    return Block(rows, costs.reshape(-1), partial(_pair, left, right, pattern))


def _pair(left: Block, right: Block, pattern: str, row: int) -> Term:
    one, other = left.write(row // len(right)), right.write(row % len(right))
    return Term(pattern.format(one.text, other.text), one.cost + other.cost + 0.5)


def _widened(block: Block, shape: Shape) -> Block | None:
    """Return a block broadcast to a shape, or None if that is impossible."""
    own = block.values.shape[1:]
    if len(own) > len(shape) or not _go_together(own, shape):
        return None
    padded = _padded(block.values, len(shape) + 1)
    if any(size not in (1, wanted) for size, wanted in zip(padded.shape[1:], shape, strict=True)):
        return None
    wide = np.broadcast_to(padded, (len(block), *shape))
    # An expression that has another shape by itself costs a little more.
    return Block(wide, block.costs + (0 if own == shape else 0.3), block.write)


def _stacked(blocks: Iterable[Block]) -> list[Block]:
    """Join the blocks of each shape, to work on all of them at once."""
    return list(_by_shape(blocks).values())


def _by_shape(blocks: Iterable[Block]) -> dict[Shape, Block]:
    found: dict[Shape, list[Block]] = {}
    for block in blocks:
        found.setdefault(block.values.shape[1:], []).append(block)
    return {shape: _one(same, shape) for shape, same in found.items()}


def _one(blocks: Sequence[Block], shape: Shape) -> Block:
    ends = np.cumsum([len(block) for block in blocks])

    def write(row: int) -> Term:
        at = int(np.searchsorted(ends, row, side="right"))
        return blocks[at].write(row - int(ends[at] - len(blocks[at])))

    none = np.empty((0, *shape)), np.empty(0)
    values = np.concatenate([none[0], *(block.values for block in blocks)])
    return Block(values, np.concatenate([none[1], *(block.costs for block in blocks)]), write)
