"""What a stage is: one step of a neuron, with its formula, its reference and its true gradients."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from types import CodeType, MappingProxyType

import torch
from torch import Tensor

from harness.course.mistake import Mistake

Sizes = Mapping[str, int]
Sampler = Callable[[torch.Generator, tuple[int, ...], int], Tensor]


def spread(generator: torch.Generator, shape: tuple[int, ...], turn: int) -> Tensor:
    """Generic signed values: normal with standard deviation 1.5, float64."""
    return 1.5 * torch.randn(shape, generator=generator, dtype=torch.float64)


def spread_far(generator: torch.Generator, shape: tuple[int, ...], turn: int) -> Tensor:
    """As ``spread``, with every third value moved out to 4 to 12; of numbers, those of some turns.

    That is where the slope of a sigmoid can still be told from 0 when it is computed in float32.
    """
    values = spread(generator, shape, turn)
    room = torch.rand(shape, generator=generator, dtype=torch.float64)
    if not shape:
        reach = _REACH.get(turn, (4, 12) if turn % 2 else None)
        return values.sign() * (reach[0] + (reach[1] - reach[0]) * room) if reach else values
    moved = torch.arange(values.numel()).reshape(shape) % 3 == 0
    return torch.where(moved, values.sign() * (4 + 8 * room), values)


# The signs of the first three inputs in turns 1 to 8, one of all eight ways each.
_SIGNS = (
    *((1, 1, 1), (1, -1, -1), (-1, -1, 1), (-1, 1, -1)),
    *((1, 1, -1), (1, -1, 1), (-1, -1, -1), (-1, 1, 1)),
)
# The turns in which each of them is far from zero, with either sign; in turn 5 the third is not,
# and does not turn the sign of a sum. In two more all are near zero, as a formula may hold in one
# place only.
_FAR = ((2, 4, 5), (2, 4, 5), (2, 3))
_NEAR = (6, 7)
# How far ``spread_far`` moves a number out in these turns: the first input once with either sign,
# and once further. Of later turns it is every other one.
_REACH: dict[int, tuple[int, int] | None] = dict.fromkeys(range(9))
_REACH |= {1: (8, 12), 3: (8, 12), 4: (4, 8), 5: (4, 8)}


@dataclass(frozen=True, eq=False)
class Stage:
    """One function that a student writes, and everything a judge needs to know about it.

    ``inputs`` maps each input, in the order of ``apply``, to the names of its dimensions
    ("N n_in"; "" for a 0-dim tensor). ``gradients`` gives, for each input, the true
    vector-Jacobian product as a torch expression over ``g`` (the upstream gradient), the inputs
    and the output by name, ``N`` (samples) and ``K`` (outputs). ``optional`` names inputs for
    which ``None`` is a right gradient. ``extremes`` lists values of an input near which the stage
    must stay finite and right; it is tried from three quarters of each up to it. ``samples`` says
    how to sample an input, ``spread`` if left out. ``mistakes`` are those that teachers know.
    """

    name: str
    formula: str
    inputs: Mapping[str, str]
    output: str
    forward: Callable[..., Tensor]
    gradients: Mapping[str, str]
    points: Mapping[str, float] = field(default_factory=dict)
    optional: frozenset[str] = frozenset()
    extremes: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    samples: Mapping[str, Sampler] = field(default_factory=dict)
    mistakes: tuple[Mistake, ...] = ()

    def __post_init__(self) -> None:
        if set(self.gradients) != set(self.inputs):
            raise ValueError(
                f"{self.name}: every input needs a gradient and nothing else does; the inputs are "
                f"{', '.join(self.inputs)}, the gradients {', '.join(self.gradients)}"
            )
        named = {name for mistake in self.mistakes for name in mistake.gradients}
        named |= set(self.extremes) | set(self.samples) | self.optional
        strangers = named - set(self.inputs)
        if strangers:
            raise ValueError(f"{self.name} has no input {', '.join(sorted(strangers))}")
        for name in ("inputs", "gradients", "points", "extremes", "samples"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    @property
    def slug(self) -> str:
        """The stage's name in check ids: ``WeightedSum`` is ``weighted-sum``."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z][a-z])", "-", self.name).lower()

    @property
    def required(self) -> tuple[str, ...]:
        """The inputs whose gradient backward must return, in order."""
        return tuple(name for name in self.inputs if name not in self.optional)

    @property
    def is_scalar(self) -> bool:
        """Whether every input is a 0-dim tensor."""
        return not any(self.inputs.values())

    def position(self, name: str) -> int:
        """Return the place of input ``name`` among the arguments of ``apply``."""
        return list(self.inputs).index(name)

    def shape(self, name: str, sizes: Sizes) -> tuple[int, ...]:
        """The shape of input ``name`` for the given sizes of the dimensions."""
        return tuple(sizes[dimension] for dimension in self.inputs[name].split())

    @cached_property
    def output_dimensions(self) -> tuple[str, ...]:
        """The names of the output's dimensions, found by trying sizes that are all different."""
        names = dict.fromkeys(" ".join(self.inputs.values()).split())
        sizes = dict(zip(names, range(3, 3 + len(names)), strict=True))
        shape = self.forward(*self.sample(torch.Generator().manual_seed(0), sizes)).shape
        named = {size: name for name, size in sizes.items()}
        return tuple(named.get(size, str(size)) for size in shape)

    def sample(self, generator: torch.Generator, sizes: Sizes, turn: int = 0) -> tuple[Tensor, ...]:
        """Inputs to try the stage on: float64, generic and signed, one tensor an input.

        ``turn`` counts the cases, for samplers that take turns between kinds of values. The turns
        1 to 8 bring single numbers of either sign, far from zero and near it.
        """
        values = (
            self.samples.get(name, spread)(generator, self.shape(name, sizes), turn)
            for name in self.inputs
        )
        return tuple(self._signed(value, place, turn) for place, value in enumerate(values))

    def _signed(self, value: Tensor, place: int, turn: int) -> Tensor:
        """A single number with the sign and the size that it has in this turn: |w| must not pass
        for w, nor what holds for small numbers for what holds for all.

        Tensors hold enough numbers of both kinds, and a sampler of the stage's own knows best.
        """
        name = tuple(self.inputs)[place]
        sampler = self.samples.get(name, spread)
        if value.dim() or sampler not in (spread, spread_far) or place >= len(_FAR):
            return value
        if not 1 <= turn <= len(_SIGNS):
            return value
        if turn in _NEAR:
            return (0.05 + 0.2 * torch.exp(-value.abs())) * _SIGNS[turn - 1][place]
        far = sampler is spread and turn in _FAR[place]
        # No two of them are far away and near each other, where a difference has few digits.
        return (value.abs() + 4 * (place + 1) * far) * _SIGNS[turn - 1][place]

    def true_gradients(self, inputs: tuple[Tensor, ...], upstream: Tensor) -> tuple[Tensor, ...]:
        """The vector-Jacobian products by built-in autograd, one for each input, of its shape."""
        leaves = tuple(value.detach().clone().requires_grad_() for value in inputs)
        with torch.enable_grad():
            output = self.forward(*leaves)
        return tuple(
            torch.autograd.grad(output, leaves, upstream, allow_unused=True, materialize_grads=True)
        )

    def evaluate(
        self,
        expression: str,
        inputs: tuple[Tensor, ...],
        upstream: Tensor,
        output: Tensor | None = None,
    ) -> Tensor:
        """The value of a torch expression over ``g``, the stage's names, ``N`` and ``K``.

        The output's name stands for ``output``, or for what the reference makes of the inputs.
        """
        names = dict(zip(self.inputs, inputs, strict=True))
        names[self.output] = self.forward(*inputs) if output is None else output
        widest = max((*inputs, names[self.output]), key=lambda value: value.dim())
        counts = {"N": widest.shape[0], "K": self._outputs(names)} if widest.dim() == 2 else {}
        scope = {**_TORCH, **counts, **names, "g": upstream}
        code, used = _compiled(expression)
        strangers = sorted(used - set(scope))
        if strangers:
            raise NameError(f"{strangers[0]} means nothing in {expression}")
        # Torch itself imports modules when it is first asked to compare with a float.
        scope["__builtins__"] = {"__import__": __import__}
        return eval(code, scope)  # type: ignore[no-any-return]

    def _outputs(self, names: Mapping[str, Tensor]) -> int:
        for name, dimensions in self.inputs.items():
            if "K" in dimensions.split():
                return names[name].shape[dimensions.split().index("K")]
        return names[self.output].shape[-1]


@lru_cache(maxsize=4096)
def _compiled(expression: str) -> tuple[CodeType, frozenset[str]]:
    """An expression, ready to be evaluated, and the names in it."""
    tree = ast.parse(expression, "<gradient>", mode="eval")
    names = frozenset(node.id for node in ast.walk(tree) if isinstance(node, ast.Name))
    return compile(tree, "<gradient>", "eval"), names


_TORCH = {
    name: getattr(torch, name)
    for name in dir(torch)
    if not name.startswith("_") and callable(getattr(torch, name))
}
