"""Inputs to try a stage on, with what the reference makes of them. Made once per seed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TypeVar

import torch
from torch import Tensor

from harness.course.stage import Sizes, Stage
from harness.probes.kinks import Slopes, is_near_kink, slopes_at

T = TypeVar("T")
# Whoever knows the source knows what these bring: the example, and the other public inputs.
EXAMPLE_SEED = -1
PUBLIC_SEED = -2
SCALES = (1.0, 1e-3, 1e3)
# The index of the one case in float32.
IN_FLOAT32 = -1
# The indices of cases beside those that checks use, and their sizes, dimension by dimension.
FRESH = (101, 102)
FRESH_SIZES = (4, 8, 9, 2)
NEAR_LIMITS = 201
# Of single numbers, how many more there are to be had.
MORE_NUMBERS = range(301, 331)
# Those of the calls that must not disturb each other, and of the one for torch's gradcheck.
MEMORY = (401, 402, 403)
GRADCHECK = 501
# The kinds of numbers that cases take turns in; a sampler may know more.
TURNS = 9
# Of dimensions up to this, a case is quickly differentiated entry by entry; one of 1 hides axes.
SMALL = 8
# How often a sample is drawn again that lies at a kink of the reference.
TRIES = 20


# Compared by identity: cases are made once, and tensors have no single equality.
@dataclass(frozen=True, eq=False)
class Case:
    """One set of inputs, several upstreams, and the right answers.

    ``gradients[u][i]`` is the right gradient of input ``i`` for upstream ``u``. ``index`` counts
    the cases of one kind and seed. A case of special values says of what ``kind`` they are, and
    has the ``slopes`` for its upstream.
    """

    seed: int
    sizes: Sizes
    index: int
    inputs: tuple[Tensor, ...]
    upstreams: tuple[Tensor, ...]
    output: Tensor
    gradients: tuple[tuple[Tensor, ...], ...]
    kind: str = ""
    slopes: tuple[Slopes, ...] = ()

    @property
    def is_example(self) -> bool:
        """Whether it is the public example, which every trial begins with."""
        return self.seed == EXAMPLE_SEED

    @cached_property
    def reach(self) -> tuple[float, ...]:
        """The largest entry of each upstream, by size."""
        return tuple(float(upstream.abs().max()) for upstream in self.upstreams)

    def facts(self, turn: int | None = None) -> dict[str, int]:
        """What makes the case again, and its upstream number ``turn``, for the record."""
        upstream = {} if turn is None else {"upstream": turn}
        return {"seed": self.seed, **self.sizes, "index": self.index, **upstream}


def generator_for(seed: int, *names: object) -> torch.Generator:
    """A generator that depends on the seed and the names only, on every platform."""
    text = "/".join(map(str, (seed, *names)))
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")
    return torch.Generator().manual_seed(number)


def shuffled(values: Iterable[T], seed: int, *names: object) -> list[T]:
    """The values in an order that depends on the seed and the names only.

    Public cases keep the order in which they come: formulas are read from those that come first.
    """
    known = list(values)
    if seed in (EXAMPLE_SEED, PUBLIC_SEED):
        return known
    order = torch.randperm(len(known), generator=generator_for(seed, *names))
    return [known[place] for place in order.tolist()]


def sizes_for(purpose: str, seed: int, sizes: Sequence[Sizes]) -> tuple[Sizes, ...]:
    """Small sizes for a purpose, without dimensions of 1, in an order that the seed gives; any
    sizes where there are no such ones."""
    fit = [each for each in sizes if all(1 < size <= SMALL for size in each.values())]
    return tuple(shuffled(fit or sizes, seed, purpose, "sizes"))


def make_case(stage: Stage, seed: int, sizes: Sizes, index: int) -> Case:
    """The case number ``index``: generic inputs, signed upstreams of three scales.

    Which of the kinds of numbers it has, and the order of the scales, are given by the seed.
    """
    generator = generator_for(seed, stage.name, index)
    turns = shuffled(range(TURNS), seed, stage.name, "turns")
    turn = turns[index] if 0 <= index < TURNS else index
    scales = shuffled(SCALES, seed, stage.name, index, "scales")
    for attempt in range(TRIES):
        inputs = stage.sample(generator, sizes, turn)
        shape = stage.forward(*inputs).shape
        upstreams = tuple(
            scale * upstream_for(generator, shape, negative=(turn + place) % 2 == 0)
            for place, scale in enumerate(scales)
        )
        moves = generator_for(seed, stage.name, index, "kinks", attempt)
        if not is_near_kink(stage, inputs, upstreams[0], moves):
            break
    return case_of(stage, seed, sizes, index, inputs, upstreams)


def case_of(
    stage: Stage,
    seed: int,
    sizes: Sizes,
    index: int,
    inputs: tuple[Tensor, ...],
    upstreams: tuple[Tensor, ...],
) -> Case:
    """A case with the reference's answers to the given inputs and upstreams."""
    gradients = tuple(stage.true_gradients(inputs, upstream) for upstream in upstreams)
    return Case(seed, sizes, index, inputs, upstreams, stage.forward(*inputs), gradients)


