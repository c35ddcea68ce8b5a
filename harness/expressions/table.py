"""All small expressions over a stage's names, to be found by their values at one point.

Values of many expressions are computed at once, from arrays that hold those of smaller ones. The
text of an expression is put together only when it is asked for.
"""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import accumulate, product

import numpy as np
from numpy.typing import NDArray

from harness.expressions.steps import ALONG_AXES, ENTRYWISE, Array, Step, along, some, values_after

Places = NDArray[np.intp]
Shape = tuple[int, ...]

# The tolerance for values of rows that are scaled to size 1.
ROUNDING = 1e-9
# The tolerances for each value, relative to itself and to the size of its row.
FINE, FINEST = 1e-5, 1e-13
# With fewer nonzero values, anything is a multiple of anything; smaller ones count as zero.
LEAST, FAINT = 3, 1e-8
# How many entries of large tensors are compared, and how many numbers a table has at most.
COMPARED, MOST = 48, 2_500_000
# How many numbers all pairs of expressions of one shape may have.
PAIRED = 500_000
# How many expressions with one value are kept.
ALIKE = 4
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


Axes = tuple[tuple[str, int], ...]
TURNED = [(Step(pattern, 0.5, along_axes=True),) for pattern in ("_.T", "_.mT")]


class Table:
    """Expressions of up to about four names at one point, by shape.

    ``names`` maps names to their values: a tensor, or, if the stage works on single numbers
    (``shaped`` is False), the numbers at several points along one axis. ``parts`` maps larger
    expressions, which are used as they are, to their values, and ``axes`` gives axes by name.
    """

    def __init__(
        self,
        names: Mapping[str, Array],
        parts: Mapping[str, Array],
        axes: Axes = (),
        *,
        shaped: bool,
    ) -> None:
        atoms = [_single(name, value, 1.0) for name, value in names.items()]
        whole = [_single(text, value, PART) for text, value in parts.items()]
        with np.errstate(all="ignore"):
            made = (
                (_of_tensors(atoms), _of_shapes(atoms, axes)) if shaped else (_of_numbers(atoms),)
            )
            self._blocks = _by_shape([*whole, *(block for each in made for block in _within(each))])
        self._rows: dict[Shape, Rows] = {}

    def rows(self, shape: Shape) -> Rows:
        """Return all expressions that have this shape or broadcast to it."""
        if shape not in self._rows:
            columns = columns_of(shape)
            wide = [_widened(block, shape, columns) for block in self._blocks.values()]
            block = _one([block for block in wide if block is not None], columns.shape)
            self._rows[shape] = Rows(block, columns, constants=shape in ((), (1,)), alike=ALIKE)
        return self._rows[shape]


def columns_of(shape: Shape) -> Places:
    """Return which entries of tensors of a shape are compared: all, or some if they are many."""
    count = math.prod(shape)
    if count <= COMPARED:
        return np.arange(count)
    return np.sort(np.random.default_rng(DIRECTION).choice(count, COMPARED, replace=False))


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
        self._direction = _direction(values.shape[1])
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


def _simplest_alike(values: Array, costs: Array, most: int) -> Places:
    """Return the rows, in order, without all but some of those that are equal up to a factor."""
    keys: Array = _units(values) @ _direction(values.shape[1])
    order = np.argsort(keys, kind="stable")
    groups = np.empty(len(keys), np.intp)
    groups[order] = np.cumsum(np.diff(keys[order], prepend=-np.inf) > ROUNDING)
    order = np.lexsort((costs, groups))
    begins = np.flatnonzero(np.diff(groups[order], prepend=-1))
    ranks = np.arange(len(keys)) - np.repeat(begins, np.diff(begins, append=len(keys)))
    return np.sort(order[ranks < most])


def _direction(size: int) -> Array:
    return np.random.default_rng(DIRECTION).normal(size=size)


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
    yield from _twice(_stacked(_pairs(atoms, atoms)))


