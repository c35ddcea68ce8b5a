"""Gradient descent through a chain of stages: the trusted loop and what it is held against."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise

import torch
from torch import Tensor

from harness.candidate.operations import Candidate, Chain, Chained, Descend, Link, Trouble
from harness.candidate.workbench import Workbench

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
    the ``costs`` it names. ``batch(step)`` gives the inputs and targets of a step, which differ in
    their values only (and not at all where it is the same object as before), ``unseen()``
    inputs, targets and labels for the test; ``read`` says which labels so many answers of the
    network stand for, -1 where an answer is none. ``rate`` is the learning rate, ``accuracy`` the
    share of unseen samples to get right. ``image`` is the height and width of an input that is an
    image from 0 (blank) to 1 (ink), row by row.
    """

    name: str
    parameters: Callable[[], Parameters]
    network: Callable[[Tensor, Tensor], Network]
    batch: Callable[[int], tuple[Tensor, Tensor]]
    unseen: Callable[[], tuple[Tensor, Tensor, Tensor]]
    read: Callable[[Sequence[Tensor | None], int], Tensor]
    steps: int
    rate: float
    accuracy: float
    image: tuple[int, int] | None = None


@dataclass(frozen=True)
class Run:
    """A training run: the cost at each step, where it led, the share of unseen samples that the
    trained network gets right, and, if it stopped early, the trouble.

    ``path[name][k]`` is the parameter after step k; ``read`` holds the label that the trained
    network gives each of the unseen samples.
    """

    costs: tuple[float, ...]
    path: Mapping[str, Tensor]
    accuracy: float | None
    trouble: Trouble | None = None
    read: Tensor | None = None

    @property
    def trail(self) -> tuple[Parameters, ...]:
        """All parameters after each step."""
        steps = range(len(self.costs))
        return tuple({name: rows[step] for name, rows in self.path.items()} for step in steps)


def train_candidate(task: Task, candidate: Candidate) -> Run:
    """Trains the task's network with the candidate's functions, all steps in one call.

    The candidate goes down its own gradients and tells each of them. The parameters are computed
    here, from those gradients and nothing else. Stops at the first trouble.
    """
    steps: list[Chained] = []
    trouble: Trouble | None = None
    for reply in candidate.perform(_steps(task)):
        if isinstance(reply, Trouble):
            trouble = reply
            break
        assert isinstance(reply, Chained)
        steps.append(reply)
    path = _path(task.parameters(), [step.gradient for step in steps], task.rate)
    run = Run(tuple(step.cost for step in steps), path, None, trouble)
    return run if trouble else _examined(run, task, candidate)


@cache
def train_reference(task: Task, references: tuple[tuple[str, Callable[..., Tensor]], ...]) -> Run:
    """The same training with plain differentiable torch; made once, as nothing in it varies."""
    functions = {name: _Reference(forward) for name, forward in references}
    return train_candidate(task, Workbench(functions, trusted=True))


@dataclass(frozen=True)
class _Reference:
    apply: Callable[..., Tensor]


@cache
def _steps(task: Task) -> tuple[Chain | Descend, ...]:
    """The first step lays the network out; each of the others goes on with another batch."""
    batches = [task.batch(step) for step in range(task.steps)]
    parameters = task.parameters()
    network = task.network(*batches[0])
    first = Chain(
        links=network.links,
        tensors={**parameters, **network.tensors},
        outputs=(),
        wrt=tuple(parameters),
        costs=dict.fromkeys(network.costs, 1 / len(network.costs)),
    )
    return first, *(
        Descend(task.rate, {} if batch is before else task.network(*batch).tensors)
        for before, batch in pairwise(batches)
    )


def _path(start: Parameters, gradients: Sequence[Tensor | None], rate: float) -> Parameters:
    """Where each parameter is after each step down the gradients."""
    origin = torch.cat([value.flatten() for value in start.values()])
    rows = torch.empty(len(gradients), len(origin), dtype=origin.dtype)
    for row, gradient in zip(rows, gradients, strict=True):
        row.copy_(_usable(gradient, origin))
    # In place, as these are the largest tensors of all.
    rows.cumsum_(0).mul_(-rate).add_(origin)
    parts = rows.split([value.numel() for value in start.values()], dim=1)
    shaped = zip(start.items(), parts, strict=True)
    return {name: part.reshape(len(rows), *value.shape) for (name, value), part in shaped}


def _usable(gradient: Tensor | None, origin: Tensor) -> Tensor:
    if gradient is None or gradient.shape != origin.shape or gradient.dtype != origin.dtype:
        return torch.full_like(origin, torch.nan)
    return gradient


@dataclass(frozen=True)
class _Part:
    """Some of the unseen samples: the network for them, up to its answers, and their labels."""

    links: tuple[Link, ...]
    tensors: Mapping[str, Tensor]
    answers: tuple[str, ...]
    labels: Tensor


@cache
def _exam(task: Task) -> tuple[_Part, ...]:
    # In parts, so that a slow but right forward stays within the time of a call.
    return tuple(
        _part(task.network(inputs, targets), labels)
        for inputs, targets, labels in zip(
            *(part.split(PART) for part in task.unseen()), strict=True
        )
    )


def _part(network: Network, labels: Tensor) -> _Part:
    links = tuple(link for link in network.links if link.output not in network.costs)
    used = {name for link in links for name in link.inputs}
    tensors = {name: value for name, value in network.tensors.items() if name in used}
    return _Part(links, tensors, network.answers, labels)


def _examined(run: Run, task: Task, candidate: Candidate) -> Run:
    """The run with the share of unseen samples that the network at its end gets right."""
    # Copies: whoever keeps one of them must not keep the whole path.
    trained = {name: rows[-1].clone() for name, rows in run.path.items()}
    parts = _exam(task)
    replies = candidate.perform(
        [Chain(part.links, {**trained, **part.tensors}, part.answers) for part in parts]
    )
    read: list[Tensor] = []
    for part, reply in zip(parts, replies, strict=True):
        if isinstance(reply, Trouble):
            return replace(run, trouble=reply)
        assert isinstance(reply, Chained)
        answers = [reply.outputs.get(name) for name in part.answers]
        read.append(task.read(answers, len(part.labels)))
    said = torch.cat(read)
    correct = int((said == torch.cat([part.labels for part in parts])).sum())
    return replace(run, accuracy=correct / len(said), read=said)
