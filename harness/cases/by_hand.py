"""Cases to compute by hand: the smallest sizes first, with small whole numbers and halves."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from math import inf

import torch
from torch import Tensor

from harness.candidate.operations import Value
from harness.cases.cases import PUBLIC_SEED, Case, case_of, generator_for
from harness.cases.kinks import is_near_kink
from harness.course.inputs import Input, Mask, Real, Sizes, Whole, size_of, spread, spread_far
from harness.course.sizes import small_sizes
from harness.course.stage import Stage, Upstream, Values

# The index of the first case.
BY_HAND = 601
# The numbers that entries take, in turn; far ones are for slopes that are right near 0.
NUMBERS, FAR, UPSTREAMS = (1, 2, -1, 0.5, 3, -2, 0), (5, -5, 10, -10), (1, 2, -1, 3, -2, 0.5)
NEAR_TURNS, TURNS = 6, 8
# The domains that are told from what outputs have been.
RANGES = ((0.0, 1.0), (-1.0, 1.0), (0.0, inf))

# The least and the largest number that an input can be, by its name, where that is known.
Domains = tuple[tuple[str, float, float], ...]


def domains_in(stages: Sequence[Stage], stage: Stage) -> Domains:
    """Return what the inputs of a stage can be that are called as an output of one of several.

    ``a_prev`` is an activation, as ``a`` is.
    """
    outputs = {_base(name): (each, at) for each in stages for at, name in enumerate(each.outputs)}
    found = ((name, outputs.get(_base(name))) for name in stage.inputs)
    return tuple((name, *_range(*each)) for name, each in found if each and not each[0].recorded)


def _base(name: str) -> str:
    return name.partition("_")[0].rstrip("0123456789")


@lru_cache(maxsize=256)
def _range(stage: Stage, output: int) -> tuple[float, float]:
    generator = generator_for(PUBLIC_SEED, stage.name, "range")
    drawn = [stage.sample(generator, stage.sizes[0], at) for at in range(3)]
    values = torch.cat([stage.run(each)[output].flatten() for each in drawn])
    fit = (each for each in RANGES if bool(((values >= each[0]) & (values <= each[1])).all()))
    return next(fit, (-inf, inf))


@lru_cache(maxsize=512)
def cases_by_hand(stage: Stage, domains: Domains, at: int) -> tuple[Case, ...]:
    """Return the cases of the size number ``at``, the plainest first; none if there is no such."""
    several = [] if stage.recorded else small_sizes(stage)
    found: list[Case] = []
    for turn in range(TURNS) if at < len(several) else ():
        # An instructor's forward may refuse small sizes in a way of its own.
        with suppress(Exception):
            inputs = _inputs(stage, several[at], {x[0]: x[1:] for x in domains}, turn)
            upstream = _upstream(stage, inputs, turn)
            case = case_of(stage, PUBLIC_SEED, several[at], BY_HAND + turn, inputs, (upstream,))
            finite = (each.isfinite().all() for each in case.gradients[0] if each is not None)
            moves = generator_for(PUBLIC_SEED, stage.name, "by hand")
            if all(finite) and not is_near_kink(stage, inputs, upstream, moves):
                found.append(case)
    return tuple(found)


def _inputs(
    stage: Stage, sizes: Sizes, domains: dict[str, tuple[float, float]], turn: int
) -> Values:
    values: list[Value] = []
    real = sum(each.kind.is_real for each in stage.inputs.values())
    for place, (name, each) in enumerate(stage.inputs.items()):
        first = turn + 2 * place - (real == 1)
        if each.is_given:
            values.append(sizes[name])
        elif each.optional and not sizes.get(f"{name}?", True):
            values.append(None)
        else:
            for more in range(sizes.get(f"{name}*", 1)):
                low, high = domains.get(name, (-inf, inf))
                values.append(_value(each, sizes, first + more, turn >= NEAR_TURNS, low, high))
    return tuple(values)


def _value(of: Input, sizes: Sizes, first: int, far: bool, low: float, high: float) -> Tensor:
    shape, kind = of.shape(sizes), of.kind
    count = torch.Size(shape).numel()
    places = range(first, first + count)
    match kind:
        case Whole(upto=upto):
            return torch.tensor([at % size_of(upto, sizes) for at in places]).reshape(shape)
        case Mask():
            return torch.tensor([at % 3 != 1 for at in places]).reshape(shape)
        case Real(on_simplex=True):
            halves = 0.5 ** torch.arange(1, shape[-1] + 1, dtype=torch.float64)
            halves[-1] = 2 * halves[-1]
            return halves.roll(first).expand(shape).clone()
        case Real(sampler=sampler) if sampler in (spread, spread_far):
            turns = (1, 0) if kind.role == "target" else FAR if far else NUMBERS
            known = dict.fromkeys((*turns, *NUMBERS))
            every = [x for x in known if kind.allows(torch.tensor(float(x)))]
            inside = [x for x in every if low <= x <= high] or every
            # Of those far out, none may lie inside.
            fit = [x for x in inside if x in turns] or inside
            # What is an activation is neither nothing nor all.
            fit.sort(key=lambda x: x != 0.5 if (low, high) == RANGES[0] else 0)
            if fit:
                flat = torch.tensor([float(fit[at % len(fit)]) for at in places])
                return flat.double().reshape(shape)
    drawn = kind.draw(generator_for(PUBLIC_SEED, of.name, first), shape, sizes, 0)
    rounded = (2 * drawn).round() / 2
    return rounded if isinstance(kind, Real) and kind.allows(rounded) else drawn


def _upstream(stage: Stage, inputs: Values, turn: int) -> Upstream:
    return tuple(
        torch.tensor(
            [float(UPSTREAMS[(turn + at) % len(UPSTREAMS)]) for at in range(each.numel())],
            dtype=torch.float64,
        ).reshape(each.shape)
        if each.is_floating_point() and stage.has_upstream
        else torch.ones_like(each)
        if each.is_floating_point()
        else None
        for each in stage.run(inputs)
    )
