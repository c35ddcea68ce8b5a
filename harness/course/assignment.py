"""An assignment: its stages, the chain they form, its training task and its points."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.candidate.operations import Link
from harness.course.stage import Sizes, Stage
from harness.training.task import Task


@dataclass(frozen=True)
class Assignment:
    """An assignment, declared whole.

    Every stage is tried at all ``sizes``; the public example has the first. ``chain`` connects the
    stages, from input to cost, for one layer. ``points`` maps the kinds of check that are worth
    the same in every stage ("forward", "purity" …) and ids of single checks ("training") to
    points; a stage's own ``points`` (by gradient) add to them.
    """

    name: str
    title: str
    stages: tuple[Stage, ...]
    sizes: tuple[Sizes, ...]
    chain: tuple[Link, ...]
    task: Task
    points: Mapping[str, float] = field(default_factory=dict)

    def stage(self, name: str) -> Stage:
        """Return the stage of that class name. Raise KeyError if there is none."""
        return {stage.name: stage for stage in self.stages}[name]
