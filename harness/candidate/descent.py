"""Runs a student's optimizer: makes it, and has it move parameters by given gradients."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from harness.candidate import operations as ops
from harness.candidate.values import NothingToCall, copy_with_layout, same, snapshot


@dataclass
class Descent:
    """An optimizer that has been made, and the parameters that it was given."""

    optimizer: Any
    parameters: tuple[Tensor, ...]
    # The gradients of the last step, and what they were.
    last: tuple[tuple[Tensor | None, Tensor | None], ...] = ()

    def step(self, op: ops.Step) -> ops.Stepped:
        """Return the parameters after a step, or after many."""
        groups = self.optimizer.param_groups
        for group, change in zip(groups, op.settings, strict=False):
            group.update(change)
        gradients = [None if each is None else copy_with_layout(each) for each in op.gradients]
        grown = self._repeat(gradients, op.times)
        inside = {id(each) for group in groups for each in group["params"]}
        now = tuple(zip(gradients, op.gradients, strict=True))
        unchanged = [same(each, was) for each, was in self.last or now]
        self.last = now
        return ops.Stepped(
            tuple(snapshot(value) for value in self.parameters),
            tuple(id(value) in inside for value in self.parameters),
            tuple(
                same(value.grad, g) and before
                for value, g, before in zip(self.parameters, op.gradients, unchanged, strict=True)
            ),
            tuple(value.requires_grad for value in self.parameters),
            grown,
            # Some are only made in the first step.
            _built_in(self.optimizer) if op.times > 1 else (),
        )

    def _repeat(self, gradients: Sequence[Tensor | None], times: int) -> int:
        """Have the parameters moved; return how many tensors repeated steps have left."""
        if times == 1:
            self._move(gradients)
            return 0
        # What is here already is not counted.
        gc.freeze()
        try:
            for _ in range(times - 1):
                # New ones each time, as another backward would leave.
                self._move([None if each is None else each.clone() for each in gradients])
            self._move(gradients)
            gc.collect()
            # By its type: some modules warn when an object in them is looked at.
            return sum(issubclass(type(each), Tensor) for each in gc.get_objects())
        finally:
            gc.unfreeze()

    def _move(self, gradients: Sequence[Tensor | None]) -> None:
        for value, gradient in zip(self.parameters, gradients, strict=True):
            value.grad = gradient
        self.optimizer.step()


def build(op: ops.Build, names: Mapping[str, object]) -> tuple[Descent, ops.Built]:
    """Make the optimizer of that name. Raise NothingToCall if there is none."""
    found = names.get(op.stage)
    if found is None:
        raise NothingToCall(f"There is no class {op.stage}")
    if not isinstance(found, type) or not issubclass(found, torch.optim.Optimizer):
        raise NothingToCall(f"{op.stage} is not a class of torch.optim.Optimizer")
    values = tuple(
        copy_with_layout(each).requires_grad_() for each in op.parameters if each is not None
    )
    general, *own = op.settings
    keywords: dict[str, Any] = dict(general)
    if len(own) == 1 and not own[0]:
        made = found(list(values), **keywords)
    else:
        groups = zip(op.groups, own, strict=True)
        given = [{"params": [values[at] for at in group], **more} for group, more in groups]
        made = found(given, **keywords)
    if not isinstance(made, torch.optim.Optimizer):
        raise NothingToCall(f"{op.stage}(params, …) does not make an optimizer")
    return Descent(made, values), ops.Built(_built_in(made))


def _built_in(made: torch.optim.Optimizer) -> tuple[ops.Seen, ...]:
    """Return torch's own optimizers in its ancestry, among its attributes, or in lists there."""
    held = [*vars(made).values()]
    for each in [*held]:
        if isinstance(each, dict | list | tuple):
            held += each.values() if isinstance(each, dict) else each
    kinds = [*type(made).__mro__, *map(type, held)]
    return tuple(
        ops.Seen(kind.__name__, "")
        for kind in dict.fromkeys(kinds)
        if issubclass(kind, torch.optim.Optimizer)
        and kind is not torch.optim.Optimizer
        and kind.__module__.startswith("torch.")
    )
