"""An optimizer that students write, and what it does to parameters."""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from harness.candidate import operations as ops
from harness.candidate.descent import build
from harness.candidate.forms import slug_of
from harness.candidate.operations import Value
from harness.updates.recorded import RecordedSteps
from harness.updates.rule import GIVEN, Rule, read_rule, rule_of, total_norm, unpacked
from harness.updates.trajectory import Settings, Trajectory

Update = Callable[..., Tensor]


@dataclass(frozen=True, eq=False)
class Optimizer:
    """A class of ``torch.optim.Optimizer`` that students write, and the reference for it.

    `harness.declare.optimizer` declares it, and says what this is. Of ``catalogue`` are the tables
    of mistakes, by name, that replace and add to those that are known.
    """

    name: str
    like: type[torch.optim.Optimizer] | Update | RecordedSteps
    tries: tuple[Settings, ...] = ({},)
    formula: str = ""
    conventions: Literal["any", "reference"] = "any"
    catalogue: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    place: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.like, RecordedSteps):
            object.__setattr__(self, "tries", self.like.tries)
            return
        defaults = {
            name: each.default
            for name, each in inspect.signature(self.like).parameters.items()
            if isinstance(each.default, float | tuple) and each.default
        }
        tries = tuple({**defaults, **each} for each in self.tries or ({},))
        object.__setattr__(self, "tries", tries)
        if not self.name.isidentifier():
            raise ValueError(f"{self.name!r} cannot be a name in Python")
        if self.conventions not in ("any", "reference"):
            raise ValueError(f"conventions is {self.conventions!r}: say any or reference")
        if odd := [each for each in tries if each.keys() != tries[0].keys()]:
            name = sorted(odd[0].keys() ^ tries[0].keys())[0]
            raise ValueError(f"{name} is in some tries only: give it in each of them")
        if not isinstance(self.like, type):
            self._check_keywords(tries[0])

    def _check_keywords(self, settings: Settings) -> None:
        """Raise ValueError unless the reference takes the settings."""
        assert not isinstance(self.like, RecordedSteps)
        parameters = inspect.signature(self.like).parameters
        if [*parameters][:3] != ["p", "g", "state"]:
            raise ValueError("like takes p, g, state, and then hyperparameters by keyword")
        takes = {*[*parameters][3:]} - {*GIVEN}
        if wrong := sorted(takes ^ settings.keys()):
            where = "no try gives a value" if wrong[0] in takes else "like does not take it"
            raise ValueError(f"{wrong[0]}: {where}")

    @property
    def slug(self) -> str:
        """The name in ids of checks: ``WarmAdam`` is ``warm-adam``."""
        return slug_of(self.name)

    @property
    def hyperparameters(self) -> tuple[str, ...]:
        """What the class is given by keyword beside the parameters."""
        return tuple(self.tries[0])

    @cached_property
    def rule(self) -> Rule | None:
        """The reference as a rule; None if it is none that is known."""
        if not isinstance(self.like, type):
            return None if isinstance(self.like, RecordedSteps) else rule_of(self.like)
        flags = {name: x for name, x in self.tries[0].items() if isinstance(x, bool | str)}
        used = unpacked({k: v for k, v in self.tries[0].items() if k not in flags})
        used = {name: value for name, value in used.items() if not isinstance(value, tuple)}
        for table in _known().get(self.like.__name__, ()):
            decays = "weight_decay" in used and "decay" in table
            rule = read_rule("; ".join([*([table["decay"]] if decays else []), table["rule"]]))
            if table.get("when", {}) == flags and rule.hyperparameters == {*used}:
                return rule
        return None

    def path(self, trajectory: Trajectory) -> Sequence[tuple[Tensor, ...]]:
        """Return the right parameters after each step. They are made once."""
        return _path(self, trajectory)

    def moves(self, trajectory: Trajectory) -> Iterator[tuple[Tensor, ...]]:
        """Yield the right parameters after each step."""
        if isinstance(self.like, RecordedSteps):
            return self.like.moves(trajectory)
        # By the rule without torch.optim, which takes seconds to import what it needs.
        return self.rule.path(trajectory) if self.rule else self.run(trajectory)

    def run(self, trajectory: Trajectory) -> Iterator[tuple[Tensor, ...]]:
        """Yield the parameters after each step, as the reference itself moves them."""
        given = ops.Build(0, self.name, trajectory.start, trajectory.groups, trajectory.settings)
        descent, _ = build(given, {self.name: as_class(self)})
        for step in trajectory.steps:
            moved = descent.step(ops.Step(0, step.gradients, step.settings, step.times))
            yield tuple(each for each in moved.parameters if isinstance(each, Tensor))


# A run has one seed, and a student's check the public one.
@lru_cache(maxsize=256)
def _path(optimizer: Optimizer, trajectory: Trajectory) -> tuple[tuple[Tensor, ...], ...]:
    return tuple(optimizer.moves(trajectory))


def as_class(optimizer: Optimizer) -> Any:
    """Return a class of torch.optim.Optimizer that does what the reference does."""
    update: Any = optimizer.like
    if isinstance(update, type):
        return update
    given = {*inspect.signature(update).parameters} & {"t", "total_norm"}

    class Made(torch.optim.Optimizer):
        """Moves each parameter by the function."""

        def __init__(self, params: Any, **settings: Value) -> None:
            super().__init__(params, settings)

        @torch.no_grad()
        def step(self) -> None:  # type: ignore[override]
            every = [each.grad for group in self.param_groups for each in group["params"]]
            total = total_norm(every)
            for group in self.param_groups:
                settings = {name: group[name] for name in optimizer.hyperparameters}
                for p in group["params"]:
                    if p.grad is None:
                        continue
                    state = self.state[p]
                    count = state["its own count"] = state.get("its own count", 0) + 1
                    known = {"t": count, "total_norm": total}
                    more = {name: known[name] for name in given}
                    p.copy_(update(p.clone(), p.grad.clone(), state, **settings, **more))

    return Made


@cache
def _known() -> Mapping[str, Sequence[Mapping[str, Any]]]:
    """Return the rules of torch's own optimizers by class."""
    return tomllib.loads(Path(__file__).with_name("rules.toml").read_text(encoding="utf-8"))
