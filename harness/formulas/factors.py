"""A factor that changes from sample to sample, as an expression of sizes or of what was given."""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from itertools import combinations, product

import numpy as np
import torch
from numpy.typing import NDArray

from harness.course.stage import Stage, Upstream, Values
from harness.expressions.data import data
from harness.expressions.steps import Array
from harness.expressions.variants import parts_of
from harness.formulas.samples import EXACT, Sample, is_right, value_at

POWERS = (-1.0, 1.0, -0.5, 0.5, -2.0, 2.0)
PAIRS = (*product((-1.0, 1.0), repeat=2), (-0.5, -0.5), (0.5, 0.5), (-1.0, -0.5), (-0.5, -1.0))
LARGEST_DENOMINATOR = 64
# What is added to a norm to avoid a division by zero.
GUARDS = (0.0, 1e-6, 1e-8)
# The tolerance for the factors in several samples: each comes from rounded values.
LOOSE = 1e-8


@dataclass(frozen=True)
class Factor:
    """A factor as text to multiply with and text to divide by; an empty text stands for 1."""

    above: str
    below: str = ""

    def times(self, expression: str) -> str:
        """Return the expression times the factor, with more brackets than it needs."""
        scaled = f"({self.above}) * ({expression})" if self.above else expression
        if self.above in ("-1", "(-1)"):
            scaled = f"-({expression})"
        return f"({scaled}) / ({self.below})" if self.below else scaled


@dataclass(frozen=True, eq=False)
class _Law:
    above: str
    below: str
    values: Array


class Factors:
    """The factors that can be recognised in samples of a stage, computed once for all uses."""

    def __init__(self, stage: Stage, name: str, samples: Sequence[Sample]) -> None:
        self._stage, self._name, self._samples = stage, name, samples
        # At first only numbers, which are all that single numbers can be multiplied with.
        ones = np.ones((1, len(samples)))
        self._made: list[tuple[list[_Law], Array]] = [([_Law("", "", ones[0])], ones)]
        kinds = (self._of_sizes, self._of_scalars, self._of_pairs)
        self._kinds = iter(() if stage.is_scalar else kinds)

    def find(self, ratios: Sequence[float | None]) -> Factor | None:
        """Return the simplest factor whose value in sample s is ``ratios[s]``, where known."""
        known = np.array([ratio is not None for ratio in ratios])
        values = np.array([ratio or 0.0 for ratio in ratios])
        if not known.any() or not np.isfinite(values).all():
            return None
        with np.errstate(all="ignore"):
            found = (_followed(*tier, values, known) for tier in self._tiers())
            return next(filter(None, found), None)

    def find_sum(self, ratios: Sequence[float | None]) -> Factor | None:
        """Return a factor that divides by a norm or a sum plus a number, or None."""
        if self._stage.is_scalar or any(not ratio for ratio in ratios):
            return None
        below = 1 / np.array(ratios, np.float64)
        for text, values in (*self._few, *self._scalars):
            spread = values - values.mean()
            if not np.abs(spread).max() > 1e-6 * np.abs(values).max():
                continue
            slope = float(spread @ below / (spread @ spread))
            number = float((below - slope * values).mean()) / slope if slope else 0.0
            off = np.abs(slope * (values + number) - below)
            if number and np.isfinite(number / slope) and (off <= LOOSE * np.abs(below)).all():
                return _with_constant(_Law("", f"({text} + {rounded(number)})", values), 1 / slope)
        return None

    def find_limit(self, ratios: Sequence[float | None]) -> Factor | None:
        """Return a factor that limits a norm to a number (1 if it is smaller already), or None."""
        if any(ratio is None or not 0 < ratio < 1 + LOOSE for ratio in ratios):
            return None
        values = np.array(ratios, np.float64)
        cut = values < 1 - LOOSE
        if not 2 <= cut.sum() < len(values):
            return None
        for (text, sizes), guard in product(self._norms, GUARDS):
            limits = (values * (sizes + guard))[cut]
            limit = float(limits.mean())
            if np.abs(limits - limit).max() <= LOOSE * limit and sizes[~cut].max() <= limit:
                above, below = constant_text(limit)
                size = f"{text} + {guard:g}" if guard else text
                number = f"{above or 1} / {below}" if below else above or "1"
                return Factor(f"({number} / ({size})).clamp(max=1)")
        return None

    def _tiers(self) -> Iterator[tuple[list[_Law], Array]]:
        """Yield laws that are tried together, the simplest first, and their values."""
        yield from self._made
        for kind in self._kinds:
            laws = [law for law in kind() if np.isfinite(law.values).all() and law.values.all()]
            values = np.array([law.values for law in laws]).reshape(len(laws), len(self._samples))
            self._made.append((laws, values))
            yield self._made[-1]

    def _of_sizes(self) -> Iterator[_Law]:
        """Yield a size, two sizes, sums of sizes."""
        known = self._sizes
        for (text, values), power in product(known, POWERS):
            yield _power(text, values, power)
        for (one, other), powers in product(combinations(known, 2), PAIRS):
            yield _both(_power(*one, powers[0]), _power(*other, powers[1]))
        names = [text for text, _ in known]
        sums = [*(f"{size} {more}" for size in names for more in ("+ 1", "- 1"))]
        sums += [f"{one} + {other}" for one, other in combinations(names, 2)]
        sums += [f"({size} - 1 + ({size} == 1))" for size in names]
        sums += [f"({size} / ({size} - 1))" for size in names]
        for (text, values), power in product(self._known(sums), POWERS[:4]):
            yield _power(text, values, power)

    def _of_scalars(self) -> Iterator[_Law]:
        """Yield a norm or a sum, by itself and with a size."""
        for (text, values), power in product((*self._few, *self._scalars), POWERS[:2]):
            law = _power(text, values, power)
            yield law
            yield from (_both(law, _power(*size, -1.0)) for size in self._sizes)

    def _of_pairs(self) -> Iterator[_Law]:
        """Yield two norms or sums, or one with a power."""
        for (text, values), power in product(self._few, POWERS[2:]):
            yield _power(text, values, power)
        for (one, other), powers in product(combinations(self._few, 2), PAIRS[:4]):
            yield _both(_power(*one, powers[0]), _power(*other, powers[1]))

    @cached_property
    def _sizes(self) -> list[tuple[str, Array]]:
        """The sizes of the inputs' axes as expressions, with their values."""
        texts = [*self._stage.dimensions]
        given = [name for name, each in self._stage.inputs.items() if each.is_given]
        tensors = [name for name, each in self._stage.inputs.items() if not each.is_given]
        for name in given:
            texts += [name, f"(1 - {name})", *(f"{one}.size({name})" for one in tensors)]
        if max((len(each.axes) for each in self._stage.inputs.values()), default=0) > 2 or given:
            texts += [f"{one}.numel()" for one in (*self._stage.upstreams, *tensors)]
        return self._known(texts)

    @cached_property
    def _few(self) -> list[tuple[str, Array]]:
        return self._known(
            pattern.format(name)
            for name in self._names
            for pattern in data("table")["numbers"]["few"]
        )

    @cached_property
    def _scalars(self) -> list[tuple[str, Array]]:
        names = (*self._stage.upstreams, *self._stage.quantities)
        products = (f"{one} * {other}" for one, other in combinations(names, 2))
        single = (
            pattern.format(name)
            for name in self._names
            for pattern in data("table")["numbers"]["more"]
        )
        return [*self._known([*single, *products]), *self._norms]

    @cached_property
    def _names(self) -> tuple[str, ...]:
        """What is reduced: names, and the parts of the true gradient."""
        true = self._stage.gradients.get(self._name, "")
        slope = re.sub(r"(?<!-)\bg \* | \* g\b", "", true)
        parts = (f"({part})" for part in parts_of(*filter(None, (true, slope))))
        names = (*self._stage.upstreams, *self._stage.quantities)
        return (*names, *dict.fromkeys(parts))

    @cached_property
    def _norms(self) -> list[tuple[str, Array]]:
        """The norms of one gradient and of several together."""
        names = [name for name in self._stage.required if name in self._stage.gradients]
        of = (
            *self._stage.upstreams,
            *([true] if (true := self._stage.gradients.get(self._name)) else ()),
        )
        texts = [f"({each}).norm()" for each in reversed(of)]
        for count in range(2, len(names) + 1):
            for some in combinations(names, count):
                sums = (f"(({self._stage.gradients[name]}) ** 2).sum()" for name in some)
                texts.append(f"sqrt({' + '.join(sums)})")
        return self._known(texts)

    def _known(self, texts: Iterable[str]) -> list[tuple[str, Array]]:
        """Return the expressions that are one nonzero number in every sample, with their values."""
        found: list[tuple[str, Array]] = []
        for text in texts:
            numbers: list[float] = []
            for sample in self._samples:
                value = value_at(self._stage, f"ones(()).double() * ({text})", sample)
                number = float(value) if value is not None and value.numel() == 1 else math.nan
                if not math.isfinite(number) or not number:
                    break
                numbers.append(number)
            else:
                found.append((text, np.array(numbers)))
        return found


