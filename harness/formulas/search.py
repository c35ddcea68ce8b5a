"""Search for small expressions that give wanted values at one point, up to factors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.expressions.data import data
from harness.expressions.rows import ROUNDING, Places, Rows, Term, broadcasts
from harness.expressions.steps import Array, Step, undone, values_after
from harness.formulas.factors import Factor, constant_text, rounded
from harness.formulas.point import Point

# How many of the simplest expressions are tried as one side of a product or a sum.
SIDES = 4000
# How many are tried in sums in which each has a factor of its own, and how many finds are kept.
IN_SUMS, MOST = 220, 60
# How many are tried beside something that a number is added to, and inside a known factor.
BESIDE, WITHIN = 600, 1500
# How much larger than a sum its parts may be.
MOST_LARGER = 1e4
# How many are tried for the entries that are not zero.
UNMASKED = 8000
# A number is taken for a limit only if so many values are clipped, and so many are not.
LEAST_CLIPPED = 3
# With fewer values, expressions with a number added fit too much.
LEAST_FOR_NUMBERS = 5
# Beyond this, the inverse of tanh or σ has too few digits.
LEVEL, FAR = ("tanh({0})", "sigmoid({0})"), 6.0
# A factor inside these can stand outside.
POWERS = ("sqrt({0})", "({0}) ** 2")

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Sketch:
    """Parts that give the wanted values when they are added, each with some factor.

    The sum stands in the gap of ``outer``, which is linear.
    """

    parts: tuple[str, ...]
    cost: float
    outer: str = "{}"

    def within(self, outer: str) -> Sketch:
        """Return the sketch with each part in the gap of a pattern."""
        return Sketch(tuple(outer.format(part) for part in self.parts), self.cost + 1)


def sketches(point: Point, true: str, wanted: Array) -> list[Sketch]:
    """Return what gives the wanted values at the point, the simplest first.

    ``true`` is the true gradient, which is a part of many wrong ones; an empty text if none is
    known.
    """
    whole = wanted.reshape(-1)
    if len(whole) > 1 and np.ptp(whole) <= ROUNDING * abs(whole[0]):
        return [Sketch((f"ones_like({_like(point, wanted)})",), 1)]
    rows = point.table.rows(wanted.shape)
    flat = rows.picked(wanted)
    with np.errstate(all="ignore"):
        found = [*_singles(rows, rows.find(flat[None])[1], "({})")]
        if (right := _value(point, rows, true, wanted)) is not None:
            found += _singles(rows, rows.find((right / flat)[None])[1], f"({true}) / ({{}})")
            found += _singles(rows, rows.find((flat - right)[None])[1], true, "{}", more=2)
            found += _sums_with_true(rows, flat, right, true)
            found += _and_product(rows, flat - right, true)
            for name, g in point.upstreams.items():
                if g.shape == wanted.shape:
                    found += _and_product(rows, flat - rows.picked(g), name)
        found += _inside(point, rows, wanted, true)
        found += _products(rows, flat)
        found += _sums(rows, flat)
    return sorted(found, key=lambda each: (each.cost, _place_of_upstream(each.parts[0])))


def sums_of_terms(point: Point, true: str, wanted: Array) -> Iterator[Sketch]:
    """Yield the true gradient with other factors for the terms of a sum in it."""
    rows = point.table.rows(wanted.shape)
    flat = rows.picked(wanted)
    for outer, terms in point.terms(true):
        values = [_value(point, rows, outer.format(term), wanted) for term in terms]
        known = [value for value in values if value is not None]
        if len(known) < len(terms) or len(flat) < LEAST_FOR_NUMBERS:
            continue
        columns = np.stack(known, 1)
        factors, _, rank, _ = np.linalg.lstsq(columns, flat, rcond=None)
        near = np.abs(columns @ factors - flat).max() <= 1e-9 * np.abs(flat).max()
        if near and rank == len(terms):
            used = np.abs(factors) > 1e-9 * np.abs(factors).max()
            parts = tuple(term for term, uses in zip(terms, used, strict=True) if uses)
            yield Sketch(parts, len(parts), outer)


def _value(point: Point, rows: Rows, true: str, wanted: Array) -> Array | None:
    """Return the entries of the true gradient that are compared, if it has the wanted shape."""
    right = point.value(true) if true else None
    if right is None or not broadcasts(right.shape, wanted.shape):
        return None
    return rows.picked(np.broadcast_to(right, wanted.shape))


def _place_of_upstream(text: str) -> int:
    """Return where ``g`` stands: of two ways to write a product, the one with ``g`` first wins."""
    found = re.search(r"\bg(_\w+)?\b", text)
    return found.start() if found else len(text)


def _wholes(point: Point, rows: Rows, wanted: Array, true: str) -> Iterator[tuple[Array, str, str]]:
    """Yield the wanted values by themselves, as a factor of ``g``, and of the true gradient.

    With them come the product as a pattern, and the text of a constant.
    """
    flat = rows.picked(wanted)
    yield flat, "{}", f"ones_like({_like(point, wanted)})"
    for name, g in point.upstreams.items():
        if broadcasts(g.shape, wanted.shape):
            yield flat / rows.picked(np.broadcast_to(g, wanted.shape)), f"{name} * ({{}})", "1"
    if (right := _value(point, rows, true, wanted)) is not None:
        yield flat / right, f"({true}) * ({{}})", "1"


def _like(point: Point, wanted: Array) -> str:
    """Return a name of a tensor of the wanted shape, if there is one."""
    alike = [name for name, value in point.names.items() if value.shape == wanted.shape]
    return alike[-1] if alike else "g"


def peelings(point: Point, wanted: Array, seen: set[str]) -> list[Sketch]:
    """Return matrix products that give the wanted values, one factor of which is a single name.

    Those whose other factor has been ``seen`` at another point are omitted.
    """
    if wanted.ndim not in (1, 2, 3) or not np.isfinite(wanted).all():
        return []
    with np.errstate(all="ignore"):
        found = [*_peelings(point, wanted, seen)]
    return sorted(found, key=lambda each: each.cost)


def _peelings(point: Point, wanted: Array, seen: set[str]) -> Iterator[Sketch]:
    whole = wanted if wanted.ndim > 1 else wanted[:, None]
    mark = "T" if whole.ndim == 2 else "mT"
    for one, value in _factors(point, whole.ndim):
        for text, matrix in ((one, value), (f"({one}).{mark}", value.mT)):
            sides = [(f"{text} @ ({{}})", matrix, whole, False)]
            sides += [(f"({{}}) @ {text}", matrix.mT, whole.mT, True)] * (wanted.ndim > 1)
            for pattern, known, of, turned in sides:
                other = None if pattern in seen else _other_factor(known, of)
                if other is not None:
                    seen.add(pattern)
                    yield from _peeled(point, other, wanted.ndim, pattern, turned=turned)


def _factors(point: Point, axes: int) -> Iterator[tuple[str, Array]]:
    """Yield the matrices that may be one factor of such a product."""
    steps = [Step(pattern) for pattern in data("around")["done_to"][: None if axes == 2 else 1]]
    for name, plain in point.tensors.items():
        for step, value in zip(
            steps, values_after(steps, plain) if plain.ndim == axes else (), strict=False
        ):
            if np.isfinite(value).all():
                yield step.pattern.replace("_", name), value


def _other_factor(matrix: Array, product: Array) -> Array | None:
    """Return what the matrix is multiplied with, if only one thing can stand there."""
    high, wide = matrix.shape[-2:]
    if high != product.shape[-2] or high < wide or matrix.shape[:-2] != product.shape[:-2]:
        return None
    if (np.linalg.matrix_rank(matrix) < wide).any():
        return None
    if product.ndim < 3:
        other = np.asarray(np.linalg.lstsq(matrix, product, rcond=None)[0], np.float64)
    else:
        other = np.linalg.pinv(matrix) @ product
    same = np.abs(matrix @ other - product).max() <= 1e-10 * np.abs(product).max()
    return other if same else None


def _peeled(
    point: Point, other: Array, axes: int, pattern: str, *, turned: bool
) -> Iterator[Sketch]:
    """Yield expressions for the other factor of a matrix product."""
    factor = other.mT if turned else other[:, 0] if axes == 1 else other
    rows = point.table.rows(factor.shape)
    for inner, outer in _and_upstream(point, factor):
        flat = np.asarray(rows.picked(inner), np.float64)
        if np.isfinite(flat).all():
            yield from (each.within(pattern.format(outer)) for each in _looked_up(rows, flat))
    if axes == 3:
        rows, outer = point.table.rows(factor.mT.shape), pattern.format("({}).mT")
        yield from (each.within(outer) for each in _looked_up(rows, rows.picked(factor.mT)))


def _and_upstream(point: Point, factor: Array) -> Iterator[tuple[Array, str]]:
    """Yield a factor of a matrix product by itself, and as a factor of ``g``."""
    yield factor, "{}"
    for name, g in point.upstreams.items():
        for value, text in ((g, f"({name} * ({{}}))"), (g.T, f"({name}.T * ({{}}))")):
            if value.ndim == 2 and value.shape == factor.shape:
                yield factor / value, text
                return


def _inside(point: Point, rows: Rows, wanted: Array, true: str) -> Iterator[Sketch]:
    """Yield ``g`` times something; a function of something, alone or times ``g`` or ``true``."""
    for flat, outer, alone in _wholes(point, rows, wanted, true):
        if not np.isfinite(flat).all():
            continue
        if outer != "{}":
            yield from (sketch.within(outer) for sketch in _looked_up(rows, flat))
        yield from _with_numbers(rows, flat, outer, alone)
        for pattern, inner, clear in (*_clipped(flat), *_undone(flat)):
            for text, cost in _multiples(rows, inner, clear, scaled=pattern not in POWERS):
                yield Sketch((outer.format(pattern.format(text)),), cost + 2)


def _looked_up(rows: Rows, wanted: Array) -> Iterator[Sketch]:
    """Yield one expression, two multiplied or divided, two added: what stands inside others."""
    yield from _singles(rows, rows.find(wanted[None])[1], "{}")
    yield from _products(rows, wanted, WITHIN)
    yield from _sums(rows, wanted)


def _with_numbers(rows: Rows, wanted: Array, outer: str, alone: str) -> Iterator[Sketch]:
    """Yield sketches with a number added: to the whole, in a product, below a fraction."""
    if len(wanted) < LEAST_FOR_NUMBERS:
        return
    lines = rows.find_lines(wanted[None])[1]
    yield from _singles(rows, lines, outer, outer.format(alone), more=1.5)
    sides = rows.simplest(BESIDE)
    asked, found = rows.find_lines(wanted / rows.values[sides])
    patterns = outer.format("({0}) * ({1})"), outer.format("{0}")
    yield from _pairs(rows, sides[asked], found, *patterns, more=2)
    values = np.concatenate([np.ones((1, len(wanted))), rows.values[sides]]) / wanted
    asked, found = rows.find_lines(values)
    order = np.argsort(asked, kind="stable")[:MOST]
    for at, row in zip(asked[order], found[order], strict=True):
        slope, number = _line(rows.values[row], values[at])
        if not slope or not np.isfinite(number / slope):
            continue
        above = rows.term(int(sides[at - 1])) if at else Term("1", 0.5)
        below = rows.term(int(row))
        text = f"({above.text}) / ({below.text} + {rounded(number / slope)})"
        yield Sketch((outer.format(text),), above.cost + below.cost + 2)


def _line(values: Array, wanted: Array) -> tuple[float, float]:
    """Return the factor and the number that turn values into the wanted ones."""
    off = values - values.mean()
    slope = float(off @ wanted / (off @ off))
    return slope, float((wanted - slope * values).mean())


def _clipped(wanted: Array) -> Iterator[tuple[str, Array, Mask]]:
    """Yield a clamp at the least and the largest value, and which values are inside it.

    Several values must be at a limit.
    """
    low, high = float(wanted.min()), float(wanted.max())
    room = ROUNDING * max(abs(low), abs(high))
    limits = {"min": (low, wanted <= low + room), "max": (high, wanted >= high - room)}
    held = {side: each for side, each in limits.items() if each[1].sum() >= LEAST_CLIPPED}
    if held:
        given = ", ".join(f"{side}={limit:.10g}" for side, (limit, _) in held.items())
        yield f"({{}}).clamp({given})", wanted, ~np.any([at for _, at in held.values()], axis=0)


def _undone(wanted: Array) -> Iterator[tuple[str, Array, Mask]]:
    """Yield functions, their arguments, and which of those have all their digits."""
    for pattern, inner in undone("inside", of=wanted):
        clear = np.isfinite(inner)
        if pattern in LEVEL:
            clear &= np.abs(inner) < FAR
        yield pattern, inner, clear


def _multiples(
    rows: Rows, wanted: Array, clear: Mask, *, scaled: bool
) -> Iterator[tuple[str, float]]:
    """Yield what gives the clear values, with a factor and, if all are clear, a number added."""
    if len(np.unique(wanted[clear])) < LEAST_CLIPPED or 2 * clear.sum() < len(wanted):
        return
    for row in _cheapest(rows, _with_one_factor(rows, wanted, clear)):
        values, term = rows.values[row][clear], rows.term(row)
        factor = float(values @ wanted[clear] / (values @ values))
        if np.isfinite(factor):
            factor = factor if scaled else np.sign(factor)
            yield Factor(*constant_text(factor)).times(term.text), term.cost
    if clear.all() and len(wanted) >= LEAST_FOR_NUMBERS:
        for row in _cheapest(rows, rows.find_lines(wanted[None])[1]):
            slope, number = _line(rows.values[row], wanted)
            if np.isfinite(slope + number):
                text = Factor(*constant_text(slope)).times(rows.term(row).text)
                yield f"{text} + {rounded(number)}", rows.term(row).cost + 1


def _with_one_factor(rows: Rows, wanted: Array, clear: Mask) -> Places:
    """Return the rows that give the clear values with one factor."""
    if clear.all():
        return rows.find(wanted[None])[1]
    sides = rows.simplest(UNMASKED)
    values, target = rows.values[sides][:, clear], wanted[clear]
    factors = values @ target / (values**2).sum(1)
    off = np.abs(factors[:, None] * values - target).max(1, initial=0)
    good: Places = sides[np.isfinite(factors) & (off <= 100 * ROUNDING * np.abs(target).max())]
    return good


def unmasked(point: Point, true: str, wanted: Array) -> list[str]:
    """Return expressions that have the wanted values, up to a factor, where those are not zero."""
    rows = point.table.rows(wanted.shape)
    flat = rows.picked(wanted)
    clear = (flat != 0) & np.isfinite(flat)
    if clear.all() or clear.sum() < LEAST_CLIPPED:
        return []
    found: list[Sketch] = []
    with np.errstate(all="ignore"):
        for values, outer, _ in _wholes(point, rows, wanted, true):
            found += _singles(rows, _with_one_factor(rows, values, clear), outer)
    return [sketch.parts[0] for sketch in sorted(found, key=lambda each: each.cost)]


def _products(rows: Rows, wanted: Array, most: int = SIDES) -> Iterator[Sketch]:
    """Yield two expressions multiplied, divided, added."""
    sides = rows.simplest(most)
    values = rows.values[sides]
    for queries, pattern in ((wanted / values, "({}) * ({})"), (values / wanted, "({}) / ({})")):
        asked, found = rows.find(queries)
        yield from _pairs(rows, sides[asked], found, pattern)
    sides = sides[np.abs(values).max(1) < MOST_LARGER * np.abs(wanted).max()]
    for rest in (wanted - rows.values[sides], wanted + rows.values[sides]):
        asked, found = rows.find(rest)
        yield from _pairs(rows, sides[asked], found, "{0}", "{1}", more=0.5)


def _and_product(rows: Rows, rest: Array, true: str) -> Iterator[Sketch]:
    """Yield the true gradient, or ``g``, with a product of two expressions added to it."""
    sides = rows.simplest(IN_SUMS)
    asked, found = rows.find(rest / rows.values[sides])
    yield from _pairs(rows, sides[asked], found, true, "({}) * ({})", more=3.5)


def _sums(rows: Rows, wanted: Array) -> Iterator[Sketch]:
    """Yield two expressions added, each with a factor of its own."""
    sides = rows.simplest(IN_SUMS)
    first, second = _adding_up(rows.values[sides], rows.values[sides], wanted)
    once = first < second
    yield from _pairs(rows, sides[first[once]], sides[second[once]], "{0}", "{1}", more=1.5)


def _sums_with_true(rows: Rows, wanted: Array, right: Array, true: str) -> Iterator[Sketch]:
    """Yield the true gradient with a factor, and something else with another."""
    sides = rows.simplest(SIDES)
    found = _adding_up(right[None], rows.values[sides], wanted)[1]
    yield from _singles(rows, sides[found], true, "{}", more=2.5)


def _adding_up(ones: Array, others: Array, wanted: Array) -> tuple[Places, Places]:
    """Return which rows add up to a multiple of the wanted values, with factors."""
    ones, others = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (ones, others))
    # What is left of the wanted values without their components along both, by inner products.
    target = wanted / np.linalg.norm(wanted)
    # Numpy's own product of matrices would start threads.
    inner = np.einsum("ij,kj", ones, others)
    along, beside = (ones @ target)[:, None], (others @ target)[None]
    apart = np.maximum(1 - inner**2, 1e-12)
    one, other = (along - inner * beside) / apart, (beside - inner * along) / apart
    near = (np.abs(1 - one * along - other * beside) < 1e-7) & (apart > 1e-6)
    first, second = np.nonzero(near)
    made = one[near][:, None] * ones[first] + other[near][:, None] * others[second]
    same = np.abs(made - target).max(1, initial=0) <= 100 * ROUNDING
    return first[same], second[same]


def _singles(rows: Rows, places: Places, *parts: str, more: float = 0.5) -> Iterator[Sketch]:
    """Yield the cheapest rows in the gaps of the parts; ``more`` is what that adds to the cost."""
    return (_sketch(rows, (row,), parts, more) for row in _cheapest(rows, places))


def _pairs(
    rows: Rows, ones: Places, others: Places, *parts: str, more: float = 1.0
) -> Iterator[Sketch]:
    """Yield the cheapest pairs of rows in the gaps of the parts."""
    order = np.argsort(rows.costs[ones] + rows.costs[others], kind="stable")[:MOST]
    pairs = zip(ones[order].tolist(), others[order].tolist(), strict=True)
    return (_sketch(rows, pair, parts, more) for pair in pairs)


def _sketch(rows: Rows, places: Iterable[int], parts: tuple[str, ...], more: float) -> Sketch:
    terms = [rows.term(row) for row in places]
    texts = [term.text for term in terms]
    return Sketch(tuple(part.format(*texts) for part in parts), sum(t.cost for t in terms) + more)


def _cheapest(rows: Rows, places: Places) -> list[int]:
    order = np.argsort(rows.costs[places], kind="stable")[:MOST]
    return [int(place) for place in places[order]]
