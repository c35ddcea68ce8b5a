"""What the inputs of a stage are: their dimensions, and the kind of values that they take."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

# Sizes of dimensions by name, with what else a case fixes: given values by name, for an optional
# tensor whether it is there ("b?"), for several tensors how many ("xs*").
Sizes = Mapping[str, Any]
Sampler = Callable[[torch.Generator, tuple[int, ...], int], Tensor]
# An input that is a target may have None as its gradient; a constant and a buffer have none, and
# forward may change a buffer.
Role = Literal["input", "target", "constant", "buffer"]


def spread(generator: torch.Generator, shape: tuple[int, ...], variant: int) -> Tensor:
    """Return signed values: normal with standard deviation 1.5, float64."""
    return 1.5 * torch.randn(shape, generator=generator, dtype=torch.float64)


def spread_far(generator: torch.Generator, shape: tuple[int, ...], variant: int) -> Tensor:
    """Return values as ``spread`` does, with every third one moved out to 4 to 12.

    There the slope of a sigmoid can still be distinguished from 0 when it is computed in float32.
    The first and the last that are moved are at least 11 away. Single numbers are moved out in
    some variants.
    """
    values = spread(generator, shape, variant)
    room = torch.rand(shape, generator=generator, dtype=torch.float64)
    if not shape:
        ends = _MAGNITUDES.get(variant, (4, 12) if variant % 2 else None)
        return values.sign() * (ends[0] + (ends[1] - ends[0]) * room) if ends else values
    moved = torch.arange(values.numel()).reshape(shape) % 3 == 0
    farthest = moved.flatten().nonzero().flatten()[[0, -1]]
    room.view(-1)[farthest] = (7 + room.view(-1)[farthest]) / 8
    return torch.where(moved, values.sign() * (4 + 8 * room), values)


# The magnitudes to which ``spread_far`` moves a number in these variants: each range once with
# either sign. Later variants move every other number.
_MAGNITUDES: dict[int, tuple[int, int] | None] = dict.fromkeys(range(9))
_MAGNITUDES |= {1: (8, 12), 3: (8, 12), 4: (4, 8), 5: (4, 8)}


@dataclass(frozen=True)
class Kind:
    """A kind of values. Of a real tensor it says where they lie, and how they are drawn."""

    role: Role = "input"
    # Whether the values are real numbers, as torch differentiates them.
    is_real: ClassVar[bool] = False

    def draw(
        self, generator: torch.Generator, shape: tuple[int, ...], sizes: Sizes, variant: int
    ) -> Tensor:
        """Return a tensor of this kind."""
        raise NotImplementedError

    @property
    def has_gradient(self) -> bool:
        """Whether a backward is asked for a gradient."""
        return self.is_real and self.role in ("input", "target")


@dataclass(frozen=True)
class Real(Kind):
    """Real numbers, from ``low`` to ``high`` if these are given, or along a simplex.

    ``sampler`` draws them; by default, without bounds, they are signed.
    """

    low: float | None = None
    high: float | None = None
    on_simplex: bool = False
    sampler: Sampler = spread
    is_real: ClassVar[bool] = True

    @property
    def is_free(self) -> bool:
        """Whether every number is allowed."""
        return self.low is None and self.high is None and not self.on_simplex

    def allows(self, value: Tensor) -> bool:
        """Return whether all numbers of a tensor lie in the domain, strictly where it is open."""
        if self.on_simplex:
            return bool((value > 0).all()) and torch.allclose(value.sum(-1), value.new_ones(()))
        low, high = -torch.inf if self.low is None else self.low, self.high
        above = (value > low).all() if high is None else (value >= low).all()
        return bool(above) and (high is None or bool((value <= high).all()))

    def draw(
        self, generator: torch.Generator, shape: tuple[int, ...], sizes: Sizes, variant: int
    ) -> Tensor:
        """Return float64 values, inside the domain with a little room."""
        values = self.sampler(generator, shape, variant)
        if self.is_free or self.sampler is not spread:
            return values
        if self.on_simplex:
            return torch.softmax(values, -1)
        if self.low is not None and self.high is not None:
            return self.low + (self.high - self.low) * (0.02 + 0.96 * torch.sigmoid(values))
        away = 0.1 + values.abs()
        return away + self.low if self.low is not None else (self.high or 0.0) - away


@dataclass(frozen=True)
class Whole(Kind):
    """Whole numbers from 0 up to, and without, a dimension or a number: int64."""

    upto: str = ""

    def draw(
        self, generator: torch.Generator, shape: tuple[int, ...], sizes: Sizes, variant: int
    ) -> Tensor:
        """Return numbers in range: the last and the first, then random ones, then a repeated one.

        Which of these come first depends on the variant. Every third variant leaves out the last
        number: how many there are cannot be read from those drawn.
        """
        count = size_of(self.upto, sizes)
        if variant % 3 == 2 and count > 1:
            count -= 1
        values = torch.randint(count, shape, generator=generator)
        flat = values.view(-1)
        ends = torch.tensor([count - 1, 0]).roll(variant)[: flat.numel()]
        flat[: len(ends)] = ends
        if flat.numel() > 2:
            flat[-1] = flat[int(torch.randint(flat.numel() - 1, (), generator=generator))]
        return flat.roll(variant).reshape(shape)


@dataclass(frozen=True)
class Mask(Kind):
    """True and False; at least one of either where there are two entries or more.

    Each slice along the last axis has a True: slices that are masked out are special values.
    """

    share: float = 0.5

    def draw(
        self, generator: torch.Generator, shape: tuple[int, ...], sizes: Sizes, variant: int
    ) -> Tensor:
        """Return a boolean tensor of which about ``share`` is True."""
        values = torch.rand(shape, generator=generator, dtype=torch.float64) < self.share
        if shape and shape[-1] > 1:
            values[..., variant % shape[-1]] |= ~values.any(-1)
        flat = values.view(-1)
        if flat.numel() > 1 and bool((flat == flat[0]).all()):
            flat[variant % flat.numel()] = ~flat[0]
        return values


@dataclass(frozen=True)
class Given(Kind):
    """One of some Python values: numbers, strings, tuples of these."""

    choices: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Input:
    """An input of a stage. A given value has no ``dimensions``.

    An ``optional`` tensor is None in some cases; ``several`` are a variable number of tensors, the
    last arguments of ``apply``.
    """

    name: str
    dimensions: tuple[str, ...] | None
    kind: Kind = field(default_factory=Real)
    optional: bool = False
    several: bool = False

    @property
    def is_given(self) -> bool:
        """Whether it is a Python value."""
        return self.dimensions is None

    @property
    def axes(self) -> tuple[str, ...]:
        """The names of its dimensions; none for a given value."""
        return self.dimensions or ()

    def shape(self, sizes: Sizes) -> tuple[int, ...]:
        """Return the shape of the tensor, or of each of several."""
        return tuple(size_of(each, sizes) for each in self.axes)


def size_of(dimension: str, sizes: Sizes) -> int:
    """Return the size of a dimension: a name, a number, or an expression over names."""
    if dimension in sizes:
        return int(sizes[dimension])
    if dimension.isdecimal():
        return int(dimension)
    return int(eval(dimension, {"__builtins__": {}}, dict(sizes)))


def is_real_tensor(value: object) -> bool:
    """Return whether a value is a tensor of numbers that torch can differentiate."""
    return isinstance(value, Tensor) and value.is_floating_point()
