"""A stage: one function that a student writes, with its reference and its true gradients."""

import ast
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import islice
from keyword import iskeyword
from types import CodeType, MappingProxyType
from typing import Any, Literal

import torch
from torch import Tensor
from torch.fx import Proxy

from harness.candidate.forms import Pair, slug_of
from harness.candidate.operations import Value
from harness.course.inputs import Input, Real, Sizes, Whole, spread, spread_far
from harness.course.recorded import Recorded

# One for each output; None for an output that is not used.
Upstream = tuple[Tensor | None, ...]
Values = tuple[Value, ...]

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
# The sizes at which it is looked which dimension of an output is which, beside those of which one
# dimension alone is changed.
TRIED = 5


@dataclass(frozen=True)
class Mistake:
    """One mistake in one stage, by a short name that stays the same.

    ``gradients`` gives a wrong torch expression for some gradients, over the names that
    ``Stage.gradients`` may use ("None" for a gradient that is not returned); the others are right.
    ``hint`` is for a student: it leads on without giving the answer. ``forward`` is a wrong
    expression over the inputs and dimensions; the output's name then stands for its value.
    ``code`` is for what no expression can say: the body of a class derived from ``Right``, whose
    backward returns the right gradients as a tuple.

    ``rejected_by`` names the checks that must fail: "training" and checks of the stage ("purity",
    "gradient/*" for each gradient; "*" for at least one of them). By default they are those of
    the forward and the gradients given. ``repair`` has what the hint leads to for each gradient, in
    the verbs of `harness.mistakes.repairs`.
    """

    name: str
    gradients: Mapping[str, str] = field(default_factory=dict)
    hint: str = field(kw_only=True)
    forward: str | None = field(default=None, kw_only=True)
    code: str = field(default="", kw_only=True)
    rejected_by: tuple[str, ...] = field(default=(), kw_only=True)
    repair: Mapping[str, str] = field(default_factory=dict, kw_only=True)

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

    `harness.declare.stage` declares it, and says what most of this is. ``gradients`` are
    expressions over ``g``, the upstream gradient (``g_h`` of each output ``h`` if there are
    several), the inputs and outputs, the dimensions, the given values, and ``where``. Of each
    value in ``extremes`` the judge uses three quarters up to the value itself. Of ``sizes``, which
    the stage is tried at, the public example has the first; by default they are derived, under the
    ``conditions``. Students write a class, or a ``pair`` of functions. Where ``forward_is_work``,
    ``forward`` is Recorded in a handout. The course's own ``hints`` replace those of mistakes.
    """

    name: str
    formula: str
    inputs: Mapping[str, Input]
    outputs: tuple[str, ...]
    forward: Callable[..., Any]
    gradients: Mapping[str, str] = field(default_factory=dict)
    points: Mapping[str, float] = field(default_factory=dict)
    extremes: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    mistakes: tuple[Mistake, ...] = ()
    where: Mapping[str, str] = field(default_factory=dict)
    sizes: tuple[Sizes, ...] = ()
    conditions: tuple[str, ...] = ()
    ties: Literal["any", "reference"] = "any"
    place: str = ""
    pair: Pair | None = None
    forward_is_work: bool = False
    hints: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("inputs", "gradients", "points", "extremes", "where", "hints"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))
        self._check_names()
        if not self.sizes and self.recorded:
            object.__setattr__(self, "sizes", self.recorded.sizes)
        elif not self.sizes:
            from harness.course.sizes import derived_sizes

            object.__setattr__(self, "sizes", derived_sizes(self))

    def _check_names(self) -> None:
        """Raise ValueError for a name that means nothing or two things."""
        named = {name for mistake in self.mistakes for name in mistake.gradients}
        named |= {*self.gradients, *self.points} - ({"forward"} if self.forward_is_work else set())
        if unknown := sorted(named - set(self.differentiable)):
            those = ", ".join(self.differentiable)
            raise ValueError(f"{unknown[0]} is not an input with a gradient; those are {those}")
        if not self.required:
            raise ValueError("no input has a gradient that backward must return")
        real = {name for name, each in self.inputs.items() if each.kind.is_real}
        if unknown := sorted(set(self.extremes) - real):
            raise ValueError(f"{unknown[0]} is not a real input, to have extremes")
        if self.ties not in ("any", "reference"):
            raise ValueError(f"ties is {self.ties!r}: say any or reference")
        if negative := [name for name, points in self.points.items() if not points >= 0]:
            raise ValueError(f"{negative[0]} is worth {self.points[negative[0]]} points")
        names = [*self.inputs, *self.outputs, *self.upstreams, *self.where, *self.dimensions]
        if bad := [
            each for each in (self.name, *names) if not each.isidentifier() or iskeyword(each)
        ]:
            raise ValueError(f"{bad[0]!r} cannot be a name in Python")
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"{twice[0]} means two things; choose another name")
        for condition in self.conditions:
            used = compile(condition, "<condition>", "eval").co_names
            if unknown := sorted({*used} - {*self.dimensions, *self.inputs}):
                raise ValueError(
                    f"{unknown[0]}, in {condition}, is neither a dimension nor a given value"
                )
        for name, each in self.inputs.items():
            upto = re.findall(r"[^\W\d]\w*", each.kind.upto) if isinstance(each.kind, Whole) else ()
            if unknown := [one for one in upto if one not in (*self.dimensions, *self.inputs)]:
                raise ValueError(f"{name} counts up to {unknown[0]}, which is not a dimension")
        several = [name for name, each in self.inputs.items() if each.several]
        if several and several != list(self.inputs)[-1:]:
            raise ValueError("a variable number of tensors must come last")
        if told := {*several} & {*self.gradients}:
            raise ValueError(f"{told.pop()} stands for several tensors: omit its gradient")

    def __call__(self, *inputs: Any) -> Any:
        """Return the reference's output, as `apply` would; note the call if a network is traced."""
        if (traced := next(_proxies(inputs), None)) is not None:
            return traced.tracer.create_proxy("call_function", self, inputs, {}, name=self.output)
        return self.forward(*inputs)

    @property
    def slug(self) -> str:
        """The stage's name in check ids: ``WeightedSum`` is ``weighted-sum``."""
        return slug_of(self.name)

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of what students write for it: a class, or functions."""
        return self.pair.functions if self.pair else (self.name,)

    @property
    def has_upstream(self) -> bool:
        """Whether students' code is given the upstream gradient. Where it is not, that is 1."""
        return self.pair is None or not self.pair.without_upstream

    @property
    def forward_name(self) -> str:
        """What students call its forward."""
        return self.pair.forward if self.pair else f"{self.name}.forward"

    @property
    def backward_name(self) -> str:
        """What students call its backward."""
        return self.pair.functions[-1] if self.pair else f"{self.name}.backward"

    def phase(self, name: Literal["forward", "backward"]) -> str:
        """Return what a sentence about the stage calls its forward or backward."""
        return getattr(self, f"{name}_name") if self.pair else name

    @property
    def noun(self) -> str:
        """What students' code works on: a tensor, or an array."""
        return "array" if self.pair and self.pair.in_numpy else "tensor"

    @property
    def recorded(self) -> Recorded | None:
        """What stands for the forward in a handout whose students write it."""
        return self.forward if isinstance(self.forward, Recorded) else None

    @property
    def output(self) -> str:
        """The name of the first output."""
        return self.outputs[0]

    @cached_property
    def differentiable(self) -> tuple[str, ...]:
        """The inputs that have a gradient, in order."""
        return tuple(name for name, each in self.inputs.items() if each.kind.has_gradient)

    @property
    def optional(self) -> frozenset[str]:
        """The inputs with a gradient for which ``None`` is right too: targets."""
        return frozenset(x for x in self.differentiable if self.inputs[x].kind.role == "target")

    @property
    def required(self) -> tuple[str, ...]:
        """The inputs whose gradient backward must return, in order."""
        return tuple(name for name in self.differentiable if name not in self.optional)

    @cached_property
    def upstreams(self) -> tuple[str, ...]:
        """The name of each output's upstream gradient in expressions."""
        if len(self.outputs) == 1:
            return ("g",)
        return tuple(f"g_{name}" for name in self.outputs)

    @cached_property
    def quantities(self) -> tuple[str, ...]:
        """The names of real tensors that expressions are made of: inputs, then outputs."""
        real = (each for each in self.inputs.values() if each.kind.is_real and not each.several)
        return (*(each.name for each in real), *self.outputs)

    @cached_property
    def dimensions(self) -> tuple[str, ...]:
        """The names of all dimensions, those in expressions included, in order."""
        parts = (part for each in self.inputs.values() for part in each.axes)
        names = (name for part in parts for name in re.findall(r"[^\W\d]\w*", part))
        given = {name for name, each in self.inputs.items() if each.is_given}
        return tuple(dict.fromkeys(name for name in names if name not in given))

    @property
    def is_scalar(self) -> bool:
        """True if every input is a 0-dim tensor."""
        return not any(each.dimensions != () or each.several for each in self.inputs.values())

    def names_of(self, inputs: Values) -> tuple[str, ...]:
        """Return the name of each of some arguments; several tensors have the same."""
        names = tuple(self.inputs)
        return names + names[-1:] * (len(inputs) - len(names))

    def places(self, name: str, inputs: Values) -> tuple[int, ...]:
        """Return where input ``name`` is among the arguments: in one place, or in several."""
        return tuple(at for at, each in enumerate(self.names_of(inputs)) if each == name)

    def position(self, name: str) -> int:
        """Return the first place of input ``name`` among the arguments of ``apply``."""
        return list(self.inputs).index(name)

    def with_gradient(self, inputs: Values) -> tuple[bool, ...]:
        """Return which arguments are tensors that have a gradient."""
        return tuple(
            isinstance(value, Tensor) and name in self.differentiable
            for name, value in zip(self.names_of(inputs), inputs, strict=True)
        )

    @cached_property
    def output_axes(self) -> tuple[tuple[str, ...] | None, ...]:
        """The dimensions of each output: a name, a number, or "" if it is neither at all sizes.

        None stands for an output that has not always the same number of dimensions.
        """
        if self.recorded:
            return self.recorded.axes
        generator = torch.Generator().manual_seed(0)
        shapes = [
            (sizes, [output.shape for output in self.run(self.sample(generator, sizes))])
            for sizes in self.sizes[:TRIED]
        ]
        for sizes in self._changed(self.sizes[0]):
            # Only declared sizes need to suit the stage.
            with suppress(Exception):
                found = self.run(self.sample(generator, sizes))
                shapes.append((sizes, [output.shape for output in found]))
        return tuple(
            self._axes_of([(sizes, shape[place]) for sizes, shape in shapes])
            for place in range(len(self.outputs))
        )

    def _changed(self, sizes: Sizes) -> Iterator[Sizes]:
        """Yield sizes of which one dimension alone is changed, for each that allows it."""
        from harness.course.sizes import fits

        for name in self.dimensions:
            others = ({**sizes, name: sizes[name] + more} for more in range(1, 7))
            yield from islice((each for each in others if fits(self, each)), 1)

    def _axes_of(self, found: Sequence[tuple[Sizes, torch.Size]]) -> tuple[str, ...] | None:
        if len({len(shape) for _, shape in found}) != 1:
            return None
        axes = []
        for axis in range(len(found[0][1])):
            sides = [(sizes, shape[axis]) for sizes, shape in found]
            names = (x for x in self.dimensions if all(each[x] == side for each, side in sides))
            number = str(sides[0][1]) if len({side for _, side in sides}) == 1 else ""
            axes.append(next(names, number))
        return tuple(axes)

    @property
    def output_dimensions(self) -> tuple[str, ...]:
        """The dimensions of the first output, "" for one that has no name."""
        return self.output_axes[0] or ()

    def sample(self, generator: torch.Generator, sizes: Sizes, variant: int = 0) -> Values:
        """Return arguments to try the stage on, real ones in float64.

        ``variant`` numbers the cases, for samplers that alternate between kinds of values. The
        variants 1 to 8 bring single numbers of either sign, far from zero and near it.
        """
        return tuple(
            self._signed(value, each, place, variant)
            for place, each in enumerate(self.inputs.values())
            for value in _drawn(each, generator, sizes, variant)
        )

    def _signed(self, value: Value, of: Input, place: int, variant: int) -> Value:
        """Return a single number with the sign and the magnitude of this variant.

        Otherwise |w| might pass for w, or what holds for small numbers for what holds for all.
        Tensors hold enough numbers of both kinds, and a sampler of the stage's own knows best.
        """
        kind = of.kind
        if not isinstance(value, Tensor) or value.dim() or place >= len(_FAR):
            return value
        if not (isinstance(kind, Real) and kind.is_free and kind.sampler in (spread, spread_far)):
            return value
        if not 1 <= variant <= len(_SIGNS):
            return value
        if variant in _NEAR:
            return (0.05 + 0.2 * torch.exp(-value.abs())) * _SIGNS[variant - 1][place]
        far = kind.sampler is spread and variant in _FAR[place]
        # No two of them are far away and near each other, where a difference has few digits.
        return (value.abs() + 4 * (place + 1) * far) * _SIGNS[variant - 1][place]

    def run(self, inputs: Values) -> tuple[Tensor, ...]:
        """Return the reference's outputs, without changing a buffer."""
        found = self.forward(
            *(
                value.clone()
                if isinstance(value, Tensor) and self.inputs[name].kind.role == "buffer"
                else value
                for name, value in zip(self.names_of(inputs), inputs, strict=True)
            )
        )
        return (found,) if isinstance(found, Tensor) else tuple(found)

    def true_gradients(self, inputs: Values, upstream: Upstream) -> tuple[Tensor | None, ...]:
        """Return the vector-Jacobian products by built-in autograd, one for each argument.

        None stands for an argument that has no gradient.
        """
        if self.recorded:
            return self.recorded.gradients(inputs, upstream)
        copies, leaves, used = self.graph(inputs, upstream)
        if not used:
            return tuple(
                torch.zeros_like(value) if isinstance(value, Tensor) and has else None
                for value, has in zip(copies, self.with_gradient(inputs), strict=True)
            )
        outputs, given = zip(*used, strict=True)
        found = iter(
            torch.autograd.grad(outputs, leaves, given, allow_unused=True, materialize_grads=True)
        )
        return tuple(next(found) if has else None for has in self.with_gradient(inputs))

    def parts_of_gradients(self, inputs: Values, upstream: Upstream) -> list[Tensor]:
        """Return what each entry of the outputs adds to each gradient, along the first axis."""
        _, leaves, used = self.graph(inputs, upstream)
        parts = [[torch.zeros(0, *leaf.shape, dtype=leaf.dtype) for leaf in leaves]]
        for output, given in used:
            rows = torch.diag(given.flatten()).reshape(-1, *output.shape)
            found = torch.autograd.grad(
                output, leaves, rows, retain_graph=True, allow_unused=True, is_grads_batched=True
            )
            parts.append(
                [
                    torch.zeros(len(rows), *leaf.shape, dtype=leaf.dtype) if each is None else each  # type: ignore[redundant-expr]
                    for each, leaf in zip(found, leaves, strict=True)
                ]
            )
        return [torch.cat(column) for column in zip(*parts, strict=True)]

    def graph(
        self, inputs: Values, upstream: Upstream
    ) -> tuple[Values, list[Tensor], list[tuple[Tensor, Tensor]]]:
        """Return arguments, those with a gradient, and the outputs in use with their upstreams."""
        copies = tuple(
            value.detach().clone().requires_grad_(has) if isinstance(value, Tensor) else value
            for value, has in zip(inputs, self.with_gradient(inputs), strict=True)
        )
        with torch.enable_grad():
            outputs = self.run(copies)
        pairs = zip(outputs, upstream, strict=True)
        used = [(one, given) for one, given in pairs if given is not None and one.requires_grad]
        leaves = [each for each in copies if isinstance(each, Tensor) and each.requires_grad]
        return copies, leaves, used

    def scope(
        self, inputs: Values, upstream: Upstream, outputs: Sequence[Tensor] | None = None
    ) -> dict[str, Any]:
        """Return the value of every name that an expression may use, apart from ``where``.

        The outputs' names stand for ``outputs``, or for the reference's by default.
        """
        values = self.run(inputs) if outputs is None else tuple(outputs)
        names: dict[str, Any] = dict(zip(self.inputs, inputs, strict=False))
        for name, each in self.inputs.items():
            if each.several:
                names[name] = tuple(inputs[self.position(name) :])
            value = names[name]
            if isinstance(value, Tensor) and len(each.axes) == value.dim():
                names |= {
                    dimension: size
                    for dimension, size in zip(each.axes, value.shape, strict=True)
                    if dimension in self.dimensions
                }
        given = (
            torch.zeros_like(value) if each is None else each
            for value, each in zip(values, upstream, strict=True)
        )
        return {
            **names,
            **dict(zip(self.outputs, values, strict=True)),
            **dict(zip(self.upstreams, given, strict=True)),
        }

    def evaluate(
        self,
        expression: str,
        inputs: Values,
        upstream: Upstream,
        outputs: Sequence[Tensor] | None = None,
    ) -> Tensor:
        """Return the value of a torch expression over the names of ``scope`` and ``where``.

        It is as exact as the arguments. Raise NameError if the expression uses an unknown name.
        """
        scope = self.whole_scope(inputs, upstream, outputs)
        with as_exact_as(inputs):
            for name in self.intermediates(expression):
                # One that has no value says why.
                scope[name] = eval(_known(self.where[name], scope), scope)
            return eval(_known(expression, scope), scope)  # type: ignore[no-any-return]

    def whole_scope(
        self, inputs: Values, upstream: Upstream, outputs: Sequence[Tensor] | None = None
    ) -> dict[str, Any]:
        """Return ``scope`` with torch's functions and those names in ``where`` that have a value.

        An expression can be evaluated in it many times.
        """
        scope = {**TORCH, **self.scope(inputs, upstream, outputs)}
        # Torch itself imports modules when it is first asked to compare with a float.
        scope["__builtins__"] = {"__import__": __import__}
        for name, expression in self.where.items():
            # A name may be about an optional tensor that is not there.
            with suppress(Exception), as_exact_as(inputs):
                scope[name] = eval(_known(expression, scope), scope)
        return scope

    def intermediates(self, expression: str) -> Iterator[str]:
        """Yield the names in ``where`` that an expression uses, each after those that it uses."""
        used = set(_compiled(expression)[1])
        # Each is over those before it.
        for name in reversed([*self.where]):
            used |= _compiled(self.where[name])[1] if name in used else set()
        yield from (name for name in self.where if name in used)


