"""Formulas with a limit that has to be found: clipped at a number, or zero beyond one."""

import math
import re
from collections.abc import Iterator, Sequence
from itertools import combinations

import torch
from torch import Tensor

from harness.course.stage import Stage
from harness.formulas.samples import EXACT, Sample, reproduces, value_at
from harness.probes.cases import largest

# How many entries must show a limit, or what is true of two quantities, before it is named.
LEAST = 3
LEAST_FOR_PAIRS = 20


def cut_formulas(stage: Stage, name: str, samples: Sequence[Sample]) -> Iterator[str]:
    """Yield formulas with a limit that give what was returned for input ``name`` in all samples."""
    true = stage.gradients.get(name)
    if not true:
        return
    for text in (*_clipped(stage, true, samples), *_inside_clipped(stage, true, samples)):
        if reproduces(stage, text, samples, 3 * EXACT):
            yield text


def _clipped(stage: Stage, true: str, samples: Sequence[Sample]) -> Iterator[str]:
    """Yield the true gradient, or its upstream, kept between two numbers."""
    if limit := _limit([sample.got for sample in samples]):
        yield f"({true}).clamp(-{limit}, {limit})"
        yield f"{limit} * tanh({true})"
    signs = re.sub(r"\bg\b", "sign(g)", true)
    steepest = max(samples, key=lambda sample: largest(sample.upstream))
    value = value_at(stage, signs, steepest)
    factors = [] if value is None or value.shape != steepest.got.shape else [steepest.got / value]
    if limit := _limit(factors):
        yield re.sub(r"\bg\b", f"g.clamp(-{limit}, {limit})", true)
    yield f"tanh({true})"


def _limit(values: Sequence[Tensor]) -> str:
    """Return the largest absolute value as text if several values have it, else an empty text."""
    sizes = torch.cat([value.abs().flatten() for value in (*values, torch.zeros(0))])
    sizes = sizes[torch.isfinite(sizes)]
    if not len(sizes):
        return ""
    most = float(sizes.max())
    several = int((sizes >= most * (1 - EXACT)).sum()) >= LEAST
    return f"{most:.10g}" if several and most else ""


def _inside_clipped(stage: Stage, true: str, samples: Sequence[Sample]) -> Iterator[str]:
    """Yield the true gradient with one of its quantities kept between two numbers."""
    right: list[Tensor] = []
    for sample in samples:
        value = value_at(stage, true, sample)
        if value is None or value.shape != sample.got.shape:
            return
        off = (value - sample.got).abs()
        right.append(off.flatten() <= EXACT * (value.abs().flatten() + 1e-3 * value.abs().max()))
    same = torch.cat(right)
    if not LEAST <= int(same.sum()) <= len(same) - LEAST:
        return
    for text in _ways_to_write(stage, true):
        for name in stage.quantities:
            values = _together(stage, name, samples)
            if re.search(rf"\b{name}\b", text) and values is not None and len(values) == len(same):
                limits = _limits_between(values[same], values[~same])
                if limits:
                    yield re.sub(rf"\b{name}\b", f"{name}.clamp({limits})", text)


def _ways_to_write(stage: Stage, true: str) -> Iterator[str]:
    """Yield the true gradient with the output by name, and as a function of the input."""
    yield true
    function = getattr(stage.forward, "__name__", "")
    if (
        len(stage.inputs) == len(stage.outputs) == 1
        and getattr(torch, function, None) is stage.forward
    ):
        yield re.sub(rf"\b{stage.output}\b", f"{function}({next(iter(stage.inputs))})", true)


def _limits_between(inside: Tensor, outside: Tensor) -> str:
    """Return the arguments of a clamp that changes all values outside and none inside, if any."""
    low, high = float(inside.min()), float(inside.max())
    below, above = outside[outside < low], outside[outside > high]
    if len(below) + len(above) < len(outside):
        return ""
    least = plain_number_between(float(below.max()), low) if len(below) else None
    most = plain_number_between(high, float(above.min())) if len(above) else None
    if (len(below) and least is None) or (len(above) and most is None):
        return ""
    given = (("min", least), ("max", most))
    return ", ".join(f"{side}={limit:g}" for side, limit in given if limit is not None)


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
                if low < high:
                    limit = plain_number_between(low, high)
                    if limit is not None:
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
