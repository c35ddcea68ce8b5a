"""torch's own operations, one by one as stages: none that can be declared is a grader's error."""

from __future__ import annotations

import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any
from unittest import TestCase

import pytest
import torch
from torch import Tensor
from torch.autograd import Function

from harness.candidate.operations import Reply
from harness.candidate.values import same
from harness.candidate.workbench import Workbench
from harness.course.inputs import Given, Input, Kind, Real, Sizes
from harness.course.stage import Stage
from harness.declare import assignment
from harness.judging.judge import judge
from tests import wired

pytestmark = pytest.mark.proof


@dataclass(frozen=True)
class Fixed(Kind):
    """Values that are always these."""

    values: Tensor | None = None

    def draw(self, generator: Any, shape: Any, sizes: Sizes, variant: int) -> Tensor:
        assert self.values is not None
        return self.values.clone()


class Wired(Workbench):
    """Everything that goes in and comes out crosses the wire."""

    def perform(self, operations: Any) -> list[Reply]:
        return wired.answered(super().perform(wired.asked(operations)))


def kind_of(value: Tensor) -> Kind:
    if not value.is_floating_point():
        return Fixed(values=value)
    # The sample's own values, a little apart: an operation may have a domain of its own.
    return Real(sampler=lambda generator, shape, variant: value.detach().clone())


def declared(name: str, op: Any, sample: Any) -> Stage | None:
    """The operation on one sample as a stage, or None if it cannot be declared."""
    inputs: dict[str, Input] = {}

    def place(value: Any) -> Any:
        """Returns what stands for the value among the inputs; raises TypeError if nothing can."""
        key = f"v{len(inputs)}"
        if isinstance(value, Tensor):
            plain = value.layout == torch.strided and value.numel() and not value.is_complex()
            real = not value.is_floating_point() or value.dtype == torch.float64
            if not plain or not real or value.numel() > 400:
                raise TypeError
            inputs[key] = Input(key, tuple(map(str, value.shape)), kind_of(value))
        elif isinstance(value, list):
            return [place(each) for each in value]
        elif value is None or isinstance(value, bool | int | float | str | tuple):
            if isinstance(value, tuple) and any(isinstance(each, Tensor) for each in value):
                return tuple(place(each) for each in value)
            inputs[key] = Input(key, None, Given(choices=(value,)))
        else:
            raise TypeError
        return key

    def put(structure: Any, values: dict[str, Any]) -> Any:
        if isinstance(structure, str):
            return values[structure]
        return type(structure)(put(each, values) for each in structure)

    try:
        arguments = [place(each) for each in (sample.input, *sample.args)]
        keywords = {key: place(each) for key, each in sample.kwargs.items()}
    except TypeError:
        return None

    def forward(*given: Any) -> Any:
        values = dict(zip(inputs, given, strict=True))
        found = op(
            *(put(each, values) for each in arguments),
            **{key: put(each, values) for key, each in keywords.items()},
        )
        several = () if isinstance(found, Tensor) else tuple(found)
        return several if len(several) > 1 else several[0] if several else found

    values = [None if each.is_given else each.kind for each in inputs.values()]
    drawn = [
        inputs[key].kind.choices[0]  # type: ignore[attr-defined]
        if kind is None
        else kind.draw(torch.Generator(), (), {}, 0)
        for key, kind in zip(inputs, values, strict=True)
    ]
    if not any(each.kind.has_gradient for each in inputs.values()):
        return None
    found = forward(*drawn)
    outputs = (found,) if isinstance(found, Tensor) else found
    if not all(isinstance(each, Tensor) and not each.is_complex() for each in outputs):
        return None
    if not any(each.is_floating_point() for each in outputs):
        return None
    names = tuple(f"o{at}" for at in range(len(outputs)))
    stage = Stage(name, name, inputs, names, forward)
    again = stage.run(tuple(drawn))
    if not all(map(same, outputs, again)):
        raise ValueError("it draws random numbers")
    # Of what is not differentiable with respect to an argument, torch says so.
    stage.true_gradients(tuple(drawn), tuple(map(upstream_for, outputs)))
    return stage


def upstream_for(output: Tensor) -> Tensor | None:
    return torch.ones_like(output) if output.is_floating_point() else None


def by_autograd(stage: Stage) -> type[Function]:
    """A class whose backward is right, by built-in autograd."""

    def forward(ctx: Any, *given: Any) -> Any:
        ctx.given = given
        ctx.set_materialize_grads(False)
        return stage.forward(
            *(each.detach() if isinstance(each, Tensor) else each for each in given)
        )

    def backward(ctx: Any, *upstream: Any) -> Any:
        found = stage.true_gradients(ctx.given, upstream)
        return tuple(
            each if need else None for each, need in zip(found, ctx.needs_input_grad, strict=True)
        )

    body = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    return type(stage.name, (Function,), body)


def operations() -> Iterator[tuple[str, Any]]:
    # Only torch's own test cases need more of it than that it is there.
    stand_in: Any = ModuleType("expecttest")
    stand_in.TestCase = TestCase
    sys.modules.setdefault("expecttest", stand_in)
    from torch.testing._internal.common_methods_invocations import op_db

    for op in op_db:
        if op.supports_autograd and op.supports_dtype(torch.float64, "cpu"):
            yield f"{op.name}.{op.variant_test_name}".strip("."), op


def outcome(name: str, op: Any) -> str:
    """What became of the first sample that can be declared."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            samples = list(op.sample_inputs("cpu", torch.float64, requires_grad=True))
        except Exception as error:
            return f"no samples: {error!r}"
        for sample in samples:
            try:
                stage = declared("Op", op, sample)
            except Exception as error:
                return f"refused: {error!r}"
            if stage:
                break
        else:
            return "cannot be declared"
        own = assignment(name, [stage])
        report = judge(own, Wired({"Op": by_autograd(stage)}), seed=3).report
        missed = {check.id: check.message for check in report.checks if check.outcome != "passed"}
        return f"missed {missed}" if missed else "passed"


def test_whatever_can_be_declared_is_judged_and_right(monkeypatch):
    # Samples and operations call it thousands of times, and without a GPU torch's own formats the
    # stack each time, in case one is initialized later.
    monkeypatch.setattr(torch, "manual_seed", torch.default_generator.manual_seed)
    said = {name: outcome(name, op) for name, op in operations()}
    counts = Counter(each.partition(" ")[0] for each in said.values())
    wrong = {name: each for name, each in said.items() if each.startswith("missed")}
    assert not wrong
    assert counts["passed"] >= 400, counts
