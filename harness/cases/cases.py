"""Inputs to try a stage on, with the right answers. Each case is made once per seed."""

import hashlib
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache, wraps
from itertools import combinations
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from harness.cases.kinks import REFUSALS, Slopes, is_near_kink
from harness.cases.reach import far_from_zero
from harness.course.inputs import Sizes, is_real_tensor
from harness.course.sizes import at_sizes, differing, fresh_sizes
from harness.course.stage import Stage, Upstream, Values
from harness.errors import DeclarationError, UserError

T = TypeVar("T")
S = TypeVar("S")
C = TypeVar("C", bound=Hashable)
# Anyone who knows the source knows these inputs: the example, the other public cases, and those
# that no candidate is judged with.
EXAMPLE_SEED, PUBLIC_SEED, GENERIC_SEED = -1, -2, -3
SCALES = (1.0, 1e-3, 1e3)
# The index of the one case in float32: an even one, as odd ones move single numbers far from 0.
IN_FLOAT32 = -2
# The indices of cases that only the diagnosis uses.
FRESH = (101, 102)
NEAR_LIMITS = 201
# More cases of stages that work on single numbers.
MORE_NUMBERS = range(301, 331)
# Those of the calls that must not disturb each other, and of the one for torch's gradcheck.
MEMORY = range(401, 501)
GRADCHECK = 501
# The kinds of numbers that cases take turns in; a sampler may know more.
VARIANTS = 9
# Up to this size a case is quickly differentiated entry by entry; a size of 1 hides axes.
SMALL = 8
# Up to so many outputs, every part of them is used alone.
EVERY_PART = 4
# How often a sample that lies at a kink of the reference is drawn again.
TRIES = 20


# Compared by identity: cases are made once, and tensors have no single equality.
@dataclass(frozen=True, eq=False)
class Case:
    """One set of inputs, several upstream gradients, and the right answers.

    ``gradients[u][i]`` is the right gradient of argument ``i`` for upstream ``u``, or None if that
    argument has none. ``index`` numbers the cases of one purpose and seed. A case of special values
    describes them in ``kind``, and has the ``slopes`` for its only upstream. Of a recorded case
    ``rooms`` say, for each upstream, how far each output and gradient may be off for rounding.
    """

    seed: int
    sizes: Sizes
    index: int
    inputs: Values
    upstreams: tuple[Upstream, ...]
    outputs: tuple[Tensor, ...]
    gradients: tuple[tuple[Tensor | None, ...], ...]
    kind: str = ""
    slopes: tuple[Slopes | None, ...] = ()
    rooms: tuple[tuple[float, ...], ...] = ()

    @property
    def is_example(self) -> bool:
        """Return whether this is the public example, which every session begins with."""
        return self.seed == EXAMPLE_SEED

    @cached_property
    def input_max_abs(self) -> float:
        """Return the largest absolute value of any real input, 1 if there is none."""
        return largest(each for each in self.inputs if is_real_tensor(each)) or 1.0

    @cached_property
    def max_abs(self) -> tuple[float, ...]:
        """Return the largest absolute value of each upstream."""
        return tuple(largest(upstream) for upstream in self.upstreams)

    def facts(self, upstream_index: int | None = None) -> dict[str, Any]:
        """Return what reproduces the case, and names one of its upstreams, for the record."""
        upstream = {} if upstream_index is None else {"upstream": upstream_index}
        # As JSON has them.
        sizes = {name: list(x) if isinstance(x, tuple) else x for name, x in self.sizes.items()}
        return {"seed": self.seed, **sizes, "index": self.index, **upstream}


def largest(values: Iterable[object]) -> float:
    """Return the largest absolute value in the tensors among some values."""
    sizes = (
        float(each.abs().max()) for each in values if isinstance(each, Tensor) and each.numel()
    )
    return max(sizes, default=0.0)


@dataclass(frozen=True)
class Keyed(Generic[T]):
    """A value that cannot be hashed, compared by its key."""

    key: Hashable
    value: T = field(compare=False)


