"""Find the formula that gives what a backward returned: known ones first, then a search."""

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from harness.course.stage import Stage
from harness.formulas.cuts import conditions, cut_formulas
from harness.formulas.factors import Factor, Factors, factors_for
from harness.formulas.known import NamedFormula, hint_for, known_formulas
from harness.formulas.point import Point, points_for
from harness.formulas.samples import EXACT, SINGLE, Sample, reproduces, value_at
from harness.formulas.search import Sketch, peelings, sketches, triples, unmasked
from harness.formulas.steps import Array, undone

# How many of the simplest finds are tried at every sample.
TRIES = 30
# How many samples of single numbers are compared before all are.
FIRST = 9
# How far a value may be off, relative to the largest, and still count as equal.
NEAR = 1e-6
# Rounding of a sum takes too many digits from the factor of a part that is smaller than this.
LEAST_PART = 1e-6
OTHER = ("another-formula", hint_for(""))
FACTOR = (
    "off-by-a-factor",
    "All is right but for a factor. Where does yours come from: a power, an average, a step size?",
)
CUT = (
    "cut-off",
    "Your result is cut off somewhere. Does the slope of this stage jump, or stop, at a number?",
)


def formulas_for(stage: Stage, name: str, samples: Sequence[Sample]) -> Iterator[NamedFormula]:
    """Yield formulas that give what backward returned for input ``name`` in every sample.

    The likeliest and simplest come first; there are none if the true gradient is one.
    """
    if reproduces(stage, stage.gradients[name], samples, SINGLE):
        return
    yield from _Search(stage, name, samples).run()


class _Search:
    """The search for the formula of one gradient, from samples of it."""

    def __init__(self, stage: Stage, name: str, samples: Sequence[Sample]) -> None:
        self._stage, self._name, self._samples = stage, name, samples
        self._points = points_for(stage, samples)

    def run(self) -> Iterator[NamedFormula]:
        point, wanted = self._points[0]
        if not np.isfinite(wanted).all() or not wanted.any():
            yield from self._one_by_one()
            return
        yield from self._known(point, wanted)
        for expression in cut_formulas(self._stage, self._name, self._samples):
            yield NamedFormula(expression, *CUT)
        for expression in self._masked(point, wanted):
            yield NamedFormula(expression, *CUT)
        for expression in self._turned(point, wanted):
            yield NamedFormula(expression, *OTHER)
        if wanted.size == 1 and not self._stage.is_scalar:
            return
        yield from self._other(sketches(point, self._stage.gradients[self._name], wanted))
        for place, values in self._points:
            yield from self._other(peelings(place, values))
        yield from self._other(triples(point, self._stage.gradients[self._name], wanted))

    @cached_property
    def _all_factors(self) -> Factors:
        return factors_for(self._stage, self._name, self._samples)

    def _one_by_one(self) -> Iterator[NamedFormula]:
        """Yield formulas for values that have no multiples: zeros, and what is not finite."""
        for known in known_formulas(self._stage, self._name):
            if reproduces(self._stage, known.expression, self._samples):
                yield known
        zeros = f"zeros_like({self._name})"
        if reproduces(self._stage, zeros, self._samples):
            yield NamedFormula(zeros, "zero", OTHER[1])

    def _known(self, point: Point, wanted: Array) -> Iterator[NamedFormula]:
        """Yield known formulas as they are, then with a factor, the true gradient first."""
        for known in known_formulas(self._stage, self._name):
            # They are few, and often all that a submission with another forward needs.
            if known.forward and reproduces(self._stage, known.expression, self._samples):
                yield known
        candidates = point.near(self._name, wanted)
        for known in candidates:
            if reproduces(self._stage, known.expression, self._samples):
                yield known
        if wanted.size == 1 and not self._stage.is_scalar:
            yield from self._single(wanted)
            return
        true = NamedFormula(self._stage.gradients[self._name], *FACTOR)
        for known in (true, *candidates[:TRIES]):
            scaled = self._scaled(known.expression)
            if scaled:
                yield replace(known, expression=scaled)

    def _masked(self, point: Point, wanted: Array) -> Iterator[str]:
        """Yield formulas with some value where a condition holds, and zero elsewhere."""
        tests = [*conditions(self._stage, self._name, self._samples)]
        if not tests:
            return
        true = self._stage.gradients[self._name]
        for body in islice(dict.fromkeys((true, "g", *unmasked(point, true, wanted))), TRIES):
            factor = self._factor_where_not_zero(body)
            if factor is None:
                continue
            for test in tests:
                right = self._if_right(f"({factor.times(body)}) * ({test})")
                if right:
                    yield right

    def _factor_where_not_zero(self, expression: str) -> Factor | None:
        """Return the factor with which the expression has every nonzero value."""
        ratios: list[float | None] = []
        for sample in self._samples:
            value = value_at(self._stage, f"({expression}) * ones_like({self._name})", sample)
            if value is None or value.shape != sample.got.shape:
                return None
            kept = sample.got != 0
            ratio = _ratio(value[kept], sample.got[kept]) if bool(kept.any()) else None
            if ratio is not None and not _is_multiple(value[kept], sample.got[kept], ratio):
                return None
            ratios.append(ratio)
        return self._all_factors.find(ratios)

    def _turned(self, point: Point, wanted: Array) -> Iterator[str]:
        """Yield the true gradient, or a known formula, rearranged or inside another function."""
        true = self._stage.gradients[self._name]
        is_matrix = wanted.ndim == 2 and not self._stage.is_scalar
        for pattern, inner in undone(*(["turned"] if is_matrix else []), "wholes", of=wanted):
            known = [each.expression for each in point.near(self._name, inner)]
            for expression in (true, *known):
                right = self._if_right(pattern.format(expression, self._name))
                if right:
                    yield right

    def _single(self, wanted: Array) -> Iterator[NamedFormula]:
        """Yield a factor by itself: for a single number, any expression matches up to a factor."""
        one = f"ones({tuple(wanted.shape)})"
        ratios = [_ratio(torch.ones(()), sample.got.reshape(-1)[:1]) for sample in self._samples]
        factor = self._all_factors.find(ratios)
        if factor:
            bare = Factor("", factor.below).times(factor.above or "1")
            for text in (bare, factor.times(one)):
                right = self._if_right(text)
                if right:
                    yield NamedFormula(right, *OTHER)

    def _other(self, found: Sequence[Sketch]) -> Iterator[NamedFormula]:
        for sketch in islice(_without_doubles(found), TRIES):
            text = self._filled(sketch)
            if text:
                yield NamedFormula(text, *OTHER)

    def _filled(self, sketch: Sketch) -> str | None:
        """Return the sketch with its factors if it then reproduces every sample."""
        if len(sketch.parts) == 1:
            return self._scaled(sketch.parts[0])
        factors = self._factors(sketch.parts)
        if factors is None:
            return None
        pairs = zip(factors, sketch.parts, strict=True)
        return self._if_right(" + ".join(f"({factor.times(part)})" for factor, part in pairs))

    def _scaled(self, expression: str) -> str | None:
        """Return the expression times the factor with which it reproduces every sample."""
        ratios: list[float | None] = []
        for sample in self._samples:
            value = value_at(self._stage, expression, sample)
            if value is None or value.shape != sample.got.shape:
                return None
            ratio = _ratio(value, sample.got)
            if not _is_multiple(value, sample.got, ratio or 0.0):
                return None
            ratios.append(ratio)
        factors = self._all_factors
        finds = (factors.find, factors.find_limit, factors.find_sum)
        for factor in (find(ratios) for find in finds):
            right = self._if_right(factor.times(expression)) if factor else None
            if right:
                return right
        return None

    def _factors(self, parts: Sequence[str]) -> list[Factor] | None:
        """Return a factor for each part with which their sum reproduces every sample."""
        rows: list[tuple[Tensor, Tensor]] = []
        columns: list[list[float | None]] = []
        for sample in self._samples:
            values = [value_at(self._stage, part, sample) for part in parts]
            fits = [each for each in values if each is not None and each.shape == sample.got.shape]
            if len(fits) < len(parts):
                return None
            row = torch.stack([each.flatten() for each in fits], 1), sample.got.flatten()
            if self._stage.is_scalar:
                rows.append(row)
                if len(rows) == FIRST and _together(rows, len(parts)) is None:
                    return None
                continue
            found = _coefficients(*row, len(parts))
            if found is None:
                return None
            columns.append(_with_all_digits(found, *row))
        if rows:
            # Two factors need more than one number; there are no sizes that they could depend on.
            found = _together(rows, len(parts))
            if found is None:
                return None
            columns = [found] * len(self._samples)
        factors = [self._all_factors.find(column) for column in zip(*columns, strict=True)]
        known = [factor for factor in factors if factor is not None]
        return known if len(known) == len(parts) else None

    def _if_right(self, text: str) -> str | None:
        tidy = re.sub(r"^-1 \* ", "-", ast.unparse(ast.parse(text, mode="eval")))
        return tidy if reproduces(self._stage, tidy, self._samples, 3 * EXACT) else None