def special_case(
    stage: Stage,
    seed: int,
    sizes: Sizes,
    index: int,
    kind: str,
    inputs: tuple[Tensor, ...],
    upstream: Tensor,
) -> Case:
    """A case of special values, where the reference may have a kink, or no gradient."""
    case = case_of(stage, seed, sizes, index, inputs, (upstream,))
    generator = generator_for(seed, stage.name, "kinks", index)
    return replace(case, kind=kind, slopes=slopes_at(stage, inputs, upstream, generator))


def cases_for(stage: Stage, seed: int, sizes: tuple[Sizes, ...]) -> tuple[Case, ...]:
    """The public example, then a case of the seed's for each of the sizes, in the seed's order."""
    return _cases(stage, seed, tuple(map(frozen, sizes)))


def extreme_cases(stage: Stage, seed: int, sizes: Sizes) -> tuple[Case, ...]:
    """Cases whose inputs hold the stage's extreme values; none where it names none."""
    return _extreme_cases(stage, seed, frozen(sizes))


def single_case(stage: Stage, seed: int, sizes: Sizes) -> Case:
    """A case of inputs and an upstream in float32, with answers in float64."""
    return _single_case(stage, seed, frozen(sizes))


def layout_cases(stage: Stage, seed: int, sizes: Sizes) -> tuple[Case, ...]:
    """Cases of transposed tensors and, where every input has rows to repeat, expanded ones."""
    return _layout_cases(stage, seed, frozen(sizes))


def memory_cases(stage: Stage, seed: int, sizes: tuple[Sizes, ...]) -> tuple[Case, ...]:
    """Two cases of equal sizes and, where there are any, a third of others."""
    return _memory_cases(stage, seed, tuple(map(frozen, sizes)))


def fresh_cases(stage: Stage, seed: int, sizes: Sizes) -> tuple[Case, ...]:
    """Two cases of sizes that are all different, which no check uses."""
    return _fresh_cases(stage, seed, frozen(dict(zip(sizes, FRESH_SIZES, strict=False))))


Frozen = tuple[tuple[str, int], ...]


def frozen(sizes: Sizes) -> Frozen:
    """The sizes as something to keep cases by."""
    return tuple(sizes.items())


@lru_cache(maxsize=256)
def _cases(stage: Stage, seed: int, sizes: tuple[Frozen, ...]) -> tuple[Case, ...]:
    order = shuffled(sizes, seed, stage.name, "sizes")
    others = (make_case(stage, seed, dict(each), index) for index, each in enumerate(order))
    return (make_case(stage, EXAMPLE_SEED, dict(sizes[0]), 0), *others)


@lru_cache(maxsize=256)
def _memory_cases(stage: Stage, seed: int, sizes: tuple[Frozen, ...]) -> tuple[Case, ...]:
    own, *others = sizes_for("memory", seed, [dict(each) for each in sizes])
    asked = [own, own, *(each for each in others if each != own)][: len(MEMORY)]
    return tuple(make_case(stage, seed, *each) for each in zip(asked, MEMORY, strict=False))


@lru_cache(maxsize=256)
def _fresh_cases(stage: Stage, seed: int, sizes: Frozen) -> tuple[Case, ...]:
    return tuple(make_case(stage, seed, dict(sizes), index) for index in FRESH)