def cached(make: Callable[[C, int, S], T]) -> Callable[[C, int, S], T]:
    """Keep what a function of a stage or a chain, a seed, and sizes (one or several) has made.

    Where a stage is recorded, that is what counts.
    """

    @lru_cache(maxsize=256)
    def made(of: C, seed: int, sizes: Keyed[S]) -> T:
        return make(of, seed, sizes.value)

    @wraps(make)
    def found(of: C, seed: int, sizes: S) -> T:
        if isinstance(of, Stage) and of.recorded:
            recorded: T = of.recorded.cases(make.__name__)
            return recorded
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
    if seed < 0:
        return known
    order = torch.randperm(len(known), generator=generator_for(seed, *names))
    return [known[place] for place in order.tolist()]


def sizes_for(purpose: str, seed: int, stage: Stage, sizes: Sequence[Sizes]) -> tuple[Sizes, ...]:
    """Return the small sizes without a dimension of 1, in the seed's order.

    Return all sizes where none are like that.
    """
    fit = [each for each in sizes if all(1 < side <= SMALL for side in _sides(stage, each))]
    return tuple(shuffled(fit or sizes, seed, purpose, "sizes"))


def _sides(stage: Stage, sizes: Sizes) -> list[int]:
    return [size for name, size in sizes.items() if type(size) is int and name not in stage.inputs]


def make_case(stage: Stage, seed: int, sizes: Sizes, index: int) -> Case:
    """Return the case number ``index``: generic inputs, signed upstreams of three scales.

    The seed decides which kind of numbers it has, and the order of the scales.
    """
    generator = generator_for(seed, stage.name, index)
    variants = shuffled(range(VARIANTS), seed, stage.name, "turns")
    variant = variants[index] if 0 <= index < VARIANTS else index
    scales = shuffled(SCALES, seed, stage.name, index, "scales")
    for attempt in range(TRIES):
        with told(stage, "drawing inputs", sizes):
            inputs = stage.sample(generator, sizes, variant)
            if seed != EXAMPLE_SEED:
                inputs = far_from_zero(stage, generator, sizes, index, variant) or inputs
        with told(stage, "forward", sizes):
            outputs = stage.run(inputs)
        upstreams = tuple(
            upstream_for(generator, outputs, negative=(variant + place) % 2 == 0, scale=scale)
            for place, scale in enumerate(scales)
        )
        moves = generator_for(seed, stage.name, index, "kinks", attempt)
        with told(stage, "built-in autograd", sizes):
            if not is_near_kink(stage, inputs, upstreams[0], moves):
                break
    with told(stage, "built-in autograd", sizes):
        return case_of(stage, seed, sizes, index, inputs, (*upstreams, *alone(upstreams[0])))


@contextmanager
def told(stage: Stage, what: str, sizes: Sizes) -> Iterator[None]:
    """Raise DeclarationError, with the sizes, if the code of a declaration raises in ``what``."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        text = f"{what} raises {type(error).__name__}: {error}".rstrip(":. ")
        said = f"{stage.name}: {' '.join(text.split())}{at_sizes(sizes)}."
        raise DeclarationError(f"{stage.place}: {said}") from error


@lru_cache
def mixes_numbers(stage: Stage) -> bool:
    """Return whether an entry of the output depends on several numbers, unlike a sigmoid's."""
    if stage.recorded:
        return stage.recorded.mixes
    inputs = stage.sample(generator_for(GENERIC_SEED, stage.name, "mixes"), stage.sizes[0])
    upstream = tuple(_of_first_entry(each) for each in stage.run(inputs))
    gradients = stage.true_gradients(inputs, upstream)
    return sum(int(each.count_nonzero()) for each in gradients if each is not None) > 1


def _of_first_entry(output: Tensor) -> Tensor | None:
    """Return the upstream of an output of which the first entry counts alone."""
    if not output.is_floating_point():
        return None
    places = torch.arange(output.numel()).reshape(output.shape)
    return (places == 0).double()


