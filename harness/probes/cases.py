"""Inputs to try a stage on, with the right answers. Each case is made once per seed."""

import hashlib
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache, wraps
from typing import Generic, TypeVar

import torch
from torch import Tensor

from harness.course.stage import Sizes, Stage
from harness.probes.kinks import Slopes, is_near_kink

T = TypeVar("T")
S = TypeVar("S")
C = TypeVar("C", bound=Hashable)
# Anyone who knows the source knows these inputs: the example, and the other public cases.
EXAMPLE_SEED = -1
PUBLIC_SEED = -2
SCALES = (1.0, 1e-3, 1e3)
# The index of the one case in float32.
IN_FLOAT32 = -1
# The indices of cases that only the diagnosis uses, and their sizes, dimension by dimension.
FRESH = (101, 102)
FRESH_SIZES = (4, 8, 9, 2)
NEAR_LIMITS = 201
# More cases of stages that work on single numbers.
MORE_NUMBERS = range(301, 331)
# Those of the calls that must not disturb each other, and of the one for torch's gradcheck.
MEMORY = (401, 402, 403)
GRADCHECK = 501
# The kinds of numbers that cases take turns in; a sampler may know more.
VARIANTS = 9
# Up to this size a case is quickly differentiated entry by entry; a size of 1 hides axes.
SMALL = 8
# How often a sample that lies at a kink of the reference is drawn again.
TRIES = 20


# Compared by identity: cases are made once, and tensors have no single equality.
@dataclass(frozen=True, eq=False)
class Case:
    """One set of inputs, several upstream gradients, and the right answers.

    ``gradients[u][i]`` is the right gradient of input ``i`` for upstream ``u``. ``index`` numbers
    the cases of one purpose and seed. A case of special values describes them in ``kind``, and has
    the ``slopes`` for its only upstream.
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
        """Return whether this is the public example, which every session begins with."""
        return self.seed == EXAMPLE_SEED

    @cached_property
    def input_max_abs(self) -> float:
        """Return the largest absolute value of any input."""
        return max(float(each.abs().max()) for each in self.inputs)

    @cached_property
    def max_abs(self) -> tuple[float, ...]:
        """Return the largest absolute value of each upstream."""
        return tuple(float(upstream.abs().max()) for upstream in self.upstreams)

    def facts(self, upstream_index: int | None = None) -> dict[str, int]:
        """Return what reproduces the case, and names one of its upstreams, for the record."""
        upstream = {} if upstream_index is None else {"upstream": upstream_index}
        return {"seed": self.seed, **self.sizes, "index": self.index, **upstream}


@dataclass(frozen=True)
class Keyed(Generic[T]):
    """A value that cannot be hashed, compared by its key."""

    key: Hashable
    value: T = field(compare=False)


def cached(make: Callable[[C, int, S], T]) -> Callable[[C, int, S], T]:
    """Keep what a function of a stage or a chain, a seed, and sizes (one or several) has made."""

    @lru_cache(maxsize=256)
    def made(of: C, seed: int, sizes: Keyed[S]) -> T:
        return make(of, seed, sizes.value)

    @wraps(make)
    def found(of: C, seed: int, sizes: S) -> T:
        return made(of, seed, Keyed(_key(sizes), sizes))

    found.cache_clear = made.cache_clear  # type: ignore[attr-defined]
    return found


def _key(sizes: object) -> Hashable:
    if isinstance(sizes, Mapping):
        return tuple(sizes.items())
    return tuple(map(_key, sizes)) if isinstance(sizes, tuple) else sizes


def generator_for(seed: int, *names: object) -> torch.Generator:
    """Return a generator that depends on the seed and the names only, on every platform."""
    text = "/".join(map(str, (seed, *names)))
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")
    return torch.Generator().manual_seed(number)


def shuffled(values: Iterable[T], seed: int, *names: object) -> list[T]:
    """Return the values in an order that depends on the seed and the names only.

    Public cases keep their order: formulas are read from those that come first.
    """
    known = list(values)
    if seed in (EXAMPLE_SEED, PUBLIC_SEED):
        return known
    order = torch.randperm(len(known), generator=generator_for(seed, *names))
    return [known[place] for place in order.tolist()]


def sizes_for(purpose: str, seed: int, sizes: Sequence[Sizes]) -> tuple[Sizes, ...]:
    """Return the small sizes without a dimension of 1, in the seed's order.

    Return all sizes where none are like that.
    """
    fit = [each for each in sizes if all(1 < size <= SMALL for size in each.values())]
    return tuple(shuffled(fit or sizes, seed, purpose, "sizes"))


def make_case(stage: Stage, seed: int, sizes: Sizes, index: int) -> Case:
    """Return the case number ``index``: generic inputs, signed upstreams of three scales.

    The seed decides which kind of numbers it has, and the order of the scales.
    """
    generator = generator_for(seed, stage.name, index)
    variants = shuffled(range(VARIANTS), seed, stage.name, "turns")
    variant = variants[index] if 0 <= index < VARIANTS else index
    scales = shuffled(SCALES, seed, stage.name, index, "scales")
    for attempt in range(TRIES):
        inputs = stage.sample(generator, sizes, variant)
        shape = stage.forward(*inputs).shape
        upstreams = tuple(
            scale * upstream_for(generator, shape, negative=(variant + place) % 2 == 0)
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
    """Return a case of the given inputs and upstreams, with the reference's answers."""
    gradients = tuple(stage.true_gradients(inputs, upstream) for upstream in upstreams)
    return Case(seed, sizes, index, inputs, upstreams, stage.forward(*inputs), gradients)


