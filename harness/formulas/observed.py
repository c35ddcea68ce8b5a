"""What can be said about a wrong gradient without knowing its formula.

Where it is right, and how far off it is elsewhere; only what every sample shows.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise, permutations
from typing import Any

import torch
from torch import Tensor

from harness.course.numbers import number
from harness.course.stage import Stage
from harness.formulas.samples import Sample
from harness.language import tr

# The tolerance for an entry, relative to its size and, in part, to the largest.
NEAR = 1e-6
# The tolerance for a factor that is the same for all entries.
ONE_FACTOR = 1e-6
# The first and the last line along an axis.
_ROWS = tr("first row"), tr("last row")
_COLUMNS = tr("first column"), tr("last column")


@dataclass(frozen=True, eq=False)
class Seen:
    """A sample and the right gradient, which has the same shape."""

    stage: Stage
    sample: Sample
    right: Tensor

    @cached_property
    def wrong(self) -> Tensor:
        """Which entries are wrong."""
        room = NEAR * (self.right.abs() + 0.1 * self.right.abs().max())
        off = (self.sample.got - self.right).abs()
        return ~(off <= room)

    @cached_property
    def scope(self) -> dict[str, Any]:
        """The values of inputs, outputs, upstreams and dimensions by name."""
        sample = self.sample
        return self.stage.scope(sample.inputs, sample.upstream, sample.outputs)

    @cached_property
    def values(self) -> dict[str, Tensor]:
        """The inputs, the output and the upstream that have the gradient's shape, by name."""
        names = (*self.stage.quantities, *self.stage.upstreams)
        known = {name: self.scope[name] for name in names}
        return {
            name: value
            for name, value in known.items()
            if isinstance(value, Tensor) and value.shape == self.right.shape
        }

    @cached_property
    def factor(self) -> float | None:
        """The factor to the right gradient, or None if it is not a multiple of it."""
        right, got = self.right.flatten(), self.sample.got.flatten()
        at = int(right.abs().argmax())
        factor = float(got[at]) / float(right[at]) if right[at] else math.nan
        if not math.isfinite(factor) or not factor:
            return None
        off = (got - factor * right).abs()
        room = ONE_FACTOR * abs(factor) * (right.abs() + 0.1 * right.abs().max())
        return factor if bool((off <= room).all()) else None


def observed(stage: Stage, name: str, samples: Sequence[Sample]) -> str:
    """Return a sentence about what came back for input ``name``, or an empty text."""
    at = stage.position(name)
    seen: list[Seen] = []
    for sample in samples:
        right = stage.true_gradients(sample.inputs, sample.upstream)[at]
        if right is None or sample.got.shape != right.shape or not right.numel():
            return ""
        seen.append(Seen(stage, sample, right))
    if not any(bool(each.wrong.any()) for each in seen):
        return ""
    for look in (_where_not_finite, _by_row, _by_size, _by_value, _by_factor, _by_digits):
        for sentence in look(seen):
            return sentence
    return ""


def _where_not_finite(seen: Sequence[Seen]) -> Iterator[str]:
    """Say where it is infinite or not a number: below 0 in one quantity, or of two."""
    odd = torch.cat([~torch.isfinite(each.sample.got.flatten()) for each in seen])
    if not bool(odd.any()) or bool(odd.all()):
        return
    names = [name for name in seen[0].values if all(name in each.values for each in seen)]
    for one, other in (*((name, "") for name in names), *permutations(names, 2)):
        differences = (each.values[one] - each.values.get(other, 0.0) for each in seen)
        if bool((torch.cat([each.flatten() for each in differences]) < 0).eq(odd).all()):
            below = f"{one} − {other}" if other else one
            yield tr("It is not a finite number just where {below} < 0.").format(below=below)


def _by_size(seen: Sequence[Seen]) -> Iterator[str]:
    """Say that it is right where a dimension has size 1, and wrong where it is larger."""
    # Where the gradient is 0, a wrong one can be right as well.
    seen = [each for each in seen if bool(each.wrong.any()) or bool(each.right.any())]
    wrong = [bool(each.wrong.any()) for each in seen]
    single = {name: [size > 1 for size in sizes] for name, sizes in _sizes(seen).items()}
    names = [name for name, larger in single.items() if larger == wrong]
    if names and not all(wrong):
        # Which of several matters is not known, as they were never 1 one by one.
        text = tr("It is right where {names} = 1, and wrong everywhere else.")
        if len(names) > 1:
            text = tr(
                "It is right where {names} = 1, and wrong in all other cases that were tried."
            )
        yield text.format(names=" = ".join(names))


