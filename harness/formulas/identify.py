"""Find the formula that gives what a backward returned: known ones first, then a search."""

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache
from itertools import chain, islice, takewhile

import numpy as np
import torch
from torch import Tensor

from harness.cases.cases import largest
from harness.course.stage import Stage
from harness.expressions.rows import broadcasts
from harness.expressions.steps import Array, undone
from harness.formulas.cuts import conditions, cut_formulas
from harness.formulas.factors import Factor, Factors, factors_for
from harness.formulas.gains import with_gains
from harness.formulas.known import NamedFormula, hint_for, known_formulas
from harness.formulas.pairs import interwoven, pairs_for
from harness.formulas.point import Place, Point, points_for
from harness.formulas.same import same_as_true
from harness.formulas.samples import (
    EXACT,
    SINGLE,
    Sample,
    is_number,
    reproduces,
    same_values,
    value_at,
)
from harness.formulas.search import Sketch, peelings, sketches, sums_of_terms, unmasked
from harness.formulas.simple import length, simplest
from harness.formulas.upstream import is_blind, uses_upstream, without_upstream
from harness.mistakes import general_hint

# How many of the simplest finds are tried at every sample, and how many of the less likely ones.
TRIES, FEWER = 30, 12
# What is longer is not made simpler: too much of it would have to go.
LONGEST = 110
# How many samples of single numbers are compared before all are.
FIRST = 9
# How far a value may be off, relative to the largest, and still count as equal.
NEAR = 1e-6
# Rounding of a sum takes too many digits from the factor of a part that is smaller than this.
LEAST_PART = 1e-6
OTHER = ("another-formula", hint_for(""))
ADDED = ("something-added", hint_for("added"))
# What is said first where the upstream is nowhere in a formula.
MISSING = "upstream-missing"
FACTOR = ("off-by-a-factor", hint_for("all but a factor"))
DIVISOR = (FACTOR[0], hint_for("all but a divisor"))
ANOTHER_FACTOR = (FACTOR[0], hint_for("a factor, too"))
CUT = ("cut-off", hint_for("cut off"))
ANOTHER_LIMIT = ("another-constant", hint_for("another constant"))


def formulas_for(stage: Stage, name: str, samples: Sequence[Sample]) -> Iterator[NamedFormula]:
    """Yield formulas that give what backward returned for input ``name`` in every sample.

    The likeliest and simplest come first; there are none if the true gradient is one.
    """
    right = list(takewhile(lambda sample: _is_true(stage, name, sample), samples))
    if len(right) == len(samples):
        return
    if not stage.is_scalar:
        # Begin where the values are wrong: elsewhere the true gradient fits as well.
        samples = [*samples[len(right) :], *right]
    places = tuple((sample.inputs, sample.upstream) for sample in samples)
    search = _Search(stage, completed(stage, name, places), name, samples)
    found = (
        each for each in chain(search.blind(), search.run()) if len(each.expression) <= LONGEST
    )
    for formula in islice(found, TRIES):
        yield search.told(formula)


# The cache compares stages and tensors by identity; cases are made once.
@lru_cache(maxsize=64)
def completed(stage: Stage, name: str, places: tuple[Place, ...]) -> Stage:
    """Return the stage with the true gradient of an input as a formula, if one can be found.

    If it is not declared, it is searched for as a wrong one would be.
    """
    if name in stage.gradients:
        return stage
    at, samples = stage.position(name), list[Sample]()
    for inputs, upstream in places:
        if (right := stage.true_gradients(inputs, upstream)[at]) is not None:
            samples.append(Sample(inputs, stage.run(inputs), upstream, right))
    for found in islice(_Search(stage, stage, name, samples).small(FEWER), 1 if samples else 0):
        if same_as_true(stage, name, found.expression):
            return replace(stage, gradients={**stage.gradients, name: found.expression})
    return stage


