"""A training is held to the reference step by step, and to nothing a candidate says of itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from harness.candidate.operations import Absent, Chain, Chained, Descend, Link, Raised
from harness.candidate.workbench import Workbench
from harness.course.assignments import load_assignment
from harness.many_neurons import DIGITS
from harness.probes.training import first_wrong_step
from harness.training import train_candidate, train_reference
from harness.training.task import Run
from harness.training.tumours import TUMOURS
from tests.right import MANY, ONE, Sigmoid, WeightedSum, with_backward, with_forward

TASKS = pytest.mark.parametrize(("task", "names"), [(DIGITS, MANY), (TUMOURS, ONE)])


def reference_of(task):
    assignment = load_assignment("many-neurons" if task is DIGITS else "one-neuron")
    return train_reference(task, tuple((each.name, each.forward) for each in assignment.stages))


class Liar(Workbench):
    """A right candidate that answers the training's step ``at`` with something else."""

    def __init__(self, names, at, lie):
        super().__init__(names)
        self.at, self.lie = at, lie

    def perform(self, operations):
        replies = super().perform(operations)
        if isinstance(operations[-1], Descend):
            replies[self.at] = self.lie(replies[self.at])
        return replies


@TASKS
def test_a_right_candidate_goes_where_the_reference_goes(task, names):
    run, right = train_candidate(task, Workbench(names)), reference_of(task)
    assert run.trouble is None and run.accuracy == right.accuracy >= task.accuracy
    assert {len(run.costs), *map(len, run.path.values())} == {task.steps}
    assert first_wrong_step(run, right) is None
    assert run.costs == pytest.approx(right.costs)


def test_the_path_is_that_of_plain_gradient_descent():
    parameters = DIGITS.parameters()
    run = train_candidate(DIGITS, Workbench(MANY))
    for step in range(5):
        inputs, targets = DIGITS.batch(step)
        leaves = {name: value.clone().requires_grad_() for name, value in parameters.items()}
        a = inputs
        for layer in (1, 2):
            a = torch.sigmoid(a @ leaves[f"w{layer}"].T + leaves[f"b{layer}"])
        cost = ((a - targets) ** 2).sum() / len(a)
        slopes = torch.autograd.grad(cost, list(leaves.values()))
        parameters = {
            name: value - DIGITS.rate * slope
            for (name, value), slope in zip(parameters.items(), slopes, strict=True)
        }
        assert run.costs[step] == pytest.approx(cost.item())
        for name, rows in run.path.items():
            torch.testing.assert_close(rows[step], parameters[name])


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        lambda gradient: gradient + 100,
        lambda gradient: gradient * torch.nan,
        lambda gradient: gradient / 0,
        lambda gradient: gradient[1:],
        lambda gradient: gradient.reshape(1, -1),
        lambda gradient: gradient.float(),
        lambda gradient: gradient * 1j,
        lambda gradient: None,
    ],
)
@pytest.mark.parametrize("at", [0, 20, 29])
def test_a_lie_about_a_gradient_is_caught_at_its_step(change, at):
    def lie(reply):
        return replace(reply, gradient=change(reply.gradient))

    run = train_candidate(TUMOURS, Liar(ONE, at, lie))
    assert first_wrong_step(run, reference_of(TUMOURS)) == at


def test_the_first_wrong_step_is_that_of_the_parameter_that_leaves_first():
    path = {"w": torch.ones(9, 2, 2), "b": torch.ones(9, 2)}
    late = {name: rows.clone() for name, rows in path.items()}
    late["w"][6:] += 1
    late["b"][3] += 1
    right, run = (Run((0.0,) * 9, each, None) for each in (path, late))
    assert first_wrong_step(run, right) == 3
    late["b"][3] -= 1
    assert first_wrong_step(run, right) == 6


def test_a_true_gradient_of_another_network_does_not_count():
    """A child that goes its own way from some step on tells true gradients of other parameters."""
    calls: list[object] = []

    def forward(ctx, a_prev, w, b):
        calls.append(None)
        w = w + (0.5 if len(calls) > 200 else 0)
        ctx.save_for_backward(a_prev, w)
        return a_prev @ w.T + b

    run = train_candidate(
        DIGITS, Workbench({**MANY, "WeightedSum": with_forward(WeightedSum, forward)})
    )
    astray = first_wrong_step(run, reference_of(DIGITS))
    assert astray is not None and 100 <= astray < 105


