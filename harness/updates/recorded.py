"""Recorded steps, which stand in a handout for a reference function that is the solution."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from harness.updates.trajectory import Settings, Trajectory

if TYPE_CHECKING:
    from harness.updates.optimizer import Optimizer

Path = Sequence[tuple[Tensor, ...]]


class RecordedSteps:
    """The parameters after each step of the public trajectories, by name.

    ``hints`` has an empty text for the reference, and one for each convention that is right too.
    """

    def __init__(self, text: str) -> None:
        told = json.loads(text)
        self.hints: tuple[str, ...] = tuple(told["hints"])
        self.tries: tuple[Settings, ...] = tuple(
            {name: tuple(x) if isinstance(x, list) else x for name, x in each.items()}
            for each in told["tries"]
        )
        self._paths: Mapping[str, Sequence[Any]] = told["paths"]

    def path(self, trajectory: Trajectory, way: int = 0) -> Path:
        """Return where a trajectory leads, by the reference or by a convention."""
        numbers = self._paths[trajectory.name][way] or self._paths[trajectory.name][0]
        return [
            tuple(
                torch.tensor(each, dtype=begin.dtype, device="cpu").reshape(begin.shape)
                for each, begin in zip(values, trajectory.start, strict=True)
            )
            for values in numbers
        ]

    def moves(self, trajectory: Trajectory) -> Iterator[tuple[Tensor, ...]]:
        """Yield the parameters after each step, for which its gradients are asked first."""
        for values, _ in zip(self.path(trajectory), trajectory.steps, strict=True):
            yield values


def encoded(optimizer: Optimizer, hints: Sequence[str], paths: Mapping[str, Sequence[Path]]) -> str:
    """Return the paths of trajectories by name, by the reference and each convention, as text."""
    told = {}
    for name, ways in paths.items():
        numbers = [[[x.flatten().tolist() for x in values] for values in way] for way in ways]
        # Where a convention leads nowhere else, that need not be said again.
        told[name] = [each if each != numbers[0] else None for each in numbers]
        told[name][0] = numbers[0]
    return json.dumps({"hints": [*hints], "tries": [*optimizer.tries], "paths": told})