@cached
def cases_for(stage: Stage, seed: int, sizes: tuple[Sizes, ...]) -> tuple[Case, ...]:
    """Return the public example, then a case for each of the sizes, in the seed's order."""
    order = shuffled(sizes, seed, stage.name, "sizes")
    others = (make_case(stage, seed, each, index) for index, each in enumerate(order))
    return (make_case(stage, EXAMPLE_SEED, sizes[0], 0), *others)


@cached
def memory_cases(stage: Stage, seed: int, sizes: tuple[Sizes, ...]) -> tuple[Case, ...]:
    """Return two cases of equal sizes and, where there are any, a third of other sizes."""
    own, *others = sizes_for("memory", seed, sizes)
    asked = [own, own, *(each for each in others if each != own)][: len(MEMORY)]
    return tuple(make_case(stage, seed, *each) for each in zip(asked, MEMORY, strict=False))


@cached
def fresh_cases(stage: Stage, seed: int, sizes: Sizes) -> tuple[Case, ...]:
    """Return two cases whose dimensions all differ, which no check uses."""
    fresh = dict(zip(sizes, FRESH_SIZES, strict=False))
    return tuple(make_case(stage, seed, fresh, index) for index in FRESH)


@cached
def more_numbers(stage: Stage, seed: int, sizes: Sizes) -> tuple[Case, ...]:
    """Return many cases of a stage that works on single numbers, which no check uses."""
    return tuple(make_case(stage, seed, sizes, index) for index in MORE_NUMBERS)


@cached
def extreme_cases(stage: Stage, seed: int, sizes: Sizes) -> tuple[Case, ...]:
    """Return cases whose inputs are near the stage's extreme values, if it names any."""
    generator = generator_for(seed, stage.name, "extremes")
    cases: list[Case] = []
    for name, declared in stage.extremes.items():
        # At 0 itself a reference may have a kink: that is a special value.
        values = tuple(value for value in declared if value)
        for extreme in _extremes(values, stage.shape(name, sizes), generator):
            inputs = list(stage.sample(generator, sizes))
            inputs[stage.position(name)] = extreme
            shape = stage.forward(*inputs).shape
            upstream = upstream_for(generator, shape, negative=coin(generator))
            cases.append(case_of(stage, seed, sizes, len(cases), tuple(inputs), (upstream,)))
    return tuple(cases)


def _extremes(
    values: tuple[float, ...], shape: tuple[int, ...], generator: torch.Generator
) -> Iterator[Tensor]:
    """Yield tensors of one shape that hold numbers near each of the values, no larger, shuffled.

    The outermost are kept to within a tenth: what overflows at 800 need not do so at 600.
    """
    if not values:
        return
    count = torch.Size(shape).numel()
    tensors = -(-len(values) // count)
    near = torch.tensor(values, dtype=torch.float64).repeat(-(-tensors * count // len(values)))
    near = near[torch.randperm(tensors * count, generator=generator)]
    room = torch.where((near == min(values)) | (near == max(values)), 0.1, 0.25)
    off = room * torch.rand(tensors * count, generator=generator, dtype=torch.float64)
    yield from (near * (1 - off)).reshape(tensors, *shape)


@cached
def float32_case(stage: Stage, seed: int, sizes: Sizes) -> Case:
    """Return a case of inputs and an upstream in float32, with answers in float64."""
    case = make_case(stage, seed, sizes, IN_FLOAT32)
    inputs = tuple(value.float() for value in case.inputs)
    upstream = case.upstreams[0].float()
    exact = tuple(value.double() for value in inputs)
    answers = case_of(stage, seed, sizes, IN_FLOAT32, exact, (upstream.double(),))
    return replace(answers, inputs=inputs, upstreams=(upstream,))


@cached
def layout_cases(stage: Stage, seed: int, sizes: Sizes) -> tuple[Case, ...]:
    """Return a case of transposed tensors and, if every input has rows to repeat, expanded ones."""
    generator = generator_for(seed, stage.name, "layout")
    inputs = stage.sample(generator, sizes)
    output = stage.forward(*inputs)
    upstream = torch.randn(output.shape, generator=generator, dtype=torch.float64)
    one = torch.randn((), generator=generator, dtype=torch.float64).expand(output.shape)
    rows = tuple(value[:1].expand(value.shape) for value in inputs if value.dim() == 2)
    upstreams = shuffled((_transposed(upstream), one), seed, stage.name, "layout")
    turned = (tuple(map(_transposed, inputs)), tuple(upstreams))
    made = [turned, (rows, (upstream,))] if len(rows) == len(inputs) else [turned]
    return tuple(case_of(stage, seed, sizes, index, *each) for index, each in enumerate(made))


def _transposed(value: Tensor) -> Tensor:
    return value.T.contiguous().T if value.dim() == 2 else value


def upstream_for(generator: torch.Generator, shape: torch.Size, *, negative: bool) -> Tensor:
    """Return a random upstream: signed entries, or a single number of the given sign."""
    values = torch.randn(shape, generator=generator, dtype=torch.float64)
    if values.dim():
        return 2 * values
    size = 0.3 + values.abs()
    return -size if negative else size


def coin(generator: torch.Generator) -> bool:
    """Return True or False at random."""
    return bool(torch.randint(2, (), generator=generator))
