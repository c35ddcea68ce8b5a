"""Formulas with a limit that has to be found: clipped at a number, or zero beyond one."""

import math
import re
from collections.abc import Iterator, Sequence
from itertools import combinations

import torch
from torch import Tensor

from harness.cases.cases import largest
from harness.course.stage import Stage
from harness.formulas.samples import EXACT, Sample, reproduces, value_at

# How many entries must show a limit, or what is true of two quantities, before it is named.
LEAST = 3
LEAST_FOR_PAIRS = 20


def cut_formulas(stage: Stage, name: str, samples: Sequence[Sample]) -> Iterator[str]:
    """Yield the true gradient of input ``name``, or its upstream, kept between two numbers.

    It gives what was returned in all samples.
    """
    if not (true := stage.gradients.get(name)):
        return
    texts: list[str] = []
    if limit := _limit([sample.got for sample in samples]):
        texts = [f"({true}).clamp(-{limit}, {limit})", f"{limit} * tanh({true})"]
    signs = re.sub(r"\bg\b", "sign(g)", true)
    steepest = max(samples, key=lambda sample: largest(sample.upstream))
    seen = samples if stage.is_scalar else [steepest]
    pairs = [(value_at(stage, signs, sample), sample.got) for sample in seen]
    factors = [got / x for x, got in pairs if x is not None and x.shape == got.shape]
    if limit := _limit(factors):
        texts.append(re.sub(r"\bg\b", f"g.clamp(-{limit}, {limit})", true))
    yield from (text for text in texts if reproduces(stage, text, samples, 3 * EXACT))


def _limit(values: Sequence[Tensor]) -> str:
    """Return the largest absolute value as text if several values have it, else an empty text."""
    sizes = torch.cat([value.abs().flatten() for value in (*values, torch.zeros(0))])
    sizes = sizes[torch.isfinite(sizes)]
    if not len(sizes):
        return ""
    most = float(sizes.max())
    several = int((sizes >= most * (1 - EXACT)).sum()) >= LEAST
    return f"{most:.10g}" if several and most else ""


def conditions(stage: Stage, name: str, samples: Sequence[Sample]) -> Iterator[str]:
    """Yield conditions that may hold where what was returned for input ``name`` is not zero.

    They are about the place of an entry, or about which side of a number a quantity is on.
    """
    kept = torch.cat([sample.got.flatten() != 0 for sample in samples])
    if LEAST <= int(kept.sum()) <= len(kept) - LEAST:
        yield from _places(stage, name)
        yield from _sides(stage, samples, kept)


def _places(stage: Stage, name: str) -> Iterator[str]:
    dimensions = stage.inputs[name].axes
    for axis, dimension in enumerate(dimensions):
        size = dimension if dimension in stage.dimensions else f"{name}.shape[{axis}]"
        index = f"arange({size})" + "[:, None]" * (axis + 1 < len(dimensions))
        for test in ("== 0", f"== {size} - 1", "> 0", f"< {size} - 1"):
            yield f"{index} {test}"


def _sides(stage: Stage, samples: Sequence[Sample], kept: Tensor) -> Iterator[str]:
    names = (*stage.quantities, *stage.upstreams)
    pairs = [f"{one} {sign} {two}" for one, two in combinations(names, 2) for sign in "*-+"]
    # With few numbers, too many combinations of two quantities fit.
    several = LEAST_FOR_PAIRS <= int(kept.sum()) <= len(kept) - LEAST_FOR_PAIRS
    for name in (*names, *(pairs if several and not stage.is_scalar else ())):
        together = _together(stage, name, samples)
        if together is None or together.shape != kept.shape:
            continue
        for text, of in ((f"abs({name})", together.abs()), (name, together)):
            for sign, inside, outside in (("<", kept, ~kept), (">", ~kept, kept)):
                low, high = float(of[inside].max()), float(of[outside].min())
                if low < high and (limit := plain_number_between(low, high)) is not None:
                    yield f"{text} {sign} {limit:g}"


def _together(stage: Stage, expression: str, samples: Sequence[Sample]) -> Tensor | None:
    """Return the values of an expression in all samples, joined, or None if it fails in one."""
    found = [value_at(stage, expression, sample) for sample in samples]
    values = [value.flatten() for value in found if value is not None]
    return torch.cat(values) if len(values) == len(found) else None


def plain_number_between(low: float, high: float) -> float | None:
    """Return the number between two others that has the fewest digits, or None if several have."""
    if low < 0 < high:
        return 0.0
    for digits in range(-2, 3):
        unit = 10.0**-digits
        first, last = math.ceil(low / unit), math.floor(high / unit)
        if first == last and low <= first * unit <= high:
            return first * unit
        if first < last:
            return None
    return None
