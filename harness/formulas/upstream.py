"""Returns that are the same for every upstream, and a stage's formulas without it."""

import ast
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import torch
from torch import Tensor

from harness.course.stage import Stage
from harness.expressions.notation import depends_on
from harness.expressions.variants import with_upstreams
from harness.formulas.samples import Sample


def is_blind(samples: Sequence[Sample]) -> bool:
    """Return whether what came back, zeros aside, does not depend on the upstream."""
    by_inputs: dict[int, list[Tensor]] = {}
    for sample in samples:
        by_inputs.setdefault(id(sample.inputs), []).append(sample.got)
    several = [values for values in by_inputs.values() if len(values) > 1]
    if not any(bool(values[0].any()) for values in several):
        return False
    return all(
        each.shape == values[0].shape and torch.equal(each, values[0])
        for values in several
        for each in values[1:]
    )


# The cache compares stages by identity.
@lru_cache(maxsize=64)
def without_upstream(stage: Stage) -> Stage:
    """Return the stage with gradients, and mistakes in them, in which each upstream is 1."""
    mistakes = (
        replace(
            mistake,
            gradients={name: _without(stage, text) for name, text in mistake.gradients.items()},
        )
        for mistake in stage.mistakes
    )
    gradients = {name: _without(stage, text) for name, text in stage.gradients.items()}
    return replace(stage, gradients=gradients, mistakes=tuple(mistakes))


def _without(stage: Stage, expression: str) -> str:
    return next(with_upstreams(stage, expression, ["ones_like(g)"]))


def uses_upstream(stage: Stage, expression: str) -> bool:
    """Return whether an expression depends on more of an upstream than its shape."""
    whole = next(with_upstreams(stage, expression, ["g"]))
    return depends_on(ast.parse(whole, mode="eval").body, stage.upstreams)