def _of_tensors(atoms: Sequence[Block]) -> Iterator[Block]:
    """Yield expressions of tensors: steps on entries and on axes, and products of some of these.

    There are no more pairs than needed, as the search combines two rows itself.
    """
    plain = _stacked(block for atom in atoms for block in _made(atom, ENTRYWISE))
    few = _stacked(block for atom in atoms for block in _made(atom, some("few")))
    sides = _cut(few, PAIRED)
    pairs = _stacked(_pairs(sides, sides))
    singles = [*plain, *_along_axes(few)]
    yield from (*singles, *_twice(_stacked([*plain, *_along_axes(atoms)])))
    yield from (*pairs, *_along_axes(pairs, some("sums")))
    simple = _stacked(_pairs(atoms, atoms))
    yield from (each for block in simple for each in _made(block, ENTRYWISE))
    yield from _along_axes(simple)
    squares = _stacked(each for block in simple for each in _made(block, some("sizes")))
    yield from _along_axes(squares, some("sums"))
    sums = _stacked([*_along_axes(atoms), *_of_rows(atoms)])
    yield from (*sums, *_pairs(atoms, sums), *_pairs(sums, atoms))
    yield from _outer([*_along_axes(atoms, (*some("sums"), *some("columns"))), *atoms])
    sides = _stacked([*few, *_along_axes(few, some("matrices"))])
    yield from _matrix_products(sides, sides)
    turned = [*pairs, *_along_axes(pairs, ALONG_AXES[:1])]
    yield from _matrix_products(turned, atoms)