def alone(upstream: Upstream) -> tuple[Upstream, ...]:
    """Return the upstreams in which a part of several outputs is used.

    That is every part of up to four outputs; of more, each of them, and all but it.
    """
    used = [place for place, each in enumerate(upstream) if each is not None]
    counts = range(1, len(used)) if len(used) <= EVERY_PART else (1, len(used) - 1)
    kept = [set(some) for count in counts for some in combinations(used, count)]
    return tuple(
        tuple(each if place in some else None for place, each in enumerate(upstream))
        for some in kept
    )


def case_of(
    stage: Stage,
    seed: int,
    sizes: Sizes,
    index: int,
    inputs: Values,
    upstreams: tuple[Upstream, ...],
) -> Case:
    """Return a case of the given inputs and upstreams, with the reference's answers."""
    gradients = tuple(stage.true_gradients(inputs, upstream) for upstream in upstreams)
    return Case(seed, sizes, index, inputs, upstreams, stage.run(inputs), gradients)


@cached
def cases_for(stage: Stage, seed: int, sizes: tuple[Sizes, ...]) -> tuple[Case, ...]:
    """Return the public example, then a case for each of the sizes, in the seed's order."""
    order = shuffled(sizes, seed, stage.name, "sizes")
    others = (make_case(stage, seed, each, index) for index, each in enumerate(order))
    return (make_case(stage, EXAMPLE_SEED, sizes[0], 0), *others)


@cached
def memory_cases(stage: Stage, seed: int, own: Sizes) -> tuple[Case, ...]:
    """Return two cases of the sizes, and one of each of the sizes `differing` from them."""
    several = sizes_for("memory", seed, stage, stage.sizes)
    asked = (own, own, *differing(stage, own, several))
    return tuple(make_case(stage, seed, *each) for each in zip(asked, MEMORY, strict=False))


@cached
def fresh_cases(stage: Stage, seed: int, sizes: Sizes) -> tuple[Case, ...]:
    """Return two cases whose dimensions all differ, which no check uses."""
    fresh = fresh_sizes(stage, sizes)
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
        for extreme in _extremes(values, stage.inputs[name].shape(sizes), generator):
            drawn = list(stage.sample(generator, sizes))
            drawn[stage.position(name)] = extreme
            inputs = tuple(drawn)
            upstream = upstream_for(generator, stage.run(inputs), negative=coin(generator))
            cases.append(case_of(stage, seed, sizes, len(cases), inputs, (upstream,)))
    return tuple(cases)


def _extremes(
    values: tuple[float, ...], shape: tuple[int, ...], generator: torch.Generator
) -> Iterator[Tensor]:
    """Yield tensors of one shape that hold numbers near each of the values, no larger.

    The outermost are kept near: what overflows at 800 need not do so at 600, and exp is 0 at −750
    but not at −740.
    """
    if not values:
        return
    low, high = min(values), max(values)
    shuffled = _repeated(torch.tensor(values, dtype=torch.float64), shape, generator)
    for near in (shuffled, *_slices(low, high, shape, generator)):
        room = torch.where((near == low) | (near == high), 0.06, 0.25)
        off = room * torch.rand(near.shape, generator=generator, dtype=torch.float64)
        yield from near * (1 - off)


def _slices(
    low: float, high: float, shape: tuple[int, ...], generator: torch.Generator
) -> Iterator[Tensor]:
    """Yield tensors whose slices along an axis are low, high, or low but for one entry.

    A sum of exponentials along that axis overflows or underflows in one of them, unless the maximum
    of each slice is subtracted first. There are such tensors for each axis.
    """
    for axis, length in enumerate(shape):
        if length > 1 and low < high:
            slices = torch.full((length + 2, length), low, dtype=torch.float64)
            slices.fill_diagonal_(high)[-1] = high
            others = shape[:axis] + shape[axis + 1 :]
            yield _repeated(slices, others, generator).movedim(-1, axis + 1)


