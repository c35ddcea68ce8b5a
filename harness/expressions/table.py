"""All small expressions over a stage's names, by shape, with their values at one point.

Values of many expressions are computed at once, from arrays that hold those of smaller ones. The
text of an expression is put together only when it is asked for.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import accumulate, product

import numpy as np

from harness.expressions.data import data
from harness.expressions.rows import Block, Places, Rows, Shape, Term, broadcasts, columns_of
from harness.expressions.steps import ALONG_AXES, ENTRYWISE, Array, Step, along, some, values_after

# How many numbers a table has at most, and all pairs of expressions of one shape.
MOST, PAIRED = 2_500_000, 500_000
# How many expressions with one value are kept.
ALIKE = 4
# The cost of a larger expression that is used as it is.
PART = 3.0

Axes = tuple[tuple[str, int], ...]
TURNED = [(Step(pattern, 0.5, along_axes=True),) for pattern in ("_.T", "_.mT")]
SIZE, COLUMN = Step("abs(_)", 1), Step("_[:, None]", 1, along_axes=True)


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


def _of_numbers(atoms: Sequence[Block]) -> Iterator[Block]:
    """Yield expressions of single numbers: every step from every name, and all pairs of these."""
    plain = _stacked(_after(ENTRYWISE, atoms))
    yield from (*_pairs(atoms, atoms, ["**"]), *plain, *_pairs(plain, plain))
    yield from _after(ENTRYWISE[1:], plain)
    yield from _after(ENTRYWISE[1:], _stacked(_pairs(atoms, atoms)))


def _of_tensors(atoms: Sequence[Block]) -> Iterator[Block]:
    """Yield expressions of tensors: steps on entries and on axes, and products of some of these.

    There are no more pairs than needed, as the search combines two rows itself.
    """
    plain, few = _stacked(_after(ENTRYWISE, atoms)), _stacked(_after(some("few"), atoms))
    yield from (*plain, *_pairs(atoms, atoms, ["**"]), *_after(ALONG_AXES, few, 2))
    yield from _after(ENTRYWISE[1:], _stacked([*plain, *_after(ALONG_AXES, atoms, 2)]))
    sides = _cut(few, PAIRED)
    pairs = _stacked(_pairs(sides, sides))
    yield from (*pairs, *_after(some("sums"), pairs, 2))
    simple = _stacked(_pairs(atoms, atoms))
    yield from (*_after(ENTRYWISE, simple), *_after(ALONG_AXES, simple, 2))
    yield from _after(some("sums"), _stacked(_after(some("sizes"), simple)), 2)
    sums = _stacked([*_after(ALONG_AXES, atoms, 2), *_after([COLUMN], atoms, 1)])
    yield from (*sums, *_pairs(atoms, sums), *_pairs(sums, atoms))
    yield from _outer([*_after((*some("sums"), *some("columns")), atoms, 2), *atoms])
    flat = [each for each in few if each.values.ndim < 4]
    sides = _stacked([*flat, *_after(some("matrices"), flat, 2)])
    yield from _matrix_products(sides, sides)
    flat = [each for each in atoms if each.values.ndim < 4]
    yield from _matrix_products(_after([ENTRYWISE[0], ALONG_AXES[0]], pairs, 2), flat)


def _of_shapes(atoms: Sequence[Block], axes: Axes) -> Iterator[Block]:
    """Yield expressions of tensors of any number of axes, and what is left of one along another."""
    around, few = _stacked(_along(atoms, axes)), [*atoms, *_after(some("steps"), atoms)]
    alike = _stacked(
        each
        for at, one in enumerate(atoms)
        for each in _pairs([one], [*atoms[:at], *atoms[at + 1 :]], ["=="])
    )
    products = _cut(_stacked(_pairs(few, [*few, *alike], "*")), 40 * PAIRED)
    pairs = _stacked(_pairs(atoms, atoms, "*-"))
    limits = [each for each in atoms if each.values.ndim == 1]
    yield from _pairs(_after([SIZE], [*atoms, *pairs]), limits, ["<="])
    yield from _pairs([*atoms, *pairs], limits, [">"])
    plain = [*atoms, *_turned(atoms)]
    yield from _projections(atoms, _cut(_stacked(_matrix_products(plain, plain)), PAIRED // 2))
    yield from (*around, *alike, *products, *_stacked(_pairs(atoms, around, "*-/")))
    yield from _along([*pairs, *products], axes)
    sides = _cut(_stacked([*few, *alike, *products, *_pairs(atoms, around, "*")]), PAIRED)
    turned = _matrix_products([*sides, *_turned(sides)], plain)
    products = _stacked([*turned, *_matrix_products(plain, sides)])
    yield from (*products, *_along(products, axes))
    ones, others = _stacked([*atoms, *around]), _stacked([*atoms, *pairs, *products])
    yield from _projections(_cut(ones, PAIRED // 20), _cut(others, PAIRED // 2))


def _after(
    steps: Sequence[Step], blocks: Iterable[Block], rank: int | None = None
) -> Iterator[Block]:
    """Yield what steps make of blocks, or of those whose expressions have so many axes."""
    for block in blocks:
        if rank is None or block.values.ndim == rank + 1:
            for step, values in zip(steps, values_after(steps, block.values), strict=True):
                yield Block(values, block.costs + step.cost, partial(_apply, block, step))


def _along(blocks: Iterable[Block], axes: Axes) -> Iterator[Block]:
    """Yield what is done to blocks along their axes."""
    for block in blocks:
        if block.values.ndim > 1:
            yield from _after(along(block.values.ndim - 1, axes), [block])


def _turned(blocks: Iterable[Block]) -> Iterator[Block]:
    """Yield matrices and batches of them transposed."""
    for block in blocks:
        if block.values.ndim > 2:
            yield from _after(TURNED[block.values.ndim > 3], [block])


def _projections(ones: Sequence[Block], others: Sequence[Block]) -> Iterator[Block]:
    """Yield what is left of one tensor without its part along another."""
    patterns = data("table")["projections"].items()
    for one, other in product(ones, others):
        rank = one.values.ndim - 1
        if rank and one.values.shape[1:] == other.values.shape[1:]:
            for axis, method in product(range(rank), ("sum", "mean")):
                by = f"{method}({axis}, keepdim=True)" if axis or rank > 2 else f"{method}(0)"
                at = f"{method}({axis - rank}, keepdims=True)"
                for pattern, cost in patterns:
                    scope = {"x": other.values[:, None], "u": one.values[None]}
                    values = eval(pattern.format("x", "u", at), scope)
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


def _single(text: str, value: Array, cost: float) -> Block:
    return Block(value[None], np.full(1, cost), lambda row: Term(text, cost))


def _apply(block: Block, step: Step, row: int) -> Term:
    term = block.write(row)
    return Term(step.pattern.replace("_", f"({term.text})"), term.cost + step.cost)


OPERATORS: Mapping[str, np.ufunc] = {
    "*": np.multiply,
    "**": np.power,
    "/": np.divide,
    "+": np.add,
    "-": np.subtract,
    "==": np.equal,
    "<=": np.less_equal,
    ">": np.greater,
}


def _pairs(
    lefts: Iterable[Block], rights: Sequence[Block], operators: Sequence[str] = "*/+-"
) -> Iterator[Block]:
    """Combine every left block with every right one, entry by entry, if their shapes broadcast."""
    for left, right, operator in product(lefts, rights, operators):
        if _go_together(left.values.shape[1:], right.values.shape[1:]):
            deep = max(left.values.ndim, right.values.ndim)
            one, other = _padded(left.values, deep)[:, None], _padded(right.values, deep)[None]
            values = np.asarray(OPERATORS[operator](one, other), np.float64)
            yield _paired(left, right, values, f"({{}}) {operator} ({{}})")


def _go_together(one: Shape, other: Shape) -> bool:
    """Return whether the shapes broadcast."""
    return all(x == y or 1 in (x, y) for x, y in zip(one[::-1], other[::-1], strict=False))


def _outer(blocks: Sequence[Block]) -> Iterator[Block]:
    rows = [block for block in blocks if block.values.ndim == 2]
    for left in rows:
        for right in rows:
            product = left.values[:, None, :, None] * right.values[None, :, None, :]
            yield _paired(left, right, product, "outer({}, {})")


def _matrix_products(lefts: Iterable[Block], rights: Sequence[Block]) -> Iterator[Block]:
    """Yield the products of matrices and batches of them with those and with vectors."""
    for left, right in product(lefts, rights):
        flat = right.values.ndim == 2
        one, other = left.values.shape[1:], (*right.values.shape[1:], *(1,) * flat)
        if min(len(one), len(other)) < 2 or one[-1] != other[-2]:
            continue
        if _go_together(one[:-2], other[:-2]):
            left, right = *_cut([left], PAIRED), *_cut([right], PAIRED)
            factor = right.values[..., None] if flat else right.values
            deep = max(left.values.ndim, factor.ndim)
            values = _padded(left.values, deep)[:, None] @ _padded(factor, deep)[None]
            yield _paired(left, right, values[..., 0] if flat else values, "({}) @ ({})")


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
    if not broadcasts(own, shape):
        return None
    wide = np.broadcast_to(_padded(block.values, len(shape) + 1), (len(block), *shape))
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
