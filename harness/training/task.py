"""Gradient descent through a chain of stages: the trusted loop and what it is held against."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from harness.candidate import Candidate, Chain, Chained, Link, Trouble
from harness.workbench import Workbench

Parameters = dict[str, Tensor]

PART = 60


@dataclass(frozen=True)
class Network:
    """A network laid out for some samples: its links, its values, and the costs to average."""

    links: tuple[Link, ...]
    tensors: Mapping[str, Tensor]
    costs: tuple[str, ...]
    answers: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Task:
    """What to train, from where, for how long, and how good it has to get.

    ``network(inputs, targets)`` lays the network out for a batch; the full cost is the average of
    the ``costs`` it names. ``batch(step)`` gives the inputs and targets of a step, ``unseen()``
    inputs, targets and labels for the test; ``correct`` counts the right ones among the network's
    answers, given the labels. ``rate`` is the learning rate, ``accuracy`` the share of unseen
    samples to get right.
    """

    name: str
    parameters: Callable[[], Parameters]
    network: Callable[[Tensor, Tensor], Network]
    batch: Callable[[int], tuple[Tensor, Tensor]]
    unseen: Callable[[], tuple[Tensor, Tensor, Tensor]]
    correct: Callable[[Sequence[Tensor | None], Tensor], int]
    steps: int
    rate: float
    accuracy: float


@dataclass(frozen=True)
class Run:
    """A training run: the cost at each step, the final parameters, the share of unseen samples
    that the trained network gets right, and, if it stopped early, the trouble."""

    costs: tuple[float, ...]
    trail: tuple[Parameters, ...]
    accuracy: float | None
    trouble: Trouble | None = None


def train_candidate(task: Task, candidate: Candidate) -> Run:
    """Trains the task's network with the candidate's functions, one call a step.

    The loop, the parameters and the data stay on this side; the candidate computes costs and
    gradients. Stops at the first trouble, or where a gradient is missing or of a wrong shape.
    """
    parameters = task.parameters()
    costs: list[float] = []
    trail: list[Parameters] = []
    for step in range(task.steps):
        reply = _step(task, candidate, parameters, *task.batch(step))
        if isinstance(reply, Trouble):
            return Run(tuple(costs), tuple(trail), None, reply)
        cost, gradients = reply
        costs.append(cost)
        parameters = {
            name: value - task.rate * gradients[name] for name, value in parameters.items()
        }
        trail.append(parameters)
    return _finished(task, candidate, parameters, costs, trail)


@cache
def train_reference(task: Task, references: tuple[tuple[str, Callable[..., Tensor]], ...]) -> Run:
    """The same training with plain differentiable torch; made once, as nothing in it varies."""
    functions = {name: _Reference(forward) for name, forward in references}
    return train_candidate(task, Workbench(functions, trusted=True))


@dataclass(frozen=True)
class _Reference:
    apply: Callable[..., Tensor]


def _step(
    task: Task, candidate: Candidate, parameters: Parameters, inputs: Tensor, targets: Tensor
) -> tuple[float, Parameters] | Trouble:
    network = task.network(inputs, targets)
    weight = 1 / len(network.costs)
    (reply,) = candidate.perform(
        [
            Chain(
                links=network.links,
                tensors={**parameters, **network.tensors},
                outputs=network.costs,
                wrt=tuple(parameters),
                costs=dict.fromkeys(network.costs, weight),
            )
        ]
    )
    if isinstance(reply, Trouble):
        return reply
    assert isinstance(reply, Chained)
    cost = sum(weight * _number(reply.outputs.get(name)) for name in network.costs)
    return cost, {name: _usable(reply.gradients.get(name), parameters[name]) for name in parameters}


def _number(value: Tensor | None) -> float:
    return float(value) if value is not None and value.numel() == 1 else float("nan")


def _usable(gradient: Tensor | None, parameter: Tensor) -> Tensor:
    if gradient is None or gradient.shape != parameter.shape:
        return torch.full_like(parameter, torch.nan)
    return gradient.to(parameter.dtype)


def _finished(
    task: Task,
    candidate: Candidate,
    parameters: Parameters,
    costs: list[float],
    trail: list[Parameters],
) -> Run:
    correct = count = 0
    # In parts, so that a slow but right forward stays within the time of a call.
    for inputs, targets, labels in zip(*(part.split(PART) for part in task.unseen()), strict=True):
        network = task.network(inputs, targets)
        before_cost = tuple(link for link in network.links if link.output not in network.costs)
        (reply,) = candidate.perform(
            [Chain(before_cost, {**parameters, **network.tensors}, network.answers)]
        )
        if isinstance(reply, Trouble):
            return Run(tuple(costs), tuple(trail), None, reply)
        assert isinstance(reply, Chained)
        answers = [reply.outputs.get(name) for name in network.answers]
        correct += task.correct(answers, labels)
        count += len(labels)
    return Run(tuple(costs), tuple(trail), correct / count)
