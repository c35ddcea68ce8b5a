"""Cases with special values: zeros, ones, and values that are equal or opposite."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from itertools import combinations, product

import torch
from torch import Tensor

from harness.course.stage import Sizes, Stage
from harness.probes.cases import (
    Case,
    Frozen,
    coin,
    frozen,
    generator_for,
    special_case,
    upstream_for,
)

# The inputs by name, and the upstream, "g".
Values = dict[str, Tensor]
# Special values for some of the inputs.
Make = Callable[[Values, torch.Generator], Values]
# Of so many single numbers each way to be 0 or 1 is tried, of more a random one.
EVERY_WAY = 3


def special_cases(stage: Stage, seed: int, sizes: Sizes) -> tuple[Case, ...]:
    """The special cases of a stage, the plainest kinds first.

    Tensors are special in all of their entries, and again in some of them only: a formula that
    returns 0 wherever it meets a 0 must not pass.
    """
    return _special_cases(stage, seed, frozen(sizes))


@lru_cache(maxsize=256)
def _special_cases(stage: Stage, seed: int, sizes: Frozen) -> tuple[Case, ...]:
    generator = generator_for(seed, stage.name, "special")
    kinds = list(_kinds(stage, _ordinary(stage, generator, sizes)))
    made: list[Case] = []
    for (words, make), whole in product(kinds, (True, False)):
        ordinary = _ordinary(stage, generator, sizes)
        values = make(ordinary, generator)
        if not whole:
            values = _in_part(ordinary, values, generator)
        if values:
            *inputs, upstream = {**ordinary, **values}.values()
            facts = (stage, seed, dict(sizes), len(made), words)
            made.append(special_case(*facts, tuple(inputs), upstream))
    return tuple(made)


def _ordinary(stage: Stage, generator: torch.Generator, sizes: Frozen) -> Values:
    inputs = stage.sample(generator, dict(sizes))
    shape = stage.forward(*inputs).shape
    upstream = upstream_for(generator, shape, negative=coin(generator))
    return {**dict(zip(stage.inputs, inputs, strict=True)), "g": upstream}


def _kinds(stage: Stage, ordinary: Values) -> Iterator[tuple[str, Make]]:
    """Each kind of special value, in words, and how to make it.

    That g may be 0 is gradcheck's to ask.
    """
    for name in stage.inputs:
        yield f"{name} is 0", partial(_filled, numbers={name: 0.0})
        if ordinary[name].dim():
            yield f"{name} is 0 or 1", partial(_bits, names=(name,))
            yield f"entries of {name} are equal", partial(_equal, names=(name,))
        else:
            yield f"{name} is 1", partial(_filled, numbers={name: 1.0})
    for one, other in combinations(stage.inputs, 2):
        yield f"{one} equals {other}", partial(_equal, names=(one, other))
        yield f"{one} is −{other}", partial(_equal, names=(one, other), sign=-1)
    if len(stage.inputs) > 1:
        yield "all inputs are 0", partial(_filled, numbers=dict.fromkeys(stage.inputs, 0.0))
        yield from _zeros_and_ones(stage)


def _zeros_and_ones(stage: Stage) -> Iterator[tuple[str, Make]]:
    words, names = "all inputs are 0 or 1", tuple(stage.inputs)
    if not stage.is_scalar or len(names) > EVERY_WAY:
        yield words, partial(_bits, names=names)
        return
    for ways in product((0.0, 1.0), repeat=len(names)):
        if sum(ways) > 1:
            yield words, partial(_filled, numbers=dict(zip(names, ways, strict=True)))


def _filled(values: Values, generator: torch.Generator, *, numbers: dict[str, float]) -> Values:
    return {name: torch.full_like(values[name], number) for name, number in numbers.items()}


def _bits(values: Values, generator: torch.Generator, *, names: tuple[str, ...]) -> Values:
    return {
        name: torch.randint(2, values[name].shape, generator=generator).double() for name in names
    }


def _equal(
    values: Values, generator: torch.Generator, *, names: tuple[str, ...], sign: int = 1
) -> Values:
    """Inputs that are equal, entry by entry; where shapes differ, or of one, all entries are."""
    first, last = names[0], names[-1]
    if first != last and values[first].shape == values[last].shape:
        return {last: sign * values[first]}
    number = float(values[first].flatten()[0])
    return _filled(values, generator, numbers={first: number, last: sign * number})


def _in_part(ordinary: Values, values: Values, generator: torch.Generator) -> Values:
    """The special values in some entries only, the same ones of inputs that have the same shape.

    Empty where there is no choice.
    """
    if any(value.numel() < 2 for value in values.values()):
        return {}
    masks = {value.shape: value for value in values.values()}
    masks = {shape: _some(shape, generator) for shape in masks}
    return {
        name: torch.where(masks[value.shape], value, ordinary[name])
        for name, value in values.items()
    }


def _some(shape: torch.Size, generator: torch.Generator) -> Tensor:
    """Some of the entries: two or more, and not all of more than two."""
    count = shape.numel()
    order = torch.randperm(count, generator=generator)
    return (order < max(min(2, count - 1), count // 2)).reshape(shape)