@contextmanager
def as_exact_as(inputs: Values) -> Iterator[None]:
    """Have torch turn integers and conditions into real numbers of the dtype of the arguments.

    By default ``one_hot(y, K) / N`` has half the digits that everything else has.
    """
    tensors = (each for each in inputs if isinstance(each, Tensor))
    dtypes = (each.dtype for each in tensors if each.is_floating_point())
    before = torch.get_default_dtype()
    torch.set_default_dtype(next(dtypes, torch.float64))
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _proxies(values: Iterable[Any]) -> Iterator[Proxy]:
    for each in values:
        if isinstance(each, Proxy):
            yield each
        elif isinstance(each, list | tuple):
            yield from _proxies(each)


def _drawn(each: Input, generator: torch.Generator, sizes: Sizes, variant: int) -> Iterator[Value]:
    """Yield the values of one input: one, or several tensors."""
    if each.is_given:
        yield sizes[each.name]
    elif each.optional and not sizes.get(f"{each.name}?", True):
        yield None
    else:
        for _ in range(sizes.get(f"{each.name}*", 1)):
            yield each.kind.draw(generator, each.shape(sizes), sizes, variant)


def _known(expression: str, scope: Mapping[str, Any]) -> CodeType:
    """Return the compiled expression. Raise NameError if it uses a name that is not in scope."""
    code, used = _compiled(expression)
    if unknown := sorted(used - scope.keys()):
        raise NameError(f"unknown name {unknown[0]} in {expression}")
    return code


@lru_cache(maxsize=4096)
def _compiled(expression: str) -> tuple[CodeType, frozenset[str]]:
    """Compile an expression; return it with the names in it."""
    tree = ast.parse(expression, "<gradient>", mode="eval")
    names = frozenset(node.id for node in ast.walk(tree) if isinstance(node, ast.Name))
    return compile(tree, "<gradient>", "eval"), names


# What expressions may use: the functions of torch, and of torch.nn.functional, and two numbers.
TORCH: Mapping[str, Any] = {
    name: getattr(module, name)
    for module in (torch.nn.functional, torch)
    for name in dir(module)
    if not name.startswith("_") and callable(getattr(module, name))
} | {"pi": torch.pi, "inf": torch.inf}
