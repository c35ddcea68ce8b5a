"""A stage: one step of a neuron, with its formula, its reference and its true gradients."""

import ast
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from types import CodeType, MappingProxyType

import torch
from torch import Tensor

Sizes = Mapping[str, int]
Sampler = Callable[[torch.Generator, tuple[int, ...], int], Tensor]


def spread(generator: torch.Generator, shape: tuple[int, ...], variant: int) -> Tensor:
    """Return signed values: normal with standard deviation 1.5, float64."""
    return 1.5 * torch.randn(shape, generator=generator, dtype=torch.float64)


def spread_far(generator: torch.Generator, shape: tuple[int, ...], variant: int) -> Tensor:
    """Return values as ``spread`` does, with every third one moved out to 4 to 12.

    There the slope of a sigmoid can still be distinguished from 0 when it is computed in float32.
    Single numbers are moved out in some variants.
    """
    values = spread(generator, shape, variant)
    room = torch.rand(shape, generator=generator, dtype=torch.float64)
    if not shape:
        ends = _MAGNITUDES.get(variant, (4, 12) if variant % 2 else None)
        return values.sign() * (ends[0] + (ends[1] - ends[0]) * room) if ends else values
    moved = torch.arange(values.numel()).reshape(shape) % 3 == 0
    return torch.where(moved, values.sign() * (4 + 8 * room), values)


# The signs of the first three inputs in variants 1 to 8: all eight combinations.
_SIGNS = (
    *((1, 1, 1), (1, -1, -1), (-1, -1, 1), (-1, 1, -1)),
    *((1, 1, -1), (1, -1, 1), (-1, -1, -1), (-1, 1, 1)),
)
# The variants in which each of them is far from zero, with either sign; in variant 5 the third is
# not, and does not change the sign of a sum. In two more all are near zero, as a formula may hold
# in one place only.
_FAR = ((2, 4, 5), (2, 4, 5), (2, 3))
_NEAR = (6, 7)
# The magnitudes to which ``spread_far`` moves a number in these variants: each range once with
# either sign. Later variants move every other number.
_MAGNITUDES: dict[int, tuple[int, int] | None] = dict.fromkeys(range(9))
_MAGNITUDES |= {1: (8, 12), 3: (8, 12), 4: (4, 8), 5: (4, 8)}


@dataclass(frozen=True)
class Mistake:
    """One mistake in one stage, by a short name that stays the same.

    ``gradients`` gives a wrong torch expression for some gradients, over the names that
    ``Stage.gradients`` may use ("None" for a gradient that is not returned); the others are right.
    ``hint`` is for a student: it leads on without giving the answer. ``forward`` is a wrong
    expression over the inputs, ``N`` and ``K``; the output's name then stands for its value.
    ``code`` is for what no expression can say: the body of a class derived from ``Right``, whose
    backward returns the right gradients as a tuple.

    ``rejected_by`` names the checks that must fail: "training" and checks of the stage ("purity",
    "gradient/*" for each gradient; "*" for at least one of them). By default they are those of
    the forward and the gradients given.
    """

    name: str
    gradients: Mapping[str, str] = field(default_factory=dict)
    hint: str = field(kw_only=True)
    forward: str | None = field(default=None, kw_only=True)
    code: str = field(default="", kw_only=True)
    rejected_by: tuple[str, ...] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "gradients", MappingProxyType(dict(self.gradients)))
        if not self.rejected_by:
            forward = ("forward",) if self.forward else ()
            gradients = tuple(f"gradient/{name}" for name in self.gradients)
            object.__setattr__(self, "rejected_by", forward + gradients)
        if not self.rejected_by:
            raise ValueError(f"the mistake {self.name} does not say which check rejects it")


