"""Which formula gives what a backward returned: known ones first, then a search; else silence."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from harness.formulas.cuts import cut_formulas
from harness.formulas.factors import Factor, Factors
from harness.formulas.known import ELSEWHERE, Known, known_formulas
from harness.formulas.point import Point, points_for
from harness.formulas.samples import EXACT, SINGLE, Sample, reproduces, value_at
from harness.formulas.search import Sketch, peelings, sketches, triples
from harness.formulas.table import Array
from harness.stage import Stage

# How many of the simplest finds are tried at every sample.
TRIES = 24
OTHER = ("another-formula", ELSEWHERE)
FACTOR = (
    "off-by-a-factor",
    "All is right but for a factor. Where does yours come from: a power, an average, a step size?",
)
CUT = (
    "cut-off",
    "Your result is cut off somewhere. Does the slope of this stage jump, or stop, at a number?",
)


@dataclass(frozen=True)
class Found:
    """A formula that reproduces every sample.

    ``with_it`` and ``forward`` are what its mistake does to other gradients and to the output.
    """

    expression: str
    mistake: str
    hint: str
    with_it: tuple[tuple[str, str], ...] = ()
    forward: str | None = None


def formulas_for(stage: Stage, name: str, samples: Sequence[Sample]) -> Iterator[Found]:
    """Formulas that give what backward returned for input ``name`` at every sample.

    The likeliest and simplest come first; there are none where the true gradient is one.
    """
    if reproduces(stage, stage.gradients[name], samples, SINGLE):
        return
    yield from _Search(stage, name, samples).run()


def found_of(known: Known) -> Found:
    """A known formula, found."""
    return Found(known.expression, known.mistake, known.hint, known.with_it, known.forward)


class _Search:
    """The search for the formula of one gradient in given samples."""

    def __init__(self, stage: Stage, name: str, samples: Sequence[Sample]) -> None:
        self._stage, self._name, self._samples = stage, name, samples
        self._points = points_for(stage, samples)

    def run(self) -> Iterator[Found]:
        point, wanted = self._points[0]
        if not np.isfinite(wanted).all() or not wanted.any():
            yield from self._one_by_one()
            return
        yield from self._known(point, wanted)
        for expression in cut_formulas(self._stage, self._name, self._samples):
            yield Found(expression, *CUT)
        if wanted.size == 1 and not self._stage.is_scalar:
            return
        yield from self._other(sketches(point, self._stage.gradients[self._name], wanted))
        for place, values in self._points:
            yield from self._other(peelings(place, values))
        yield from self._other(triples(point, self._stage.gradients[self._name], wanted))

    @cached_property
    def _all_factors(self) -> Factors:
        return Factors(self._stage, self._name, self._samples)

    def _one_by_one(self) -> Iterator[Found]:
        """Of values that cannot be compared up to a factor: zeros, and what is not finite."""
        for known in known_formulas(self._stage, self._name):
            if reproduces(self._stage, known.expression, self._samples):
                yield found_of(known)
        zeros = f"zeros_like({self._name})"
        if reproduces(self._stage, zeros, self._samples):
            yield Found(zeros, "zero", ELSEWHERE)

    def _known(self, point: Point, wanted: Array) -> Iterator[Found]:
        """Known formulas as they are, then with a factor; the true gradient with a factor."""
        for known in known_formulas(self._stage, self._name):
            # Few, and all that many a submission with a forward of its own needs.
            if known.forward and reproduces(self._stage, known.expression, self._samples):
                yield found_of(known)
        candidates = point.near(self._name, wanted)
        for known in candidates:
            if reproduces(self._stage, known.expression, self._samples):
                yield found_of(known)
        if wanted.size == 1 and not self._stage.is_scalar:
            yield from self._single(wanted)
            return
        true = Known(self._stage.gradients[self._name], *FACTOR)
        for known in (true, *candidates[:TRIES]):
            scaled = self._scaled(known.expression)
            if scaled:
                yield Found(scaled, known.mistake, known.hint)

    def _single(self, wanted: Array) -> Iterator[Found]:
        """Of one number, which any expression gives up to a factor: a factor by itself."""
        one = f"ones({tuple(wanted.shape)})"
        ratios = [_ratio(torch.ones(()), sample.got.reshape(-1)[:1]) for sample in self._samples]
        factor = self._all_factors.find(ratios)
        if factor:
            bare = Factor("", factor.below).times(factor.above or "1")
            for text in (bare, factor.times(one)):
                right = self._if_right(text)
                if right:
                    yield Found(right, *OTHER)

    def _other(self, found: Sequence[Sketch]) -> Iterator[Found]:
        for sketch in found[:TRIES]:
            text = self._filled(sketch)
            if text:
                yield Found(text, *OTHER)

    def _filled(self, sketch: Sketch) -> str | None:
        """The sketch with its factors, where it then reproduces every sample."""
        if len(sketch.parts) == 1:
            return self._scaled(sketch.parts[0])
        factors = self._factors(sketch.parts)
        if factors is None:
            return None
        pairs = zip(factors, sketch.parts, strict=True)
        return self._if_right(" + ".join(f"({factor.times(part)})" for factor, part in pairs))

    def _scaled(self, expression: str) -> str | None:
        """The expression times the factor with which it reproduces every sample."""
        ratios: list[float | None] = []
        for sample in self._samples:
            value = value_at(self._stage, expression, sample)
            if value is None or value.shape != sample.got.shape:
                return None
            ratios.append(_ratio(value, sample.got))
        factor = self._all_factors.find(ratios)
        return self._if_right(factor.times(expression)) if factor else None

    def _factors(self, parts: Sequence[str]) -> list[Factor] | None:
        """For each part, the factor with which their sum reproduces every sample."""
        rows: list[tuple[Tensor, Tensor]] = []
        for sample in self._samples:
            values = [value_at(self._stage, part, sample) for part in parts]
            fits = [each for each in values if each is not None and each.shape == sample.got.shape]
            if len(fits) < len(parts):
                return None
            rows.append((torch.stack([each.flatten() for each in fits], 1), sample.got.flatten()))
        if self._stage.is_scalar:
            # One number does not tell two factors apart, and there are no sizes to depend on.
            together = torch.cat([row for row, _ in rows]), torch.cat([got for _, got in rows])
            rows = [together] * len(rows)
        columns = zip(*(_coefficients(*row, len(parts)) for row in rows), strict=True)
        factors = [self._all_factors.find(column) for column in columns]
        found = [factor for factor in factors if factor is not None]
        return found if len(found) == len(parts) else None

    def _if_right(self, text: str) -> str | None:
        tidy = re.sub(r"^-1 \* ", "-", ast.unparse(ast.parse(text, mode="eval")))
        return tidy if reproduces(self._stage, tidy, self._samples, 3 * EXACT) else None


def _ratio(value: Tensor, got: Tensor) -> float | None:
    """How many times as large one tensor is as another that is a multiple of it."""
    at = int(value.abs().argmax())
    largest = float(value.flatten()[at])
    return float(got.flatten()[at]) / largest if largest else None


def _coefficients(row: Tensor, got: Tensor, count: int) -> list[float | None]:
    """The factors of columns that add up to what is wanted; None where too little is known."""
    finite = bool(torch.isfinite(row).all()) and bool(torch.isfinite(got).all())
    if len(row) <= count or not finite:
        return [None] * count
    sizes = row.norm(dim=0)
    if not bool(sizes.all()) or float(torch.linalg.svdvals(row / sizes)[-1]) < 1e-4:
        return [None] * count
    solution = torch.linalg.lstsq(row / sizes, got[:, None]).solution[:, 0]
    return [*(solution / sizes).tolist()]
