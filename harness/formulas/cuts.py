"""Formulas with a limit in them: clipped at a number, or zero beyond one, which is to be found."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from harness.formulas.samples import EXACT, Sample, reproduces, value_at
from harness.stage import Stage

# A limit is only named where enough entries have it.
LEAST = 3


def cut_formulas(stage: Stage, name: str, samples: Sequence[Sample]) -> Iterator[str]:
    """Formulas with one limit that give what was returned for input ``name`` in every sample."""
    true = stage.gradients[name]
    for text in (*_clipped(stage, true, samples), *_masked(stage, true, samples)):
        if reproduces(stage, text, samples, 3 * EXACT):
            yield text


def _clipped(stage: Stage, true: str, samples: Sequence[Sample]) -> Iterator[str]:
    """The true gradient, or what goes into it, kept between two numbers."""
    largest = _limit([sample.got for sample in samples])
    if largest:
        yield f"({true}).clamp(-{largest}, {largest})"
        yield f"{largest} * tanh({true})"
    signs = re.sub(r"\bg\b", "sign(g)", true)
    steepest = max(samples, key=lambda sample: float(sample.upstream.abs().max()))
    value = value_at(stage, signs, steepest)
    if value is not None and value.shape == steepest.got.shape:
        limit = _limit([steepest.got / value])
        if limit:
            yield re.sub(r"\bg\b", f"g.clamp(-{limit}, {limit})", true)
    yield f"tanh({true})"


def _limit(values: Sequence[Tensor]) -> str:
    """The largest size in the values as text, where several have it; empty elsewhere."""
    sizes = torch.cat([value.abs().flatten() for value in values])
    sizes = sizes[torch.isfinite(sizes)]
    if not len(sizes):
        return ""
    largest = float(sizes.max())
    several = int((sizes >= largest * (1 - EXACT)).sum()) >= LEAST
    return f"{largest:.10g}" if several and largest else ""


def _masked(stage: Stage, true: str, samples: Sequence[Sample]) -> Iterator[str]:
    """The true gradient or the upstream, with a factor, where some value is on one side of a
    number, and zero on the other."""
    for whole in dict.fromkeys((true, "g")):
        values = [value_at(stage, whole, sample) for sample in samples]
        pairs = [
            (sample.got.flatten(), value.flatten())
            for sample, value in zip(samples, values, strict=True)
            if value is not None and value.shape == sample.got.shape
        ]
        if len(pairs) < len(samples):
            continue
        got, value = (torch.cat([*column]) for column in zip(*pairs, strict=True))
        kept = got != 0
        ratios = got[kept] / value[kept]
        if not LEAST <= int(kept.sum()) <= len(got) - LEAST or bool(
            ((ratios - ratios[0]).abs() > EXACT * ratios[0].abs()).any()
        ):
            continue
        factor = float(ratios[0])
        scaled = whole if math.isclose(factor, 1, rel_tol=EXACT) else f"{factor:.10g} * ({whole})"
        for condition in _conditions(stage, samples, kept):
            yield f"({scaled}) * ({condition})"


def _conditions(stage: Stage, samples: Sequence[Sample], kept: Tensor) -> Iterator[str]:
    for name in (*stage.inputs, stage.output, "g"):
        found = [value_at(stage, name, sample) for sample in samples]
        values = [value.flatten() for value in found if value is not None]
        together = torch.cat(values)
        if together.shape != kept.shape:
            continue
        for text, of in ((f"abs({name})", together.abs()), (name, together)):
            for sign, inside, outside in (("<", kept, ~kept), (">", ~kept, kept)):
                low, high = float(of[inside].max()), float(of[outside].min())
                if low < high:
                    limit = plain_number_between(low, high)
                    if limit is not None:
                        yield f"{text} {sign} {limit:g}"


def plain_number_between(low: float, high: float) -> float | None:
    """The one number between two others that has the fewest digits; None where several have."""
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
