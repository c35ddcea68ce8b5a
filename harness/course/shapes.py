"""Which dimensions of a network are the same, the sizes it is tried at, and values for it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain, count
from typing import Any

import torch
from torch import Tensor

from harness.candidate.glue import run_links
from harness.candidate.operations import Link, Value
from harness.candidate.values import NothingToCall
from harness.course.inputs import Given, Input, Sizes, Whole, is_real_tensor, size_of, spread
from harness.course.network import Network
from harness.course.sizes import DIFFERENT, at_sizes, fits
from harness.course.stage import Stage
from harness.errors import DeclarationError

# A dimension in the use of a stage at a place among the links, or a number. Those that are declared
# for arguments stand at the place -1.
Side = tuple[int, str] | int | None
DECLARED = -1
TURNS = 4
TRIES, MORE_TRIES = 300, 20
POOL = (2, 3, 4, 5, 6)
# Glue whose result has the shape of the first value, and of both.
_LIKE_ONE = frozenset(
    """
    abs clamp cos cumsum detach exp flip log log_softmax masked_fill neg relu roll sigmoid sin
    softmax sqrt square tanh tril triu
    """.split()  # noqa: SIM905
)
_LIKE_BOTH = ("add", "maximum", "minimum", "mul", "pow", "sub", "truediv")
# Raised where values do not fit, by torch, by the instructor's own forward, or here.
MISFITS = (RuntimeError, ValueError, IndexError, TypeError, NothingToCall)


class Unknown(ValueError):
    """An argument whose shape follows from nothing, with an example of one."""

    def __init__(self, said: str, argument: str, example: str) -> None:
        super().__init__(f'{said}; add it, as in parameters={{"{argument}": "{example}"}}')


class Sides:
    """The dimensions of a network: each with a name, which those that are equal share."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._same: dict[Side, Side] = {}
        # Values whose shape is that of another, which is known later.
        self._like: dict[str, str] = {}
        self._shapes: dict[str, list[Side]] = {
            name: [_side(DECLARED, each) for each in axes] for name, axes in network.shapes.items()
        }
        declared = [side for shape in self._shapes.values() for side in shape]
        self._same |= {side: side for side in declared if isinstance(side, tuple)}
        self._link_data({side[1] for side in declared if isinstance(side, tuple)})
        for at, link in enumerate(network.links):
            if stage := network.stage.get(link.stage):
                self._use(at, link, stage)
            else:
                self._glue(link)
        for name, source in reversed(self._like.items()):
            if name in self._shapes:
                self._shapes.setdefault(source, self._shapes[name])
        self._names = self._named()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all dimensions that are not numbers."""
        return tuple(self._names.values())

    def sizes(self, at: int, stage: Stage, sizes: Sizes) -> dict[str, int]:
        """Return the sizes of the dimensions in the use of a stage, as far as they are known."""
        found = ((name, self._size((at, name), sizes)) for name in stage.dimensions)
        return {name: size for name, size in found if size is not None}

    def shape(self, argument: str, sizes: Sizes) -> tuple[int, ...] | None:
        """Return the shape of an argument that no stage uses first, None if it is not known."""
        sides = self._shapes.get(argument, [None])
        known = [size for side in sides if (size := self._size(side, sizes)) is not None]
        return tuple(known) if len(known) == len(sides) else self.declared(argument, sizes)

    def declared(self, argument: str, sizes: Sizes) -> tuple[int, ...] | None:
        """Return the declared shape of an argument, None if there is none, or it is not known."""
        if argument not in self._network.shapes:
            return None
        sides = (each for each in self._same if isinstance(each, tuple) and each[0] == DECLARED)
        found = ((side[1], self._size(side, sizes)) for side in sides)
        named = {name: size for name, size in found if size is not None}
        try:
            return tuple(size_of(each, named) for each in self._network.shapes[argument])
        except NameError:
            return None

    def axes(self, value: str) -> tuple[str, ...]:
        """Return the dimensions of a value: names, numbers, and "" for one that is not known."""
        return tuple(map(self._name, self._shapes.get(value, ())))

    def found_in(self, argument: str, shape: Sequence[int]) -> dict[str, int]:
        """Return the sizes of dimensions by name that a value for the argument has."""
        axes = self.axes(argument)
        pairs = zip(axes, shape, strict=True) if len(axes) == len(shape) else ()
        return {name: size for name, size in pairs if name.isidentifier()}

    def upto(self, argument: str) -> str:
        """Return the dimension that labels count: its name, or its size if it is a number."""
        roles = self._network.roles.get(argument, ())
        kinds = ((at, of.kind) for at, _, of in roles if isinstance(of.kind, Whole))
        return next((self._name(_side(at, kind.upto)) for at, kind in kinds), "")

    def _name(self, side: Side) -> str:
        root = self._root(side)
        return str(root) if isinstance(root, int) else self._names.get(root, "")

    def _size(self, side: Side, sizes: Sizes) -> int | None:
        root = self._root(side)
        return root if isinstance(root, int) else sizes.get(self._names.get(root, ""))

    def _root(self, side: Side) -> Side:
        while side in self._same and self._same[side] != side:
            side = self._same[side]
        return side

    def _join(self, one: Side, other: Side) -> None:
        """Make two dimensions the same. Two numbers stay what they are: running tells."""
        one, other = self._root(one), self._root(other)
        if one is None or other is None or one == other:
            return
        if isinstance(one, int) or (isinstance(other, tuple) and one < other):
            one, other = other, one
        if isinstance(one, tuple):
            self._same[one] = other

    def _link_data(self, names: set[str]) -> None:
        """Let the names in declared shapes mean the dimensions of the first two arguments."""
        for argument in self._network.arguments[:2]:
            for at, _, of in self._network.roles.get(argument, ())[:1]:
                its = {*of.axes, *([of.kind.upto] if isinstance(of.kind, Whole) else [])}
                for name in its & names:
                    self._join((DECLARED, name), (at, name))
                names = names - its

    def _use(self, at: int, link: Link, stage: Stage) -> None:
        for name, value in zip(stage.names_of(link.inputs), link.inputs, strict=True):
            sides = [_side(at, each) for each in stage.inputs[name].axes]
            for side in sides:
                self._same.setdefault(side, side)
            if not stage.inputs[name].is_given and value not in self._network.given:
                self._meet(value, sides)
        for value, axes in zip(link.outputs, stage.output_axes, strict=True):
            if axes is not None:
                self._shapes[value] = [_side(at, each) for each in axes]

    def _meet(self, value: str, sides: list[Side]) -> None:
        known = self._shapes.setdefault(value, sides)
        if len(known) == len(sides):
            for place, (one, other) in enumerate(zip(known, sides, strict=True)):
                self._join(one, other)
                known[place] = other if one is None else one

    def _glue(self, link: Link) -> None:
        given = self._network.given
        tensors = [name for name in link.inputs if name not in given and "=" not in name]
        shapes = [self._shapes.get(name) for name in tensors]
        (name,), glue = link.outputs, link.stage.removeprefix("torch.")
        if glue in _LIKE_ONE and shapes and shapes[0] is not None:
            self._shapes[name] = list(shapes[0])
        elif glue in _LIKE_ONE and shapes:
            self._like[name] = tensors[0]
        elif glue in _LIKE_BOTH and all(shape is not None for shape in shapes):
            longer = max((shape or [] for shape in shapes), key=len)
            for shape in shapes:
                for one, other in zip(reversed(longer), reversed(shape or []), strict=False):
                    if 1 not in (self._root(one), self._root(other)):
                        self._join(one, other)
            self._shapes[name] = list(longer)

    def _named(self) -> dict[Side, str]:
        names: dict[Side, str] = {}
        for side in sorted(each for each in self._same if isinstance(each, tuple)):
            root = self._root(side)
            if isinstance(root, tuple) and root not in names:
                others = chain([side[1]], (f"{side[1]}_{number}" for number in count(2)))
                names[root] = next(each for each in others if each not in names.values())
        return names


def _side(at: int, dimension: str) -> Side:
    if dimension.isdecimal():
        return int(dimension)
    return (at, dimension) if dimension.isidentifier() else None


@lru_cache(maxsize=256)
def sides_of(network: Network) -> Sides:
    """Return the dimensions of a network."""
    return Sides(network)


def values_for(
    network: Network,
    sizes: Sizes,
    generator: Callable[[str, int], torch.Generator],
    known: Mapping[str, Value] | None = None,
) -> tuple[dict[str, Value], dict[str, Any]]:
    """Return values for the arguments, and all values that follow from them.

    Each is drawn as an input of the stage that uses it first, unless it is ``known``. The generator
    depends on the name of that stage, and on how often it has been used before. Raise Unknown if a
    shape does not follow from the sizes, and one of MISFITS if something does not fit.
    """
    sides = sides_of(network)
    leaves: dict[str, Value] = dict(known or {})
    values: dict[str, Any] = {**network.given, **leaves}
    functions = {stage.name: reference(stage) for stage in network.stages}
    uses: dict[str, int] = {}
    for at, link in enumerate(network.links):
        stage = network.stage.get(link.stage)
        random_ = generator(link.stage, uses.setdefault(link.stage, 0))
        uses[link.stage] += 1
        if stage:
            drawn: Iterator[tuple[str, Value]] = zip(
                link.inputs, _sample(network, sides, at, sizes, values, random_), strict=True
            )
        else:
            drawn = _plain(sides, link, sizes, values, random_)
        for name, value in drawn:
            if name not in values:
                leaves[name] = values[name] = value
        run_links((link,), functions, values)
    return leaves, values


def reference(stage: Stage) -> Callable[..., Any]:
    """Return the stage's forward as ``apply`` would be: one output, or a tuple of several."""

    def apply(*inputs: Value) -> Any:
        outputs = stage.run(inputs)
        return outputs if len(stage.outputs) > 1 else outputs[0]

    return apply