def _followed(
    laws: Sequence[_Law], values: Array, ratios: Array, known: NDArray[np.bool_]
) -> Factor | None:
    """Return the first law that all known ratios follow with one constant, or None."""
    rest = ratios[known] / values[:, known]
    constants = rest.mean(1)
    off = np.abs(rest - constants[:, None]).max(1)
    fits = (off <= LOOSE * np.abs(constants)) & (constants != 0) & np.isfinite(constants)
    good = np.flatnonzero(fits)
    return _with_constant(laws[good[0]], float(constants[good[0]])) if len(good) else None


def factors_for(stage: Stage, name: str, samples: Sequence[Sample]) -> Factors:
    """Return the factors for some samples, which are shared if forward is right in all of them."""
    if all(is_right(stage, sample) for sample in samples):
        places = tuple((sample.inputs, sample.upstream) for sample in samples)
        return _reference_factors(stage, name, places)
    return Factors(stage, name, samples)


# The cache compares tensors by identity; cases are made once.
@lru_cache(maxsize=64)
def _reference_factors(
    stage: Stage, name: str, places: tuple[tuple[Values, Upstream], ...]
) -> Factors:
    nothing = torch.zeros(())
    samples = [Sample(given, stage.run(given), g, got=nothing) for given, g in places]
    return Factors(stage, name, samples)


def _power(text: str, values: Array, power: float) -> _Law:
    size = abs(power)
    raised = text if size == 1 else f"({text}) ** {size:g}"
    with np.errstate(all="ignore"):
        scaled = np.abs(values) ** size if size != 1 else values
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


def rounded(value: float) -> str:
    """Return a number as text with as few digits as it needs: 0.0009999999 is 0.001."""
    short = (f"{value:.{digits}g}" for digits in range(1, 6))
    near = (text for text in short if abs(float(text) - value) <= 1e-6 * abs(value))
    return next(near, f"{value:.11g}")


def constant_text(value: float) -> tuple[str, str]:
    """Return a number as numerator and denominator: 1 is ("", ""), 2/3 is ("2", "3").

    A number that is not a simple fraction keeps ten digits.
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
