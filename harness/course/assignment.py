"""An assignment: its stages, the chain they form, its training task and its points."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from harness.candidate.forms import Pair
from harness.candidate.operations import Link
from harness.course.detective import Detective
from harness.course.network import Network
from harness.course.stage import Stage
from harness.training.task import Task
from harness.updates import Optimizer


@dataclass(frozen=True)
class Assignment:
    """An assignment, declared whole.

    ``network`` connects the stages, from the inputs to the cost; without it each stage stands by
    itself. ``points`` maps the kinds of check that are worth the same in every stage ("forward",
    "purity" …) and ids of single checks ("training") to points; a stage's own ``points`` (by
    gradient) add to them. Without any, 10 points are shared out. ``handout`` says what the module
    of an instructor's own assignment carries: what names mistakes at home, or signatures only.
    Students write the stages, the ``optimizers``, whose training uses stages ``given``, and what
    returns the cases of ``detectives``.
    """

    name: str
    title: str
    stages: tuple[Stage, ...]
    network: Network | None = None
    task: Task | None = None
    points: Mapping[str, float] = field(default_factory=dict)
    handout: Literal["mistakes", "signatures"] = "mistakes"
    optimizers: tuple[Optimizer, ...] = ()
    given: tuple[Stage, ...] = ()
    detectives: tuple[Detective, ...] = ()

    @property
    def parts(self) -> tuple[tuple[str, ...], ...]:
        """The names of what students write: a class or functions for each stage, and the others."""
        of_stages = (stage.parts for stage in self.stages)
        others = (each.name for those in (self.optimizers, self.detectives) for each in those)
        return (*of_stages, *((name,) for name in others))

    @property
    def chain(self) -> tuple[Link, ...]:
        """The links of the network, none without one."""
        return self.network.links if self.network else ()

    @property
    def pairs(self) -> dict[str, Pair]:
        """The stages that are pairs of functions, by name."""
        return {stage.name: stage.pair for stage in self.stages if stage.pair}

    def stage(self, name: str) -> Stage:
        """Return the stage of that class name. Raise KeyError if there is none."""
        return {stage.name: stage for stage in self.stages}[name]