def _sample(
    network: Network,
    sides: Sides,
    at: int,
    sizes: Sizes,
    values: Mapping[str, Any],
    generator: torch.Generator,
) -> tuple[Value, ...]:
    """Return arguments for the use of a stage; those that have values fix its sizes."""
    link = network.links[at]
    stage = network.stage[link.stage]
    given = {x: each.kind for x, each in stage.inputs.items() if isinstance(each.kind, Given)}
    use: dict[str, Any] = {name: kind.choices[0] for name, kind in given.items()}
    use |= {**sizes} if network.is_alone else {}
    use |= sides.sizes(at, stage, sizes)
    needed: dict[str, tuple[str, Input]] = {}
    for name, value in zip(stage.names_of(link.inputs), link.inputs, strict=True):
        each, has = stage.inputs[name], values.get(value)
        shape = tuple(has.shape) if isinstance(has, Tensor) else sides.declared(value, sizes)
        if shape is not None:
            if len(shape) != len(each.axes):
                raise ValueError(
                    f"{value} has {len(shape)} dimensions where {stage.name} takes {len(each.axes)}"
                )
            use |= {x: n for x, n in zip(each.axes, shape, strict=True) if x in stage.dimensions}
        if each.is_given and value in values:
            use[name] = has
        if value not in values:
            for x in stage.dimensions:
                if any(x in part for part in each.axes):
                    needed.setdefault(x, (value, each))
        if not network.is_alone:
            use[f"{name}?"] = value not in values or has is not None
            use[f"{name}*"] = len(link.inputs) - len(stage.inputs) + 1
    for name in stage.dimensions:
        if name not in use and name in needed:
            value, each = needed[name]
            example = " ".join("32" if name in axis else axis for axis in each.axes)
            raise Unknown(f"{name} of {value} in {stage.name} follows from nothing", value, example)
    use = {**dict.fromkeys(stage.dimensions, 2), **use}
    if not fits(stage, use, most=10**7):
        raise ValueError(f"{stage.name} is not for the sizes {use}")
    return stage.sample(generator, use)


