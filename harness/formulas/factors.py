"""A factor that changes from sample to sample, as an expression of sizes or of what was given."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations, product

import torch
from torch import Tensor

from harness.formulas.samples import EXACT, Sample, value_at
from harness.stage import Stage

POWERS = (-1.0, 1.0, -0.5, 0.5, -2.0, 2.0)
PAIRS = (*product((-1.0, 1.0), repeat=2), (-0.5, -0.5), (0.5, 0.5), (-1.0, -0.5), (-0.5, -1.0))
LARGEST_DENOMINATOR = 64
# Numbers that tensors are made into.
SCALARS: tuple[str, ...] = ("_", "_.norm()", "_.sum()", "_.mean()", "_.std()", "_.max()")
SCALARS += ("_.min()", "abs(_).sum()", "abs(_).mean()", "abs(_).max()", "(_ ** 2).mean()")
SCALARS += ("exp(_)", "sqrt(_)")
# How far the factors in several samples may lie apart: each is read from values with roundings.
LOOSE = 1e-8


@dataclass(frozen=True)
class Factor:
    """A factor as text to multiply with and text to divide by, either of them empty for 1."""

    above: str
    below: str = ""

    def times(self, expression: str) -> str:
        """The expression with the factor, with more brackets than it needs."""
        scaled = f"({self.above}) * ({expression})" if self.above else expression
        if self.above in ("-1", "(-1)"):
            scaled = f"-({expression})"
        return f"({scaled}) / ({self.below})" if self.below else scaled


class Factors:
    """The factors that can be told in some samples of a stage: what is worked out once for all."""

    def __init__(self, stage: Stage, name: str, samples: Sequence[Sample]) -> None:
        self._stage, self._name, self._samples = stage, name, samples
        self._made: list[_Law] = []
        self._more = self._laws()

    def find(self, ratios: Sequence[float | None]) -> Factor | None:
        """The simplest factor with the value ``ratios[s]`` in sample s, where that is known."""
        known = torch.tensor([ratio is not None for ratio in ratios])
        if not bool(known.any()):
            return None
        values = torch.tensor([ratio or 0.0 for ratio in ratios], dtype=torch.float64)[known]
        for law in self._all():
            rest = values / law.values[known]
            constant = float(rest.mean())
            if not constant or not math.isfinite(constant):
                continue
            if bool(((rest - constant).abs() <= LOOSE * abs(constant)).all()):
                return _with_constant(law, constant)
        return None

    def _all(self) -> Iterator[_Law]:
        yield from self._made
        for law in self._more:
            self._made.append(law)
            yield law

    def _laws(self) -> Iterator[_Law]:
        """The simplest first: nothing, a size, two sizes, a size and one more, a norm or a sum."""
        yield _Law("", "", torch.ones(len(self._samples), dtype=torch.float64))
        if self._stage.is_scalar:
            return
        names = tuple(self._sizes())
        known = self._known(names)
        for (text, values), power in product(known, POWERS):
            yield _power(text, values, power)
        for (one, other), powers in product(combinations(known, 2), PAIRS):
            yield _both(_power(*one, powers[0]), _power(*other, powers[1]))
        sums = [*(f"{size} {more}" for size in names for more in ("+ 1", "- 1"))]
        sums += [f"{one} + {other}" for one, other in combinations(names, 2)]
        for (text, values), power in product(self._known(sums), POWERS[:4]):
            yield _power(text, values, power)
        for (text, values), power in product(self._known(self._scalars()), POWERS[:2]):
            law = _power(text, values, power)
            yield law
            yield from (_both(law, _power(*size, -1.0)) for size in known)

    def _sizes(self) -> Iterator[str]:
        """The sizes as expressions, of the axes of the inputs."""
        seen: set[str] = set()
        for name, dimensions in self._stage.inputs.items():
            for axis, dimension in enumerate(dimensions.split()):
                if dimension not in seen:
                    seen.add(dimension)
                    yield dimension if dimension in ("N", "K") else f"{name}.shape[{axis}]"

    def _scalars(self) -> Iterator[str]:
        true = self._stage.gradients[self._name]
        names = ("g", *self._stage.inputs, self._stage.output)
        for name in (*names, f"({true})"):
            yield from (pattern.replace("_", name) for pattern in SCALARS)
        yield from (f"{one} * {other}" for one, other in combinations(names, 2))

    def _known(self, texts: Iterable[str]) -> list[tuple[str, Tensor]]:
        """The expressions that are one number, not 0, in every sample, with those numbers."""
        found: list[tuple[str, Tensor]] = []
        for text in texts:
            values = [
                value_at(self._stage, f"ones(()) * ({text})", sample) for sample in self._samples
            ]
            numbers = [float(each) for each in values if each is not None and each.numel() == 1]
            if len(numbers) == len(values) and all(map(math.isfinite, numbers)) and all(numbers):
                found.append((text, torch.tensor(numbers, dtype=torch.float64)))
        return found


@dataclass(frozen=True, eq=False)
class _Law:
    above: str
    below: str
    values: Tensor


def _power(text: str, values: Tensor, power: float) -> _Law:
    size = abs(power)
    raised = text if size == 1 else f"({text}) ** {size:g}"
    scaled = values.abs() ** size if size != 1 else values
    return _Law(raised, "", scaled) if power > 0 else _Law("", raised, 1 / scaled)


def _both(one: _Law, other: _Law) -> _Law:
    above = " * ".join(f"({text})" for text in (one.above, other.above) if text)
    below = " * ".join(f"({text})" for text in (one.below, other.below) if text)
    return _Law(above, below, one.values * other.values)


def _with_constant(law: _Law, constant: float) -> Factor:
    above, below = constant_text(constant)
    above = " * ".join(f"({text})" for text in (above, law.above) if text)
    below = " * ".join(f"({text})" for text in (below, law.below) if text)
    return Factor(above, below)


def constant_text(value: float) -> tuple[str, str]:
    """A number as text above and below a fraction's bar: 1 is ("", ""), 2/3 is ("2", "3").

    Ten digits are kept of a number that is no short fraction.
    """
    near = Fraction(value).limit_denominator(LARGEST_DENOMINATOR)
    if abs(float(near) - value) > EXACT * abs(value):
        short = f"{value:.4g}"
        exact = abs(float(short) - value) <= EXACT * abs(value)
        return (short if exact else f"{value:.11g}"), ""
    above, below = near.numerator, near.denominator
    if below in (10, 20, 50) or (below in (2, 4, 5, 8) and abs(above) != 1):
        return f"{float(near):g}", ""
    below_text = str(below) if below != 1 else ""
    if above == 1:
        return "", below_text
    return str(above), below_text
