"""Cases that a candidate hands in: what they expose, and whether right backwards pass there.

A case is judged as a gradient check would judge it: a backward fails there if what torch's engine
makes of its gradients differs by more than the tolerance from the right ones.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from harness.candidate import operations as ops
from harness.cases.compare import Difference, entry
from harness.cases.given import Unusable, read_case
from harness.course.detective import NUMBERS, Detective
from harness.course.numbers import number, numbers, shape
from harness.course.stage import Upstream, Values
from harness.language import tr

# As in torch's gradcheck: the step of its differences, and how far a gradient may be off.
STEP, ABSOLUTE, RELATIVE = 1e-6, 1e-5, 1e-3
Gradients = Mapping[str, str]


@dataclass(frozen=True, eq=False)
class Exhibit:
    """A case that can be used: its number, inputs and upstreams."""

    detective: Detective
    number: int
    inputs: Values
    upstream: Upstream

    @cached_property
    def right(self) -> dict[str, Tensor]:
        """The right gradient of each input that has one, by built-in autograd."""
        stage = self.detective.stage
        found = stage.true_gradients(self.inputs, self.upstream)
        names = (name for name in stage.differentiable if not stage.inputs[name].several)
        places = {name: found[stage.position(name)] for name in names}
        return {name: each for name, each in places.items() if each is not None}

    def exposes(self, gradients: Gradients) -> str:
        """Return what is wrong here with a backward of these gradients, "" if nothing is."""
        stage = self.detective.stage
        for name, expression in gradients.items():
            if (right := self.right.get(name)) is None:
                continue
            try:
                with warnings.catch_warnings():
                    # Transposing what is not a matrix is deprecated, and not wrong.
                    warnings.simplefilter("ignore")
                    value: object = stage.evaluate(expression, self.inputs, self.upstream)
            except Exception as error:
                # Shapes that do not fit, and whatever else a wrong formula may run into.
                text = tr("torch cannot work out its ∂C/∂{name} ({kind})")
                return text.format(name=name, kind=type(error).__name__)
            if (came := _accepted(value, right)) is None:
                made = shape(value) if isinstance(value, Tensor) else type(value).__name__
                text = tr("its ∂C/∂{name} has shape {made}, and {name} has {shape}")
                return text.format(name=name, made=made, shape=shape(right))
            if off := _difference(came, right):
                got, true = numbers(off.got, off.right)
                text = tr("its ∂C/∂{name}{at} is {got}, and {true} is right")
                return text.format(name=name, at=off.at, got=got, true=true)
        return ""

    @cached_property
    def unfair(self) -> str:
        """Why a right backward fails here, "" if it passes."""
        if not all(bool(each.isfinite().all()) for each in self.right.values()):
            return tr("The right gradient is not finite there.")
        for name, right in self.right.items():
            if off := _difference(self._slope(name), right):
                got, true = numbers(off.got, off.right)
                text = tr(
                    "∂C/∂{name}{at} is {true}, and nudging by h = {step} either way gives {got}. "
                    "Is there a kink between the two nudges, or are the numbers so large that such "
                    "an h is lost in rounding?"
                )
                values = {"got": got, "true": true, "step": number(STEP)}
                return text.format(name=name, at=off.at, **values)
        for each in (self.detective.stage.gradients, *self.detective.right):
            if trouble := self.exposes(each):
                text = tr("Of a backward that is right, but written in another way, {trouble}.")
                return text.format(trouble=trouble)
        return ""

    def _slope(self, name: str) -> Tensor:
        """Return the gradient of an input by central differences."""
        at = self.detective.stage.position(name)
        value = self.inputs[at]
        assert isinstance(value, Tensor)
        nudges = STEP * torch.eye(value.numel(), dtype=value.dtype)
        slopes = [
            (self._cost(at, value + each) - self._cost(at, value - each)) / (2 * STEP)
            for each in nudges.reshape(-1, *value.shape)
        ]
        return torch.tensor(slopes, dtype=value.dtype).reshape(value.shape)

    def _cost(self, at: int, value: Tensor) -> float:
        try:
            outputs = self.detective.stage.run((*self.inputs[:at], value, *self.inputs[at + 1 :]))
        except (RuntimeError, ValueError, ArithmeticError):
            # A nudge may leave the domain.
            return torch.nan
        pairs = zip(outputs, self.upstream, strict=True)
        return sum(float((one * given).sum()) for one, given in pairs if given is not None)


def _accepted(value: object, right: Tensor) -> Tensor | None:
    """Return what torch's engine makes of a gradient; None for one that it refuses."""
    if value is None:
        return torch.zeros_like(right)
    if not isinstance(value, Tensor):
        return None
    value = value.detach().to(right.dtype)
    if value.shape == right.shape:
        return value
    try:
        fits = torch.broadcast_shapes(value.shape, right.shape) == value.shape
    except RuntimeError:
        return None
    return value.sum_to_size(right.shape) if fits else None


def _difference(got: Tensor, right: Tensor) -> Difference | None:
    """Return the entry that is furthest off, None if a gradient check would accept all."""
    excess = (got - right).abs() - ABSOLUTE - RELATIVE * right.abs()
    excess = excess.nan_to_num(torch.inf)
    return entry(int(excess.argmax()), got, right) if bool((excess > 0).any()) else None


@dataclass
class DetectiveContext:
    """One function of one candidate, and what its cases expose. It is called once."""

    detective: Detective
    candidate: ops.Candidate

    @cached_property
    def reply(self) -> ops.Reply:
        """What the candidate answered when it was asked for its cases."""
        asked = ops.Collect(self.detective.name, self.detective.cases, NUMBERS)
        return self.candidate.perform([asked])[0]

    @cached_property
    def read(self) -> tuple[Exhibit | str, ...]:
        """The cases that count, or why one cannot be used."""
        given = self.reply.cases if isinstance(self.reply, ops.Collected) else ()
        found: list[Exhibit | str] = []
        for at, each in enumerate(given[: self.detective.cases], start=1):
            try:
                found.append(Exhibit(self.detective, at, *read_case(self.detective, each)))
            except Unusable as fault:
                found.append(tr("Case {number}: {fault}").format(number=at, fault=fault))
        return tuple(found)

    @cached_property
    def exhibits(self) -> list[Exhibit]:
        """The cases that can be used."""
        return [each for each in self.read if isinstance(each, Exhibit)]

    @property
    def too_many(self) -> bool:
        """Whether there are more cases than count."""
        return isinstance(self.reply, ops.Collected) and len(self.reply.cases) > len(self.read)

    def exposure(self, gradients: Gradients) -> tuple[int, str] | None:
        """Return the first fair case that exposes wrong gradients, and what it shows there."""
        for each in self.exhibits:
            if not each.unfair and (shown := each.exposes(gradients)):
                return each.number, shown
        return None
