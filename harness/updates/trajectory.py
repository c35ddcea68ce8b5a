"""What an optimizer is given in one run: parameters in groups, and their gradients step by step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from harness.candidate.operations import Value

Settings = Mapping[str, Value]


@dataclass(frozen=True)
class Step:
    """The gradient of each parameter, None for one without; ``settings`` change those of groups."""

    gradients: tuple[Tensor | None, ...]
    settings: tuple[Settings, ...] = ()


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