def _without_doubles(sketches: Sequence[Sketch]) -> Iterator[Sketch]:
    """Yield the sketches, but of those that differ only in brackets the first."""
    seen: set[str] = set()
    for sketch in sketches:
        text = " + ".join(ast.unparse(ast.parse(part, mode="eval")) for part in sketch.parts)
        if text not in seen:
            seen.add(text)
            yield sketch


def _ratio(value: Tensor, got: Tensor) -> float | None:
    """Return the factor between two tensors that are multiples of each other, read at one entry."""
    at = int(value.abs().argmax())
    largest = float(value.flatten()[at])
    return float(got.flatten()[at]) / largest if largest else None


def _is_multiple(value: Tensor, got: Tensor, factor: float) -> bool:
    """Return whether a tensor is that multiple of another, up to rounding."""
    room = NEAR * float(got.abs().max())
    return bool(((got - factor * value).abs() <= room).all())


def _together(rows: Sequence[tuple[Tensor, Tensor]], count: int) -> list[float | None] | None:
    """Return the factors that are the same in several samples."""
    columns, got = zip(*rows, strict=True)
    return _coefficients(torch.cat(columns), torch.cat(got), count)


def _coefficients(row: Tensor, got: Tensor, count: int) -> list[float | None] | None:
    """Return the factors with which columns add up to the wanted values, or None if none do.

    A factor is None if there are too few values to determine it.
    """
    finite = bool(torch.isfinite(row).all()) and bool(torch.isfinite(got).all())
    if len(row) <= count or not finite:
        return [None] * count
    sizes = row.norm(dim=0)
    if not bool(sizes.all()) or float(torch.linalg.svdvals(row / sizes)[-1]) < 1e-4:
        return [None] * count
    units = row / sizes
    solution = torch.linalg.lstsq(units, got[:, None]).solution[:, 0]
    if float((units @ solution - got).abs().max()) > NEAR * float(got.abs().max()):
        return None
    return [*(solution / sizes).tolist()]


def _with_all_digits(
    factors: Sequence[float | None], row: Tensor, got: Tensor
) -> list[float | None]:
    """Return the factors, with None for those whose digits are lost in the rounding of the sum."""
    least = LEAST_PART * float(got.norm())
    sizes = zip(factors, row.norm(dim=0).tolist(), strict=True)
    return [each if each and abs(each) * size >= least else None for each, size in sizes]