def _plain(
    sides: Sides, link: Link, sizes: Sizes, values: Mapping[str, Any], generator: torch.Generator
) -> Iterator[tuple[str, Value]]:
    """Yield real numbers for the arguments that torch's own operations use first."""
    for name in (each.rpartition("=")[2] for each in link.inputs):
        if name not in values:
            if (shape := sides.shape(name, sizes)) is None:
                said = f"the shape of {name}, which {link.stage} uses, follows from nothing"
                raise Unknown(said, name, "N 3")
            yield name, spread(generator, shape, 0)


@lru_cache(maxsize=256)
def sizes_of(network: Network) -> tuple[Sizes, ...]:
    """Return sizes at which a network runs: those declared for it, or others that differ.

    Raise DeclarationError if it runs at none that were tried.
    """
    names = sides_of(network).names
    if network.sizes and all(set(names) <= set(sizes) for sizes in network.sizes):
        return network.sizes
    random_ = random.Random(network.prediction)
    numbers = (each for axes in network.shapes.values() for each in axes if each.isdecimal())
    pool = [*POOL, *dict.fromkeys(map(int, numbers))]
    found: list[Sizes] = []
    for turn in range(TURNS if names else 1):
        tries = MORE_TRIES if found else TRIES
        wanted = [
            {name: DIFFERENT[(turn * 2 + at) % 6] for at, name in enumerate(names)},
            *({name: random_.choice(pool) for name in names} for _ in range(tries - 1)),
        ]
        errors: list[str] = []
        for sizes in wanted if names else wanted[:1]:
            if not (objection := misfit(network, sizes)):
                found += [sizes] if sizes not in found else []
                break
            errors.append(objection)
        if not found:
            raise DeclarationError(f"{network.place}: {errors[0]}")
    return tuple(found)


def misfit(network: Network, sizes: Sizes) -> str:
    """Return what is wrong with a network at some sizes, "" if nothing is."""

    def generator(stage: str, use: int) -> torch.Generator:
        return torch.Generator().manual_seed(use)

    try:
        leaves, values = values_for(network, sizes, generator)
    except Unknown as error:
        return str(error)
    except MISFITS as error:
        return f"the network does not run{at_sizes(sizes)}: {error}"
    cost = network.ends[0]
    if not isinstance(values[cost], Tensor) or values[cost].dim():
        return f"the cost {cost} is not a single number"
    for name, value in leaves.items():
        if isinstance(value, Tensor) and is_real_tensor(value) and not network.is_constant(name):
            leaves[name] = value.clone().requires_grad_()
    with torch.enable_grad():
        _, values = values_for(network, sizes, generator, leaves)
    if not values[cost].requires_grad:
        return f"no gradient leads from the cost {cost} to any argument"
    return ""
