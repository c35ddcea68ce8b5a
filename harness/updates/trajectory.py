"""What an optimizer is given in one run: parameters in groups, and their gradients step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from harness.candidate.operations import Value

Settings = Mapping[str, Value]
# Of each parameter.
Values = tuple[Tensor, ...]


@dataclass(frozen=True)
class Step:
    """The gradient of each parameter, None for one without; ``settings`` change those of groups.

    The step is taken ``times`` times before anyone looks at the parameters.
    """

    gradients: tuple[Tensor | None, ...]
    settings: tuple[Settings, ...] = ()
    times: int = 1


# Compared by identity, so that it can be a key of what is made of it.
@dataclass(frozen=True, eq=False)
class Trajectory:
    """Where the parameters start, the indices of those of each group, and the steps.

    The ``settings`` are the optimizer's own, and after them what each group has of its own. The
    ``name`` says what it is drawn for.
    """

    start: tuple[Tensor, ...]
    groups: tuple[tuple[int, ...], ...]
    settings: tuple[Settings, ...]
    steps: Sequence[Step]
    name: str = ""

    def with_settings(self) -> Iterator[tuple[tuple[Settings, ...], Step]]:
        """Yield each step with the settings of each parameter at it."""
        general, *own = self.settings
        groups = [{**general, **each} for each in own]
        for step in self.steps:
            for group, change in zip(groups, step.settings, strict=False):
                group |= change
            pairs = zip(groups, self.groups, strict=True)
            of = {at: group for group, inside in pairs for at in inside}
            yield tuple(of[at] for at in range(len(self.start))), step


def led_down(
    start: Values,
    settings: Settings,
    count: int,
    gradients_at: Callable[[int, Values], Values],
    moves: Callable[[Trajectory], Iterable[Values]],
    name: str = "",
) -> tuple[Trajectory, list[Values]]:
    """Return a trajectory along the gradients that ``moves`` meets, and the parameters on it.

    ``gradients_at`` is given the number of the step, from 0, and the parameters before it. The
    parameters returned begin with ``start``.
    """
    path = [start]
    taken: list[Step] = []

    def met() -> Iterator[Step]:
        for number in range(count):
            taken.append(Step(gradients_at(number, path[-1])))
            yield taken[-1]

    # The next gradient is asked for when the parameters have moved.
    lazily: Any = met()
    on_the_way = Trajectory(start, (tuple(range(len(start))),), (settings, {}), lazily, name)
    for moved in moves(on_the_way):
        path.append(moved)  # noqa: PERF402 - gradients are asked for on the way
    return replace(on_the_way, steps=tuple(taken)), path
