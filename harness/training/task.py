"""Gradient descent through a chain of stages: the trusted loop, and its reference."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import Tensor

from harness.candidate.operations import Candidate, Chain, Chained, Descend, Link, Trouble, Value
from harness.candidate.workbench import Workbench

Parameters = dict[str, Tensor]
PART = 60


@dataclass(frozen=True)
class Network:
    """A network for some samples: its links, its values, its costs to average, its answers."""

    links: tuple[Link, ...]
    tensors: Mapping[str, Tensor]
    costs: tuple[str, ...]
    answers: tuple[str, ...]
    given: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Task:
    """A training: the network, its start, its data, and the accuracy to reach.

    ``network(inputs, targets)`` returns the network for a batch; the full cost is the average of
    its ``costs``. ``batch(step)`` returns the inputs and targets of a step, which differ in their
    values only (the same object means the same values), ``unseen()`` inputs, targets and labels
    for the test. ``read`` maps that many answers of the network to labels, -1 for an answer that
    is missing. ``rate`` is the learning rate, ``accuracy`` the share of unseen samples to get
    right; if it ``explains``, the share of their variance to explain (R²), and ``read`` returns
    numbers. ``image`` is the height and width of an input that is an image from 0 (blank) to 1
    (ink), row by row. ``files`` are those that the data are read from, ``place`` is the file and
    line of the declaration.
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
    explains: bool = False
    files: tuple[Path, ...] = ()
    place: str = ""

    def score(self, read: Tensor, labels: Tensor) -> float:
        """Return the share of labels read right, or R²; at least 0."""
        if not self.explains:
            return int((read == labels).sum()) / len(read)
        labels = labels.reshape(read.shape) if labels.numel() == read.numel() else labels
        left = ((read - labels) ** 2).sum() / ((labels - labels.mean(0)) ** 2).sum()
        return max(0.0, 1 - float(left)) if bool(left.isfinite()) else 0.0


@dataclass(frozen=True)
class Run:
    """A training run: the cost at each step, the parameters, and the accuracy on unseen samples.

    ``path[name][k]`` is the parameter after step k; ``read`` holds the trained network's label for
    each of the unseen samples. A run that stopped early has the ``trouble``. The accuracy of one
    that ``explains`` numbers is R².
    """

    costs: tuple[float, ...]
    path: Mapping[str, Tensor]
    accuracy: float | None
    trouble: Trouble | None = None
    read: Tensor | None = None
    explains: bool = False


def train_candidate(task: Task, candidate: Candidate) -> Run:
    """Train the task's network with the candidate's functions, all steps in one call.

    The candidate descends along its own gradients and reports them. The parameters are computed
    here, from those gradients and nothing else. Stop at the first trouble.
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
    return run if trouble else examined(run, task, candidate)


@cache
def train_reference(task: Task, references: tuple[tuple[str, Callable[..., Tensor]], ...]) -> Run:
    """Return the same training with plain differentiable torch, which is made only once."""
    return train_candidate(task, reference_candidate(references))


def reference_candidate(references: tuple[tuple[str, Callable[..., Tensor]], ...]) -> Candidate:
    """Return functions in plain differentiable torch, by name, as a candidate."""
    functions = {name: SimpleNamespace(apply=forward) for name, forward in references}
    return Workbench(functions, trusted=True)


@cache
def _steps(task: Task) -> tuple[Chain | Descend, ...]:
    """Return the operation that sets the network up, then one for every other batch."""
    batches = [task.batch(step) for step in range(task.steps)]
    parameters = task.parameters()
    network = task.network(*batches[0])
    first = Chain(
        links=network.links,
        tensors={**parameters, **network.tensors},
        outputs=(),
        wrt=tuple(parameters),
        costs=dict.fromkeys(network.costs, 1 / len(network.costs)),
        given=network.given,
    )
    return first, *(
        Descend(task.rate, {} if batch is before else task.network(*batch).tensors)
        for before, batch in pairwise(batches)
    )


def _path(start: Parameters, gradients: Sequence[Tensor | None], rate: float) -> Parameters:
    """Return every parameter after each step down the gradients; nan after an unusable one."""
    origin = torch.cat([value.flatten() for value in start.values()])
    rows = torch.empty(len(gradients), len(origin), dtype=origin.dtype)
    for row, gradient in zip(rows, gradients, strict=True):
        if gradient is None or gradient.shape != row.shape or gradient.dtype != row.dtype:
            row.fill_(torch.nan)
        else:
            row.copy_(gradient)
    # In place, as these are the largest tensors of all.
    rows.cumsum_(0).mul_(-rate).add_(origin)
    parts = rows.split([value.numel() for value in start.values()], dim=1)
    shaped = zip(start.items(), parts, strict=True)
    return {name: part.reshape(len(rows), *value.shape) for (name, value), part in shaped}


@cache
def _exam(task: Task) -> tuple[tuple[Network, Tensor], ...]:
    """Return the network up to its answers, and the labels, for all unseen samples in parts."""
    # In parts, so that a slow but right forward stays within the time of a call.
    parts = zip(*(part.split(PART) for part in task.unseen()), strict=True)
    return tuple((_answering(task.network(*sample)), labels) for *sample, labels in parts)


def _answering(network: Network) -> Network:
    """Return what of the network leads to its answers."""
    needed, links = set(network.answers), []
    for link in reversed(network.links):
        if needed & set(link.outputs):
            links.append(link)
            needed |= {name.rpartition("=")[2] for name in link.inputs}
    tensors = {name: value for name, value in network.tensors.items() if name in needed}
    return Network(tuple(reversed(links)), tensors, (), network.answers, network.given)


def examined(run: Run, task: Task, candidate: Candidate) -> Run:
    """Return the run with the share of unseen samples that the trained network gets right."""
    # Copies: whoever keeps one of them must not keep the whole path.
    trained = {name: rows[-1].clone() for name, rows in run.path.items()}
    exam = _exam(task)
    replies = candidate.perform(
        [
            Chain(each.links, {**trained, **each.tensors}, each.answers, given=each.given)
            for each, _ in exam
        ]
    )
    read: list[Tensor] = []
    for (network, labels), reply in zip(exam, replies, strict=True):
        if isinstance(reply, Trouble):
            return replace(run, trouble=reply)
        assert isinstance(reply, Chained)
        answers = [reply.outputs.get(name) for name in network.answers]
        read.append(task.read(answers, len(labels)))
    said = torch.cat(read)
    labels = torch.cat([labels for _, labels in exam])
    return replace(run, accuracy=task.score(said, labels), read=said, explains=task.explains)