@lru_cache(maxsize=256)
def more_numbers(stage: Stage, seed: int) -> tuple[Case, ...]:
    """Many cases of a stage that works on single numbers, which no check uses."""
    return tuple(make_case(stage, seed, {}, index) for index in MORE_NUMBERS)


@lru_cache(maxsize=256)
def _extreme_cases(stage: Stage, seed: int, sizes: Frozen) -> tuple[Case, ...]:
    generator = generator_for(seed, stage.name, "extremes")
    cases: list[Case] = []
    for name, declared in stage.extremes.items():
        # At 0 itself a reference may have a kink: that is a special value.
        values = tuple(value for value in declared if value)
        at = tuple(stage.inputs).index(name)
        for extreme in _extremes(values, stage.shape(name, dict(sizes)), generator):
            inputs = list(stage.sample(generator, dict(sizes)))
            inputs[at] = extreme
            shape = stage.forward(*inputs).shape
            upstream = upstream_for(generator, shape, negative=coin(generator))
            sample = tuple(inputs)
            cases.append(case_of(stage, seed, dict(sizes), len(cases), sample, (upstream,)))
    return tuple(cases)


def _extremes(
    values: tuple[float, ...], shape: tuple[int, ...], generator: torch.Generator
) -> Iterator[Tensor]:
    """Tensors of one shape that hold numbers near each of the values, no larger, in any order.

    The outermost are kept to within a tenth: what overflows at 800 need not do so at 600.
    """
    if not values:
        return
    count = torch.Size(shape).numel()
    tensors = -(-len(values) // count)
    near = torch.tensor(values, dtype=torch.float64).repeat(-(-tensors * count // len(values)))
    order = torch.randperm(tensors * count, generator=generator)
    near = near[order]
    room = torch.where((near == min(values)) | (near == max(values)), 0.1, 0.25)
    off = room * torch.rand(tensors * count, generator=generator, dtype=torch.float64)
    yield from (near * (1 - off)).reshape(tensors, *shape)


@lru_cache(maxsize=256)
def _single_case(stage: Stage, seed: int, sizes: Frozen) -> Case:
    case = make_case(stage, seed, dict(sizes), IN_FLOAT32)
    inputs = tuple(value.float() for value in case.inputs)
    upstream = case.upstreams[0].float()
    exact = tuple(value.double() for value in inputs)
    answers = case_of(stage, seed, dict(sizes), IN_FLOAT32, exact, (upstream.double(),))
    return replace(answers, inputs=inputs, upstreams=(upstream,))


@lru_cache(maxsize=256)
def _layout_cases(stage: Stage, seed: int, sizes: Frozen) -> tuple[Case, ...]:
    generator = generator_for(seed, stage.name, "layout")
    inputs = stage.sample(generator, dict(sizes))
    output = stage.forward(*inputs)
    upstream = torch.randn(output.shape, generator=generator, dtype=torch.float64)
    one = torch.randn((), generator=generator, dtype=torch.float64).expand(output.shape)
    rows = tuple(value[:1].expand(value.shape) for value in inputs if value.dim() == 2)
    upstreams = shuffled((_transposed(upstream), one), seed, stage.name, "layout")
    turned = (tuple(map(_transposed, inputs)), tuple(upstreams))
    made = [turned, (rows, (upstream,))] if len(rows) == len(inputs) else [turned]
    return tuple(case_of(stage, seed, dict(sizes), index, *each) for index, each in enumerate(made))


def _transposed(value: Tensor) -> Tensor:
    return value.T.contiguous().T if value.dim() == 2 else value


def upstream_for(generator: torch.Generator, shape: torch.Size, *, negative: bool) -> Tensor:
    """A random upstream: signed entries, or a single number of the sign that is asked for."""
    values = torch.randn(shape, generator=generator, dtype=torch.float64)
    if values.dim():
        return 2 * values
    size = 0.3 + values.abs()
    return -size if negative else size


def coin(generator: torch.Generator) -> bool:
    """One of two, at random."""
    return bool(torch.randint(2, (), generator=generator))
