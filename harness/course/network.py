"""A network: the uses of stages in a function, and torch's own operations between them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import NamedTuple

from harness.candidate.operations import Link, Value
from harness.course.inputs import Input, Sizes
from harness.course.stage import Stage


class Role(NamedTuple):
    """A value as an input of a stage, in its use at a place among the links."""

    at: int
    stage: Stage
    input: Input


@dataclass(frozen=True, eq=False)
class Network:
    """Links between values: those of ``arguments``, and the ``given`` ones, lead to the ``ends``.

    ``ends`` are the cost or, of a stage by itself, its outputs. ``prediction`` names the value that
    a training is judged by. ``shapes`` are the declared dimensions of some arguments. ``place``
    is the file and line of the function, ``sizes`` are those declared for it.
    """

    stages: tuple[Stage, ...]
    arguments: tuple[str, ...]
    links: tuple[Link, ...]
    ends: tuple[str, ...]
    given: Mapping[str, Value] = field(default_factory=dict)
    prediction: str = ""
    shapes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    place: str = ""
    sizes: tuple[Sizes, ...] = ()
    is_alone: bool = False

    @cached_property
    def stage(self) -> Mapping[str, Stage]:
        """The stages by name."""
        return {stage.name: stage for stage in self.stages}

    @cached_property
    def uses(self) -> tuple[tuple[int, Link, Stage], ...]:
        """The links that are uses of a stage, each with its place among the links."""
        found = ((at, link, self.stage.get(link.stage)) for at, link in enumerate(self.links))
        return tuple((at, link, stage) for at, link, stage in found if stage)

    @cached_property
    def linked(self) -> tuple[str, ...]:
        """The names of the stages that it uses."""
        return tuple(dict.fromkeys(link.stage for _, link, _ in self.uses))

    @cached_property
    def roles(self) -> Mapping[str, Sequence[Role]]:
        """What each value is to the stages that use it, the first of them first."""
        found = defaultdict[str, list[Role]](list)
        for at, link, stage in self.uses:
            for name, value in zip(stage.names_of(link.inputs), link.inputs, strict=True):
                found[value].append(Role(at, stage, stage.inputs[name]))
        return found

    def is_constant(self, argument: str) -> bool:
        """Return whether no gradient is asked for an argument."""
        kinds = [role.input.kind for role in self.roles.get(argument, ())]
        return any(not kind.has_gradient or kind.role == "target" for kind in kinds)


@lru_cache(maxsize=256)
def by_itself(stage: Stage, several: int = 1) -> Network:
    """Return the stage alone, as a network that ends in its outputs.

    It is given so many tensors where it takes a variable number of them.
    """
    names = tuple(name for name, each in stage.inputs.items() if not each.several)
    if len(names) < len(stage.inputs):
        (last,) = set(stage.inputs) - set(names)
        names += tuple(f"{last}{at + 1}" for at in range(several))
    link = Link(stage.name, names, stage.outputs)
    return Network((stage,), names, (link,), stage.outputs, is_alone=True)
