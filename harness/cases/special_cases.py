"""Cases with special values: zeros, ones, and values that are equal or opposite."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import combinations, islice, product

import torch
from torch import Tensor

from harness.cases.cases import Case, alone, cached, case_of, coin, generator_for, upstream_for
from harness.cases.kinks import REFUSALS, slopes_at
from harness.course.inputs import Real, Sizes, is_real_tensor
from harness.course.stage import Stage, Values
from harness.language import tr

# The real inputs by name; ``xs[0]`` is the first of several.
Named = dict[str, Tensor]
# Makes special values for some of them.
Make = Callable[[Named, torch.Generator], Named]
# Up to this many single numbers, every combination of 0 and 1 is tried; of more, a random one.
EVERY_COMBINATION = 3
# Of more inputs than this, those of one shape are paired; of more pairs, the first are tried.
EVERY_PAIR, MOST_PAIRS = 3, 10


@cached
def special_cases(stage: Stage, seed: int, sizes: Sizes) -> tuple[Case, ...]:
    """Return the special cases of a stage, the plainest kinds first.

    Tensors are special in all of their entries, and again in some of them only: a formula that
    returns 0 wherever it meets a 0 must not pass.
    """
    generator = generator_for(seed, stage.name, "special")
    kinds = list(_kinds(stage, _tensors(stage, stage.sample(generator, sizes))))
    made: list[Case] = []
    for (kind, make), whole in product(kinds, (True, False)):
        inputs = stage.sample(generator, sizes)
        whole_upstream = upstream_for(generator, stage.run(inputs), negative=coin(generator))
        # Parts of several outputs take turns.
        parts = (whole_upstream, *alone(whole_upstream))
        upstream = parts[len(made) % len(parts)]
        ordinary = _tensors(stage, inputs)
        values = make(ordinary, generator)
        if not whole:
            values = _in_part(ordinary, values, generator)
        if values and _are_allowed(stage, values):
            changed = _with(stage, inputs, values)
            # Some references refuse a value, as an inverse refuses a matrix of zeros.
            with suppress(*REFUSALS):
                case = case_of(stage, seed, sizes, len(made), changed, (upstream,))
                moves = generator_for(seed, stage.name, "kinks", len(made))
                slopes = slopes_at(stage, case.inputs, upstream, moves)
                made.append(replace(case, kind=kind, slopes=slopes))
    return tuple(made)


def _labels(stage: Stage, inputs: Values) -> list[str]:
    names = stage.names_of(inputs)
    several = {name for name, each in stage.inputs.items() if each.several}
    return [
        f"{name}[{place - stage.position(name)}]" if name in several else name
        for place, name in enumerate(names)
    ]


def _tensors(stage: Stage, inputs: Values) -> Named:
    pairs = zip(_labels(stage, inputs), inputs, strict=True)
    return {label: value for label, value in pairs if isinstance(value, Tensor)}


def _with(stage: Stage, inputs: Values, values: Named) -> Values:
    return tuple(
        values.get(label, value)
        for label, value in zip(_labels(stage, inputs), inputs, strict=True)
    )


def _are_allowed(stage: Stage, values: Named) -> bool:
    """Return whether values lie in the domains of their inputs."""
    kinds = {label: stage.inputs[label.partition("[")[0]].kind for label in values}
    return all(
        kind.allows(values[label]) for label, kind in kinds.items() if isinstance(kind, Real)
    )


def _kinds(stage: Stage, ordinary: Named) -> Iterator[tuple[str, Make]]:
    """Yield every kind of special value, in words, and how to make it.

    gradcheck already asks about g = 0.
    """
    real = [name for name, value in ordinary.items() if is_real_tensor(value)]
    for name in real:
        yield tr("{name} is 0").format(name=name), partial(_filled, numbers={name: 0.0})
        if ordinary[name].dim():
            yield tr("{name} is 0 or 1").format(name=name), partial(_bits, names=(name,))
            yield (
                tr("entries of {name} are equal").format(name=name),
                partial(_equal, names=(name,)),
            )
        else:
            yield tr("{name} is 1").format(name=name), partial(_filled, numbers={name: 1.0})
        # Where a domain ends at 0, what is right may need to keep away from it.
        if _are_allowed(stage, {name: torch.tensor([-1e-3, 1e-3])}):
            yield tr("{name} is near 0").format(name=name), partial(_small, name=name)
    pairs = (
        (one, other)
        for one, other in combinations(real, 2)
        if len(real) <= EVERY_PAIR or ordinary[one].shape == ordinary[other].shape
    )
    for one, other in islice(pairs, MOST_PAIRS):
        yield (
            tr("{one} equals {other}").format(one=one, other=other),
            partial(_equal, names=(one, other)),
        )
        yield (
            tr("{one} is −{other}").format(one=one, other=other),
            partial(_equal, names=(one, other), sign=-1),
        )
    for name in (each for each in ordinary if each not in real):
        for end in (0, -1):
            same = partial(_same, name=name, end=end)
            yield tr("all entries of {name} are the same").format(name=name), same
    if len(real) > 1:
        yield tr("all inputs are 0"), partial(_filled, numbers=dict.fromkeys(real, 0.0))
        yield from _zeros_and_ones(stage, tuple(real))


def _zeros_and_ones(stage: Stage, names: tuple[str, ...]) -> Iterator[tuple[str, Make]]:
    kind = tr("all inputs are 0 or 1")
    if not stage.is_scalar or len(names) > EVERY_COMBINATION:
        yield kind, partial(_bits, names=names)
        return
    for bits in product((0.0, 1.0), repeat=len(names)):
        if sum(bits) > 1:
            yield kind, partial(_filled, numbers=dict(zip(names, bits, strict=True)))


def _filled(values: Named, generator: torch.Generator, *, numbers: dict[str, float]) -> Named:
    return {name: torch.full_like(values[name], number) for name, number in numbers.items()}


def _bits(values: Named, generator: torch.Generator, *, names: tuple[str, ...]) -> Named:
    return {
        name: torch.randint(2, values[name].shape, generator=generator).double() for name in names
    }


def _equal(
    values: Named, generator: torch.Generator, *, names: tuple[str, ...], sign: int = 1
) -> Named:
    """Return inputs that are equal entry by entry; of different shapes, all entries are."""
    first, last = names[0], names[-1]
    if first != last and values[first].shape == values[last].shape:
        return {last: sign * values[first]}
    # With few enough digits that the mean of equal values is exactly that value.
    number = round(float(values[first].flatten()[0]) * 2**20) / 2**20
    return _filled(values, generator, numbers={first: number, last: sign * number})


def _small(values: Named, generator: torch.Generator, *, name: str) -> Named:
    """Return numbers of both signs from 2e-6 to 1e-3, where a threshold is not quite 0."""
    size = torch.rand(values[name].shape, generator=generator, dtype=torch.float64)
    return {
        name: 10 ** (-5.7 + 2.7 * size) * (2 * _bits(values, generator, names=(name,))[name] - 1)
    }


def _same(values: Named, generator: torch.Generator, *, name: str, end: int) -> Named:
    """Return whole numbers, or a mask, that are all like the least, or the greatest, of them."""
    ordered = values[name].flatten().sort().values
    return {name: torch.full_like(values[name], ordered[end].item())}


def _in_part(ordinary: Named, values: Named, generator: torch.Generator) -> Named:
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