def _is_true(stage: Stage, name: str, sample: Sample) -> bool:
    right = stage.true_gradients(sample.inputs, sample.upstream)[stage.position(name)]
    return right is not None and same_values(right.double(), sample.got, SINGLE)


class _Search:
    """The search for the formula of one gradient, from samples of it.

    ``whole`` is the stage with that gradient, if it is known.
    """

    def __init__(self, stage: Stage, whole: Stage, name: str, samples: Sequence[Sample]) -> None:
        self._stage, self._whole, self._name, self._samples = stage, whole, name, samples
        self._at = stage.position(name)
        self._true = whole.gradients.get(name, "")
        self._points = points_for(stage, samples)

    def run(self) -> Iterator[NamedFormula]:
        point, wanted = self._points[0]
        if not np.isfinite(wanted).all() or not wanted.any():
            yield from self._one_by_one()
            return
        yield from self._known(point, wanted)
        for expression in cut_formulas(self._whole, self._name, self._samples):
            yield NamedFormula(expression, *CUT)
        for expression in with_gains(self._stage, point, wanted):
            if found := self._scaled(expression):
                yield NamedFormula(found[0], "another-slope", hint_for("another slope"))
        yield from self._masked(point, wanted)
        for expression in self._turned(point, wanted):
            yield NamedFormula(expression, *OTHER)
        if wanted.size > 1 or self._stage.is_scalar:
            yield from self.small()
            yield from self._other([*sums_of_terms(point, self._true, wanted)], FEWER)

    def blind(self) -> Iterator[NamedFormula]:
        """Yield formulas without an upstream, if what came back is the same for every upstream.

        That it is missing is said first; the rest is read as if the upstream were 1.
        """
        stage, name = self._stage, self._name
        if not stage.has_upstream or not is_blind(self._samples):
            return
        for known in known_formulas(self._whole, name):
            bare = known.taught and not uses_upstream(stage, known.expression)
            if bare and self._fits(known.expression):
                yield known
        hint = general_hint(MISSING)
        for found in _Search(stage, without_upstream(self._whole), name, self._samples).run():
            if not uses_upstream(stage, found.expression):
                also = ((found.mistake, found.hint), *found.also)
                yield replace(found, mistake=MISSING, hint=hint, also=also)

    def told(self, formula: NamedFormula) -> NamedFormula:
        """Return a formula in its simplest form, which may tell that less is wrong with it."""
        text, also = self.shortest(formula.expression), formula.also
        told = replace(formula, expression=text)
        if also[1:] and text in self._stage.quantities:
            # It has hardly been made by three slips.
            return replace(told, also=(OTHER,))
        wrong, right = (re.sub(r"-?[\d.]+", "0", each) for each in (text, self._true))
        if formula.mistake == CUT[0] and wrong == right:
            return NamedFormula(text, *ANOTHER_LIMIT)
        return told

    def shortest(self, expression: str) -> str:
        """Return the shortest expression with the values of one that gives what came back."""
        if expression == "None":
            return expression

        def has_same_values(text: str) -> bool:
            same = reproduces(self._stage, text, self._samples, 3 * EXACT)
            return same and is_number(self._stage, text, self._samples[0])

        best = simplest(self._stage, expression, has_same_values)
        point, wanted = self._points[0]
        for known in point.near(self._whole, self._name, wanted):
            text = known.expression
            if length(self._stage, text)[0] < length(self._stage, best)[0] and self._fits(text):
                best = simplest(self._stage, text, has_same_values)
        return best

    def small(self, most: int = TRIES) -> Iterator[NamedFormula]:
        """Yield formulas of a few expressions, or of a matrix product, that nothing is known of."""
        point, wanted = self._points[0]
        yield from self._other(sketches(point, self._true, wanted), most)
        seen = set[str]()
        for place, values in self._points:
            yield from self._other(peelings(place, values, seen), FEWER)

    @cached_property
    def _all_factors(self) -> Factors:
        return factors_for(self._stage, self._name, self._samples)

    def _one_by_one(self) -> Iterator[NamedFormula]:
        """Yield formulas for values that have no multiples: zeros, and what is not finite."""
        for known in known_formulas(self._whole, self._name):
            if self._fits(known.expression):
                yield known
        zeros = f"zeros_like({self._name})"
        if self._fits(zeros):
            yield NamedFormula(zeros, "zero", OTHER[1])

    def _known(self, point: Point, wanted: Array) -> Iterator[NamedFormula]:
        """Yield known formulas as they are, then with a factor, the true gradient first."""
        for known in known_formulas(self._whole, self._name):
            # They are few, and often all that a submission with another forward needs.
            if known.forward and self._fits(known.expression):
                yield known
        candidates = point.near(self._whole, self._name, wanted)
        yield from self._exact(candidates)
        if wanted.size == 1 and not self._stage.is_scalar:
            yield from self._single(wanted)
            return
        pairs = pairs_for(point, self._whole, self._name, wanted)
        yield from (each for each in pairs if self._fits(each.expression))
        woven = point.near(self._whole, self._name, wanted, interwoven)
        yield from (each for each in woven if self._fits(each.expression))
        yield from self._divided()
        true = [NamedFormula(self._true, *FACTOR)] if self._true else []
        for known in (*true, *candidates[:TRIES]):
            if found := self._scaled(known.expression):
                scaled, factor = found
                named = [] if known in true else [(known.mistake, known.hint)]
                (mistake, hint), *also = self._slips(factor, *named) or [FACTOR]
                yield replace(
                    known, expression=scaled, mistake=mistake, hint=hint, also=tuple(also)
                )

    def _divided(self) -> Iterator[NamedFormula]:
        """Yield the true gradient with another size, or what is made of sizes, below it."""
        sizes = {*self._stage.dimensions}
        *_, bare, size = ["", *re.split(r" / (\w+)$", self._true)[:2]]
        if size in sizes and (found := self._scaled(bare)):
            whole, factor = found
            names = {*re.findall(r"[^\W\d]\w*", factor.below)}
            is_number = factor.above or re.match(r"\(?\d", factor.below)
            if names and names <= sizes and not is_number:
                yield NamedFormula(whole, *DIVISOR)

    def _exact(self, candidates: Sequence[NamedFormula]) -> Iterator[NamedFormula]:
        """Yield those that reproduce every sample.

        Where swapped returns have the values of a wrong sign, both are asked about.
        """
        right = (known for known in candidates if self._fits(known.expression))
        for known in right:
            others = self._whole.gradients
            swapped = any(known.expression == others.get(name) for name, _ in known.with_it)
            if swapped and known.forward is None and self._fits(f"-({self._true})"):
                signs = (each for each in candidates if each.is_alone and each.taught)
                sign = next((each for each in signs if self._fits(each.expression)), None)
                if sign:
                    known = replace(known, instead=(sign.mistake, sign.hint))
            yield known

    def _fits(self, expression: str) -> bool:
        return reproduces(self._stage, expression, self._samples)

    def _slips(self, factor: Factor, *before: tuple[str, str]) -> list[tuple[str, str]]:
        """Return names and hints of mistakes, and of what makes a factor: a sign, a number."""
        text = f"{factor.above} {factor.below}".strip()
        slips = [*before, *([("sign-added", hint_for("sign"))] if re.match(r"\(?-", text) else [])]
        names = {*re.findall(r"\w+", text)}
        if {"norm", "sqrt"} & names:
            slips.append(("normalised", hint_for("normalised")))
        elif names & {*self._stage.quantities, *self._stage.upstreams}:
            slips.append(("times-a-quantity", hint_for("times")))
        elif text not in ("", "-1", "(-1)"):
            slips.append(ANOTHER_FACTOR if slips else FACTOR)
        return slips

    def _masked(self, point: Point, wanted: Array) -> Iterator[NamedFormula]:
        """Yield formulas with some value where a condition holds, and zero elsewhere.

        Where it is zero elsewhere by itself, no condition is needed.
        """
        if not (tests := [*conditions(self._stage, self._name, self._samples)]):
            return
        simple = filter(None, (self._true, *self._stage.upstreams))
        bodies = dict.fromkeys((*simple, *unmasked(point, self._true, wanted)))
        for body in islice(bodies, FEWER):
            ratios = self._ratios(f"({body}) * ones_like({self._name})", where_not_zero=True)
            factor = self._all_factors.find(ratios) if ratios else None
            if factor is None:
                continue
            if whole := self._if_right(factor.times(body)):
                yield NamedFormula(whole, *OTHER)
                continue
            for test in tests:
                if right := self._if_right(f"({factor.times(body)}) * ({test})"):
                    yield NamedFormula(right, *CUT)

    def _turned(self, point: Point, wanted: Array) -> Iterator[str]:
        """Yield the true gradient, or a known formula, rearranged or inside another function."""
        is_matrix = wanted.ndim == 2 and not self._stage.is_scalar
        for pattern, inner in undone(*(["turned"] if is_matrix else []), "wholes", of=wanted):
            known = [each.expression for each in point.near(self._whole, self._name, inner)]
            for expression in filter(None, (self._true, *known)):
                if right := self._if_right(pattern.format(expression, self._name)):
                    yield right

    def _single(self, wanted: Array) -> Iterator[NamedFormula]:
        """Yield a factor by itself: for a single number, any expression matches up to a factor."""
        ratios = [_ratio(torch.ones(()), sample.got.reshape(-1)[:1]) for sample in self._samples]
        if factor := self._all_factors.find(ratios):
            bare = Factor("", factor.below).times(factor.above or "1")
            for text in (bare, factor.times(f"ones({tuple(wanted.shape)})")):
                if right := self._if_right(text):
                    yield NamedFormula(right, *OTHER)

    def _other(self, found: Sequence[Sketch], most: int = TRIES) -> Iterator[NamedFormula]:
        """Yield formulas for sketches: after the first one that fits, only shorter ones do better.

        The shortest comes first.
        """
        fits: list[NamedFormula] = []
        later: list[Sketch] = []
        for sketch in islice(_without_doubles(found), most):
            text = sketch.outer.format(" + ".join(sketch.parts))
            if fits and len(text) >= len(fits[0].expression):
                later.append(sketch)
            elif formula := self._filled(sketch):
                fits.append(formula)
        yield from sorted(fits, key=lambda each: length(self._stage, each.expression))
        yield from filter(None, map(self._filled, later))

    def _filled(self, sketch: Sketch) -> NamedFormula | None:
        """Return the sketch with its factors if it then reproduces every sample."""
        if len(sketch.parts) == 1:
            part = self._in_shape(sketch.parts[0])
            # A cost's upstream is a factor that no axis shows.
            costs = [g for g, value in self._points[0][0].upstreams.items() if not value.ndim]
            whole = [part, *(f"{g} * ({part})" for g in costs)] if part else []
            text = next((each[0] for each in map(self._scaled, whole) if each), None)
            return NamedFormula(text, *OTHER) if text else None
        factors = self._factors([sketch.outer.format(part) for part in sketch.parts])
        if factors is None:
            return None
        pairs = zip(factors, sketch.parts, strict=True)
        parts = " + ".join(f"({factor.times(part)})" for factor, part in pairs)
        text = self._if_right(sketch.outer.format(parts))
        if not text or sketch.parts[0] != self._true:
            return NamedFormula(text, *OTHER) if text else None
        _, *also = self._slips(factors[0], ADDED)
        return NamedFormula(text, *ADDED, also=tuple(also))

    def _row(self, sample: Sample, parts: Sequence[str]) -> tuple[Tensor, Tensor] | None:
        """Return the values of parts as columns, and what came back; None if one does not fit."""
        columns: list[Tensor] = []
        for part in parts:
            value = value_at(self._stage, part, sample)
            if value is None or not broadcasts(tuple(value.shape), tuple(sample.got.shape)):
                return None
            columns.append(value.expand(sample.got.shape).flatten())
        return torch.stack(columns, 1), sample.got.flatten()

    def _in_shape(self, part: str) -> str | None:
        """Return an expression so that it has the shape of what came back."""
        sample = self._samples[0]
        value, place = value_at(self._stage, part, sample), sample.inputs[self._at]
        if value is None or value.shape == sample.got.shape:
            return part
        fits = isinstance(place, Tensor) and place.shape == sample.got.shape
        return f"({part}).expand_as({self._name})" if fits else None

    def _ratios(
        self, expression: str, *, where_not_zero: bool = False
    ) -> list[float | None] | None:
        """Return the factors with which the expression has the values of each sample, if any.

        None stands for any factor. ``where_not_zero`` asks for nonzero values only.
        """
        ratios: list[float | None] = []
        for sample in self._samples:
            value, got = value_at(self._stage, expression, sample), sample.got
            if value is None or value.shape != got.shape:
                return None
            if where_not_zero:
                value, got = value[got != 0], got[got != 0]
            ratio = _ratio(value, got) if len(got.flatten()) else None
            if not bool(((got - (ratio or 0.0) * value).abs() <= NEAR * largest([got])).all()):
                return None
            ratios.append(ratio)
        return ratios

    def _scaled(self, expression: str) -> tuple[str, Factor] | None:
        """Return the expression times a factor so that it reproduces every sample, and that."""
        if (ratios := self._ratios(expression)) is None:
            return None
        factors = self._all_factors
        # A single number has no norm.
        limit = () if self._stage.is_scalar else (factors.find_limit,)
        finds = (factors.find, *limit, factors.find_sum)
        for factor in (find(ratios) for find in finds):
            right = self._if_right(factor.times(expression)) if factor else None
            if factor and right:
                return right, factor
        return None

    def _factors(self, parts: Sequence[str]) -> list[Factor] | None:
        """Return a factor for each part with which their sum reproduces every sample."""
        rows: list[tuple[Tensor, Tensor]] = []
        columns: list[list[float | None]] = []
        for sample in self._samples:
            if (row := self._row(sample, parts)) is None:
                return None
            if self._stage.is_scalar:
                rows.append(row)
                if len(rows) == FIRST and _together(rows, len(parts)) is None:
                    return None
                continue
            if (found := _coefficients(*row, len(parts))) is None:
                return None
            columns.append(_with_all_digits(found, *row))
        if rows:
            # Two factors need more than one number; there are no sizes that they could depend on.
            if (found := _together(rows, len(parts))) is None:
                return None
            columns = [found] * len(self._samples)
        factors = [self._all_factors.find(column) for column in zip(*columns, strict=True)]
        known = [factor for factor in factors if factor is not None]
        return known if len(known) == len(parts) else None

    def _if_right(self, text: str) -> str | None:
        tidy = re.sub(r"^-1 \* ", "-", ast.unparse(ast.parse(text, mode="eval")))
        tidy = tidy.replace(" + -", " - ")
        # In a product, conditions and whole numbers need not be converted.
        for one in dict.fromkeys((tidy.replace(".double()", ""), tidy)):
            if reproduces(self._stage, one, self._samples, 3 * EXACT):
                return one
        return None


def _without_doubles(sketches: Sequence[Sketch]) -> Iterator[Sketch]:
    """Yield the sketches, but of those that differ only in brackets the first."""
    seen: set[str] = set()
    for sketch in sketches:
        parts = (ast.unparse(ast.parse(part, mode="eval")) for part in sketch.parts)
        text = sketch.outer.format(" + ".join(parts))
        if text not in seen:
            seen.add(text)
            yield sketch


def _ratio(value: Tensor, got: Tensor) -> float | None:
    """Return the factor between two tensors that are multiples of each other, read at one entry."""
    at = int(value.abs().argmax())
    largest = float(value.flatten()[at])
    return float(got.flatten()[at]) / largest if largest else None


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