def test_parameters_changed_in_place_do_not_last_beyond_their_step():
    def forward(ctx, a_prev, w, b):
        ctx.save_for_backward(a_prev.clone(), w.clone())
        z = a_prev @ w.T + b
        for value in (a_prev, w, b):
            value.data.zero_()
        return z

    spoiling = with_forward(WeightedSum, forward)
    run = train_candidate(DIGITS, Workbench({**MANY, "WeightedSum": spoiling}))
    fresh = train_candidate(DIGITS, StepByStep({**MANY, "WeightedSum": spoiling}))
    assert run.costs == pytest.approx(fresh.costs)
    for name, rows in run.path.items():
        torch.testing.assert_close(rows, fresh.path[name])


class StepByStep(Workbench):
    """A candidate that is given new copies of all parameters at every step."""

    def perform(self, operations):
        replies: list[Any] = []
        chain: Any = None
        for operation in operations:
            if isinstance(operation, Descend):
                sizes = [chain.tensors[name].numel() for name in chain.wrt]
                parts = dict(zip(chain.wrt, replies[-1].gradient.split(sizes), strict=True))
                moved = {
                    name: chain.tensors[name] - operation.rate * part.view_as(chain.tensors[name])
                    for name, part in parts.items()
                }
                operation = replace(chain, tensors={**chain.tensors, **moved, **operation.tensors})
            chain = operation
            replies += super().perform([operation])
        return replies


@pytest.mark.parametrize("steps", [0, 1, 17])
def test_trouble_at_a_step_ends_the_run_there(steps):
    calls: list[object] = []

    def backward(ctx, g):
        calls.append(None)
        if len(calls) > 2 * steps:
            raise ValueError("enough")
        (a,) = ctx.saved_tensors
        return g * a * (1 - a)

    names = {**MANY, "Sigmoid": with_backward(Sigmoid, backward)}
    run = train_candidate(DIGITS, Workbench(names))
    assert isinstance(run.trouble, Raised) and run.trouble.text == "enough"
    assert len(run.costs) == steps
    assert all(len(rows) == steps for rows in run.path.values())
    assert run.accuracy is None
    assert len(calls) == 2 * steps + 1


def chain(**more):
    x = torch.tensor([1.0, -2.0], dtype=torch.float64)
    link = Link("Double", ("x",), ("c",))
    return Chain((link,), {"x": x, "unused": x}, ("c",), ("x", "unused"), {"c": 1.0}, **more)


class Double(torch.autograd.Function):
    """Twice the sum of its input; its calls raise while ``broken``."""

    broken = False

    @staticmethod
    def forward(ctx, x):
        if Double.broken:
            raise ValueError("broken")
        ctx.shape = x.shape
        return 2 * x.sum()

    @staticmethod
    def backward(ctx, g):
        return 2 * g.expand(ctx.shape)


def test_a_descent_goes_on_from_where_the_last_one_ended():
    bench = Workbench({"Double": Double})
    (first,) = bench.perform([chain()])
    again, other = bench.perform([Descend(0.25, {}), Descend(0.25, {"unused": torch.ones(2)})])
    assert isinstance(first, Chained) and isinstance(again, Chained) and isinstance(other, Chained)
    assert (first.cost, again.cost, other.cost) == (-2, -4, -6)
    assert first.gradient is not None
    assert first.gradient[:2].tolist() == [2, 2] and first.gradient[2:].isnan().all()


def test_a_descent_after_a_failed_chain_fails_as_that_did(monkeypatch):
    bench = Workbench({"Double": Double})
    assert isinstance(bench.perform([Descend(1.0, {})])[0], Absent)
    monkeypatch.setattr(Double, "broken", True)
    replies = bench.perform([chain(), Descend(1.0, {})])
    monkeypatch.setattr(Double, "broken", False)
    replies += bench.perform([Descend(1.0, {}), chain(), Descend(1.0, {})])
    kinds = [type(reply) for reply in replies]
    assert kinds == [Raised, Raised, Raised, Chained, Chained]