@dataclass(frozen=True, eq=False)
class Stage:
    """One function that a student writes, and everything a judge needs to know about it.

    ``inputs`` maps each input, in the order of ``apply``, to the names of its dimensions
    ("N n_in"; "" for a 0-dim tensor). ``gradients`` gives, for each input, the true
    vector-Jacobian product as a torch expression over ``g`` (the upstream gradient), the inputs
    and the output by name, ``N`` (samples) and ``K`` (outputs). ``optional`` names inputs for
    which ``None`` is a right gradient. ``extremes`` lists values of an input near which the stage
    must stay finite and right; the judge uses three quarters of each value up to the value itself.
    ``samples`` maps inputs to samplers (default: ``spread``). ``mistakes`` are those that teachers
    know.
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
        unknown = named - set(self.inputs)
        if unknown:
            raise ValueError(f"{self.name} has no input {', '.join(sorted(unknown))}")
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
        """True if every input is a 0-dim tensor."""
        return not any(self.inputs.values())

    def position(self, name: str) -> int:
        """Return the place of input ``name`` among the arguments of ``apply``."""
        return list(self.inputs).index(name)

    def shape(self, name: str, sizes: Sizes) -> tuple[int, ...]:
        """Return the shape of input ``name`` for the given sizes of the dimensions."""
        return tuple(sizes[dimension] for dimension in self.inputs[name].split())

    @cached_property
    def output_dimensions(self) -> tuple[str, ...]:
        """The names of the output's dimensions, found by trying sizes that are all different."""
        names = dict.fromkeys(" ".join(self.inputs.values()).split())
        sizes = dict(zip(names, range(3, 3 + len(names)), strict=True))
        shape = self.forward(*self.sample(torch.Generator().manual_seed(0), sizes)).shape
        named = {size: name for name, size in sizes.items()}
        return tuple(named.get(size, str(size)) for size in shape)

    def sample(
        self, generator: torch.Generator, sizes: Sizes, variant: int = 0
    ) -> tuple[Tensor, ...]:
        """Return inputs to try the stage on: float64 and signed, one tensor an input.

        ``variant`` numbers the cases, for samplers that alternate between kinds of values. The
        variants 1 to 8 bring single numbers of either sign, far from zero and near it.
        """
        values = (
            self.samples.get(name, spread)(generator, self.shape(name, sizes), variant)
            for name in self.inputs
        )
        return tuple(self._signed(value, place, variant) for place, value in enumerate(values))

    def _signed(self, value: Tensor, place: int, variant: int) -> Tensor:
        """Return a single number with the sign and the magnitude of this variant.

        Otherwise |w| might pass for w, or what holds for small numbers for what holds for all.
        Tensors hold enough numbers of both kinds, and a sampler of the stage's own knows best.
        """
        sampler = self.samples.get(tuple(self.inputs)[place], spread)
        if value.dim() or sampler not in (spread, spread_far) or place >= len(_FAR):
            return value
        if not 1 <= variant <= len(_SIGNS):
            return value
        if variant in _NEAR:
            return (0.05 + 0.2 * torch.exp(-value.abs())) * _SIGNS[variant - 1][place]
        far = sampler is spread and variant in _FAR[place]
        # No two of them are far away and near each other, where a difference has few digits.
        return (value.abs() + 4 * (place + 1) * far) * _SIGNS[variant - 1][place]

    def true_gradients(self, inputs: tuple[Tensor, ...], upstream: Tensor) -> tuple[Tensor, ...]:
        """Return the vector-Jacobian products by built-in autograd, one for each input."""
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
        """Return the value of a torch expression over ``g``, the stage's names, ``N`` and ``K``.

        The output's name stands for ``output``, or for the reference's output by default. Raise
        NameError if the expression uses an unknown name.
        """
        names = dict(zip(self.inputs, inputs, strict=True))
        names[self.output] = self.forward(*inputs) if output is None else output
        widest = max((*inputs, names[self.output]), key=lambda value: value.dim())
        counts = {"N": widest.shape[0], "K": self._outputs(names)} if widest.dim() == 2 else {}
        scope = {**_TORCH, **counts, **names, "g": upstream}
        code, used = _compiled(expression)
        unknown = sorted(used - set(scope))
        if unknown:
            raise NameError(f"unknown name {unknown[0]} in {expression}")
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
    """Compile an expression; return it with the names in it."""
    tree = ast.parse(expression, "<gradient>", mode="eval")
    names = frozenset(node.id for node in ast.walk(tree) if isinstance(node, ast.Name))
    return compile(tree, "<gradient>", "eval"), names


_TORCH = {
    name: getattr(torch, name)
    for name in dir(torch)
    if not name.startswith("_") and callable(getattr(torch, name))
}