def _by_row(seen: Sequence[Seen]) -> Iterator[str]:
    """Say that it is right in one row or column only, or everywhere else."""
    wide = [each for each in seen if each.right.dim() == 2 and min(each.right.shape) > 2]
    if len(wide) < 2:
        return
    for axis, kinds in ((1, _ROWS), (0, _COLUMNS)):
        lines = [each.wrong.any(axis) for each in wide]
        for place, line_of in zip((0, -1), kinds, strict=True):
            others = [torch.cat([line[:place], line[place:][1:]]) for line in lines]
            one = [bool(line[place]) for line in lines]
            if not any(one) and all(bool(rest.all()) for rest in others):
                yield tr("Its {line} is right, and all others are wrong.").format(line=line_of)
            if all(one) and not any(bool(rest.any()) for rest in others):
                yield tr("Its {line} is wrong, and all others are right.").format(line=line_of)


def _by_value(seen: Sequence[Seen]) -> Iterator[str]:
    """Say that it is wrong just where a value has one sign, or is large."""
    for other in seen[0].values:
        values = torch.cat([each.values[other].flatten() for each in seen if other in each.values])
        wrong = torch.cat([each.wrong.flatten() for each in seen if other in each.values])
        if not bool(wrong.any()) or bool(wrong.all()):
            continue
        for sign, there in (("<", values < 0), (">", values > 0)):
            if bool((wrong == there).all()):
                text = tr("It is wrong just where {other} {sign} 0.")
                yield text.format(other=other, sign=sign)
        sizes = values.abs()
        if float(sizes[~wrong].max()) < float(sizes[wrong].min()):
            text = tr("It is right where {other} is small, and wrong where |{other}| is large.")
            yield text.format(other=other)
        if float(sizes[wrong].max()) < float(sizes[~wrong].min()):
            text = tr("It is right where |{other}| is large, and wrong where {other} is small.")
            yield text.format(other=other)


def _by_factor(seen: Sequence[Seen]) -> Iterator[str]:
    """Say that it is a multiple of the right gradient, and which, or what that depends on."""
    wide = [each for each in seen if each.right.numel() > 1]
    signed = [each.factor for each in wide if each.factor is not None]
    if len(signed) < max(4, len(wide)):
        return
    if all(math.isclose(each, signed[0], rel_tol=1e-6) for each in signed):
        yield tr("It is the right gradient times {factor}.").format(factor=number(signed[0]))
    factors = list(map(abs, signed))
    growing = [name for name, sizes in _sizes(wide).items() if _grows(sizes, factors)]
    if len(growing) == 1:
        text = tr("It is the right gradient times a factor that grows with {size}.")
        yield text.format(size=growing[0])
    yield tr("It is a multiple of the right gradient, each time another one.")


def _grows(sizes: Sequence[int], factors: Sequence[float]) -> bool:
    """Return whether the factor depends on a size alone and grows with it."""
    if len({*sizes}) < 3:
        return False
    return all(
        math.isclose(one, other, rel_tol=1e-6) if size == more else one < other
        for (size, one), (more, other) in pairwise(sorted(zip(sizes, factors, strict=True)))
    )


def _by_digits(seen: Sequence[Seen]) -> Iterator[str]:
    """Say that it is nearly right everywhere."""
    worst = 0.0
    for each in seen:
        off = (each.sample.got - each.right).abs() / each.right.abs().max()
        # NaN if it is far off, or if the right gradient is 0.
        worst = max(worst, float(off.nan_to_num(1.0).max()))
    if 0 < worst < 1e-2:
        digits = int(-math.log10(worst))
        text = tr("It agrees with the right gradient to about {digits} digits, and not further.")
        yield text.format(digits=digits)


def _sizes(seen: Sequence[Seen]) -> dict[str, list[int]]:
    """Return the sizes, in all samples, of each dimension that has one in all of them."""
    scopes = [each.scope for each in seen]
    known = (x for x in seen[0].stage.dimensions if all(x in scope for scope in scopes))
    return {name: [scope[name] for scope in scopes] for name in known}