def _of_shapes(atoms: Sequence[Block], axes: Axes) -> Iterator[Block]:
    """Yield expressions of tensors of any number of axes, and what is left of one along another."""
    around = _stacked(block for each in atoms for block in _along(each, axes))
    few = [*atoms, *(block for each in atoms for block in _made(each, some("steps")))]
    alike = _stacked(_same(atoms, atoms))
    products = _cut(_stacked(_pairs(few, [*few, *alike], "*")), 40 * PAIRED)
    pairs = _stacked(_pairs(atoms, atoms, "*-"))
    yield from _beyond([*atoms, *pairs], [each for each in atoms if each.values.ndim == 1])
    plain = [*atoms, *_turned(atoms)]
    yield from _projections(atoms, _cut(_stacked(_batched(plain, plain)), PAIRED // 2))
    yield from (*around, *alike, *products, *_stacked(_pairs(atoms, around, "*-/")))
    yield from (each for block in pairs for each in _along(block, axes))
    yield from (each for block in products for each in _along(block, axes))
    sides = _cut(_stacked([*few, *alike, *products, *_pairs(atoms, around, "*")]), PAIRED)
    products = _stacked([*_batched([*sides, *_turned(sides)], plain), *_batched(plain, sides)])
    yield from products
    yield from (each for block in products for each in _along(block, axes))
    ones, others = _stacked([*atoms, *around]), _stacked([*atoms, *pairs, *products])
    yield from _projections(_cut(ones, PAIRED // 20), _cut(others, PAIRED // 2))


def _same(ones: Sequence[Block], others: Sequence[Block]) -> Iterator[Block]:
    """Yield where two tensors are equal."""
    for one, other in product(ones, others):
        if one is not other and _go_together(one.values.shape[1:], other.values.shape[1:]):
            yield _joined(one, "==", other, _equal)


def _beyond(blocks: Sequence[Block], limits: Sequence[Block]) -> Iterator[Block]:
    """Yield where tensors are beyond a number, and where they are within it."""
    size = [Step("abs(_)", 1)]
    for block, limit in product(blocks, limits):
        for each in _made(block, size):
            yield _joined(each, "<=", limit, _up_to)
        yield _joined(block, ">", limit, _above)


def _equal(one: Array, other: Array) -> Array:
    return np.asarray(one == other, np.float64)


def _up_to(one: Array, other: Array) -> Array:
    return np.asarray(one <= other, np.float64)


def _above(one: Array, other: Array) -> Array:
    return np.asarray(one > other, np.float64)


def _turned(blocks: Iterable[Block]) -> Iterator[Block]:
    """Yield matrices and batches of them transposed."""
    for block in blocks:
        if block.values.ndim > 2:
            yield from _made(block, TURNED[block.values.ndim > 3])


def _along(block: Block, axes: Axes) -> Iterator[Block]:
    rank = block.values.ndim - 1
    if rank:
        yield from _made(block, along(rank, axes))


def _batched(lefts: Sequence[Block], rights: Sequence[Block]) -> Iterator[Block]:
    """Yield matrix products of tensors of which one at least is a batch of matrices."""
    for left in lefts:
        for right in rights:
            one, other = left.values.shape[1:], right.values.shape[1:]
            if min(len(one), len(other)) < 2:
                continue
            if one[-1] == other[-2] and _go_together(one[:-2], other[:-2]):
                deep = max(left.values.ndim, right.values.ndim)
                value = _padded(left.values, deep)[:, None] @ _padded(right.values, deep)[None]
                yield _paired(left, right, value, "({}) @ ({})")


PROJECTIONS = {
    "({0}) - ({1}) * (({0}) * ({1})).{2}": 3.0,
    "({0}) - ({1}) * ({0}).{2}": 2.5,
    "({0}) - (({0}) * ({1})).{2}": 2.7,
    "({0}) - ({0}).{2} - ({1}) * (({0}) * ({1})).{2}": 4.5,
}


def _projections(ones: Sequence[Block], others: Sequence[Block]) -> Iterator[Block]:
    """Yield what is left of one tensor without its part along another."""
    for one in ones:
        for other in others:
            rank = one.values.ndim - 1
            if not rank or one.values.shape[1:] != other.values.shape[1:]:
                continue
            for axis, (mean, method) in product(range(rank), enumerate(("sum", "mean"))):
                by = f"{method}({axis}, keepdim=True)" if axis or rank > 2 else f"{method}(0)"
                x, u = other.values[:, None], one.values[None]
                size = x.shape[axis + 2] if mean else 1
                inner = (x * u).sum(axis + 2, keepdims=True) / size
                total = x.sum(axis + 2, keepdims=True) / size
                left = (x - u * inner, x - u * total, x - inner, x - total - u * inner)
                for values, (pattern, cost) in zip(left, PROJECTIONS.items(), strict=True):
                    made = _paired(other, one, values, pattern.replace("{2}", by))
                    yield replace(made, costs=_costs(other, one, cost))


def _within(blocks: Iterable[Block]) -> Iterator[Block]:
    """Yield blocks as long as there are not too many numbers in them."""
    left = MOST
    for block in blocks:
        left -= block.values.size
        if left < 0:
            return
        yield block


def _cut(blocks: Sequence[Block], most: int) -> list[Block]:
    """Keep the simplest expressions, of which all pairs have at most so many numbers."""
    found: list[Block] = []
    for block in blocks:
        rows = max(4, int((most / max(1, block.values[0].size)) ** 0.5)) if len(block) else 0
        if rows < len(block):
            kept = np.sort(np.argsort(block.costs, kind="stable")[:rows])
            block = Block(block.values[kept], block.costs[kept], partial(_kept, block, kept))
        found.append(block)
    return found


def _kept(block: Block, kept: Places, row: int) -> Term:
    return block.write(int(kept[row]))


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
            fits = left.values.ndim == 3 and right.values.ndim < 4
            if fits and left.values.shape[2:] == right.values.shape[1:2]:
                flat = right.values.ndim == 2
                left, right = *_cut([left], PAIRED), *_cut([right], PAIRED)
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
    costs = _costs(left, right, 0.5)
    rows = values.reshape(len(left) * len(right), *values.shape[2:])
    return Block(rows, costs, partial(_pair, left, right, pattern))


def _costs(left: Block, right: Block, more: float) -> Array:
    costs: Array = (left.costs[:, None] + right.costs[None] + more).reshape(-1)
    return costs


def _pair(left: Block, right: Block, pattern: str, row: int) -> Term:
    one, other = left.write(row // len(right)), right.write(row % len(right))
    return Term(pattern.format(one.text, other.text), one.cost + other.cost + 0.5)


def _widened(block: Block, shape: Shape, columns: Places) -> Block | None:
    """Return some entries of a block broadcast to a shape, or None if that is impossible."""
    own = block.values.shape[1:]
    if len(own) > len(shape) or not _go_together(own, shape):
        return None
    padded = _padded(block.values, len(shape) + 1)
    if any(size not in (1, wanted) for size, wanted in zip(padded.shape[1:], shape, strict=True)):
        return None
    wide = np.broadcast_to(padded, (len(block), *shape))
    chosen = (
        np.moveaxis(wide, 0, -1)[np.unravel_index(columns, shape)].T if shape else wide[:, None]
    )
    # An expression that has another shape by itself costs a little more.
    return Block(chosen, block.costs + (0 if own == shape else 0.3), block.write)


def _stacked(blocks: Iterable[Block]) -> list[Block]:
    """Join the blocks of each shape, to work on all of them at once."""
    return list(_by_shape(blocks).values())


def _by_shape(blocks: Iterable[Block]) -> dict[Shape, Block]:
    found: dict[Shape, list[Block]] = {}
    for block in blocks:
        found.setdefault(block.values.shape[1:], []).append(block)
    return {shape: _one(same, shape) for shape, same in found.items()}


def _one(blocks: Sequence[Block], shape: Shape) -> Block:
    ends = [*accumulate(map(len, blocks))]

    def write(row: int) -> Term:
        at = bisect(ends, row)
        return blocks[at].write(row - ends[at] + len(blocks[at]))

    none = np.empty((0, *shape)), np.empty(0)
    values = np.concatenate([none[0], *(block.values for block in blocks)])
    return Block(values, np.concatenate([none[1], *(block.costs for block in blocks)]), write)