def _repeated(rows: Tensor, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Return as many tensors of one shape as hold each of the rows at least once, shuffled."""
    count = torch.Size(shape).numel()
    tensors = -(-len(rows) // count)
    places = torch.arange(tensors * count) % len(rows)
    places = places[torch.randperm(tensors * count, generator=generator)]
    return rows[places].reshape(tensors, *shape, *rows.shape[1:])


@cached
def float32_case(stage: Stage, seed: int, sizes: Sizes) -> Case:
    """Return a case of inputs and an upstream in float32, with answers in float64."""
    case = make_case(stage, seed, sizes, IN_FLOAT32)
    inputs, exact = _in_float32(case.inputs)
    upstream, exact_upstream = _in_float32(case.upstreams[0])
    answers = case_of(stage, seed, sizes, IN_FLOAT32, exact, (exact_upstream,))
    return replace(answers, inputs=inputs, upstreams=(upstream,))


def _in_float32(values: tuple[Any, ...]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Return values with real tensors in float32, and those rounded alike in float64."""
    rounded = tuple(each.float() if is_real_tensor(each) else each for each in values)
    return rounded, tuple(each.double() if is_real_tensor(each) else each for each in rounded)


@cached
def layout_cases(stage: Stage, seed: int, sizes: Sizes) -> tuple[Case, ...]:
    """Return a case of transposed tensors and, if every input has rows to repeat, expanded ones."""
    generator = generator_for(seed, stage.name, "layout")
    inputs = stage.sample(generator, sizes)
    outputs = stage.run(inputs)
    upstream = tuple(_like(output, generator) for output in outputs)
    one = tuple(_expanded(output, generator) for output in outputs)
    turned = tuple(_transposed(each, generator) for each in upstream)
    upstreams = shuffled((turned, one), seed, stage.name, "layout")
    asked: list[tuple[Values, tuple[Upstream, ...]]]
    asked = [(tuple(_transposed(each, generator) for each in inputs), tuple(upstreams))]
    rows = tuple(
        value[:1].expand(value.shape)
        if isinstance(value, Tensor) and is_real_tensor(value) and value.dim() > 1
        else value
        for value in inputs
    )
    pairs = zip(rows, inputs, strict=True)
    if all(row is not value or not is_real_tensor(value) for row, value in pairs):
        asked.append((rows, (upstream,)))
    made: list[Case] = []
    for values, given in asked:
        moves = generator_for(seed, stage.name, "layout", "kinks")
        # Some references refuse equal rows, or tensors that are not contiguous.
        with suppress(*REFUSALS):
            case = case_of(stage, seed, sizes, len(made), values, given)
            if values is not rows or not is_near_kink(stage, rows, upstream, moves):
                made.append(case)
    return tuple(made)


def _transposed(value: Any, generator: torch.Generator) -> Any:
    """Return a tensor with two axes swapped in memory; anything else as it is."""
    if not isinstance(value, Tensor) or value.dim() < 2:
        return value
    # With an axis of length 1 nothing would change.
    longer = [axis for axis, length in enumerate(value.shape) if length > 1]
    axes = longer if len(longer) > 1 else range(value.dim())
    one, other = (axes[at] for at in torch.randperm(len(axes), generator=generator)[:2].tolist())
    return value.transpose(one, other).contiguous().transpose(one, other)


def _like(output: Tensor, generator: torch.Generator) -> Tensor | None:
    if not output.is_floating_point():
        return None
    return torch.randn(output.shape, generator=generator, dtype=torch.float64)


def _expanded(output: Tensor, generator: torch.Generator) -> Tensor | None:
    if not output.is_floating_point():
        return None
    number = torch.randn((), generator=generator, dtype=torch.float64)
    return number.expand(output.shape)


def upstream_for(
    generator: torch.Generator, outputs: Sequence[Tensor], *, negative: bool, scale: float = 1.0
) -> Upstream:
    """Return random upstreams: signed entries, or a single number of the given sign.

    An output that is not real has none.
    """
    return tuple(
        scale * _random(generator, output.shape, negative=negative)
        if output.is_floating_point()
        else None
        for output in outputs
    )


def _random(generator: torch.Generator, shape: torch.Size, *, negative: bool) -> Tensor:
    values = torch.randn(shape, generator=generator, dtype=torch.float64)
    if values.dim():
        return 2 * values
    size = 0.3 + values.abs()
    return -size if negative else size


def coin(generator: torch.Generator) -> bool:
    """Return True or False at random."""
    return bool(torch.randint(2, (), generator=generator))
