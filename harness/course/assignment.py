"""What an assignment is: its stages, the chain they form, its training task and its points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.candidate.operations import Link
from harness.course.stage import Sizes, Stage
from harness.training.task import Task


@dataclass(frozen=True)
class Assignment:
    """An assignment, declared whole.

    ``sizes`` are those at which every stage is tried; the first is that of the public example.
    ``chain`` connects the stages, from input to cost, for one layer. ``points`` maps the kinds of
    check that are worth the same in every stage ("forward", "purity" …) and ids of single checks
    ("training") to points; a stage's own ``points`` (by gradient) add to them.
    """

    name: str
    title: str
    stages: tuple[Stage, ...]
    sizes: tuple[Sizes, ...]
    chain: tuple[Link, ...]
    task: Task
    points: Mapping[str, float] = field(default_factory=dict)

    def stage(self, name: str) -> Stage:
        """The stage of that class name; KeyError where there is none."""
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise KeyError(name)
