"""Cases with special values: zeros, ones, and values that are equal or opposite."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import combinations, product

import torch
from torch import Tensor

from harness.course.stage import Sizes, Stage
from harness.probes.cases import Case, cached, case_of, coin, generator_for, upstream_for
from harness.probes.kinks import slopes_at

# The inputs by name, and the upstream, "g".
Values = dict[str, Tensor]
# Makes special values for some of the inputs.
Make = Callable[[Values, torch.Generator], Values]
# Up to this many single numbers, every combination of 0 and 1 is tried; of more, a random one.
EVERY_COMBINATION = 3


@cached
def special_cases(stage: Stage, seed: int, sizes: Sizes) -> tuple[Case, ...]:
    """Return the special cases of a stage, the plainest kinds first.

    Tensors are special in all of their entries, and again in some of them only: a formula that
    returns 0 wherever it meets a 0 must not pass.
    """
    generator = generator_for(seed, stage.name, "special")
    kinds = list(_kinds(stage, _ordinary(stage, generator, sizes)))
    made: list[Case] = []
    for (kind, make), whole in product(kinds, (True, False)):
        ordinary = _ordinary(stage, generator, sizes)
        values = make(ordinary, generator)
        if not whole:
            values = _in_part(ordinary, values, generator)
        if values:
            *inputs, upstream = {**ordinary, **values}.values()
            case = case_of(stage, seed, sizes, len(made), tuple(inputs), (upstream,))
            moves = generator_for(seed, stage.name, "kinks", len(made))
            slopes = slopes_at(stage, case.inputs, upstream, moves)
            made.append(replace(case, kind=kind, slopes=slopes))
    return tuple(made)


def _ordinary(stage: Stage, generator: torch.Generator, sizes: Sizes) -> Values:
    inputs = stage.sample(generator, sizes)
    shape = stage.forward(*inputs).shape
    upstream = upstream_for(generator, shape, negative=coin(generator))
    return {**dict(zip(stage.inputs, inputs, strict=True)), "g": upstream}


def _kinds(stage: Stage, ordinary: Values) -> Iterator[tuple[str, Make]]:
    """Yield every kind of special value, in words, and how to make it.

    gradcheck already asks about g = 0.
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
    kind, names = "all inputs are 0 or 1", tuple(stage.inputs)
    if not stage.is_scalar or len(names) > EVERY_COMBINATION:
        yield kind, partial(_bits, names=names)
        return
    for bits in product((0.0, 1.0), repeat=len(names)):
        if sum(bits) > 1:
            yield kind, partial(_filled, numbers=dict(zip(names, bits, strict=True)))


def _filled(values: Values, generator: torch.Generator, *, numbers: dict[str, float]) -> Values:
    return {name: torch.full_like(values[name], number) for name, number in numbers.items()}


def _bits(values: Values, generator: torch.Generator, *, names: tuple[str, ...]) -> Values:
    return {
        name: torch.randint(2, values[name].shape, generator=generator).double() for name in names
    }


def _equal(
    values: Values, generator: torch.Generator, *, names: tuple[str, ...], sign: int = 1
) -> Values:
    """Return inputs that are equal entry by entry; of different shapes, all entries are."""
    first, last = names[0], names[-1]
    if first != last and values[first].shape == values[last].shape:
        return {last: sign * values[first]}
    number = float(values[first].flatten()[0])
    return _filled(values, generator, numbers={first: number, last: sign * number})


def _in_part(ordinary: Values, values: Values, generator: torch.Generator) -> Values:
    """Return the special values in some entries only, the same entries for equal shapes.

    Return nothing where there is no choice.
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
    """Return a mask of some entries: two or more, and not all of more than two."""
    count = shape.numel()
    order = torch.randperm(count, generator=generator)
    return (order < max(min(2, count - 1), count // 2)).reshape(shape)
