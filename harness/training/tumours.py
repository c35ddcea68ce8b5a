"""The tumours task: a chain of two neurons on one measured feature, with a binary label."""

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from harness.candidate.operations import Link
from harness.language import tr
from harness.training.datasets import load_concave_points
from harness.training.task import Network, Parameters, Task

LAYERS = 2
SEEN = 16
UNSEEN = 64


@cache
def split_tumours() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return values (32,) and labels (32,) to train with, and (128,), (128,) unseen; float64.

    Both parts are balanced: half benign (0), half malignant (1). The values are standardised
    with the mean and standard deviation of the training part. The choice is always the same.
    """
    values, labels = load_concave_points()
    generator = torch.Generator().manual_seed(0)
    seen, unseen = [], []
    for label in (0.0, 1.0):
        found = torch.nonzero(labels == label).flatten()
        found = found[torch.randperm(len(found), generator=generator)]
        seen.append(found[:SEEN])
        unseen.append(found[SEEN : SEEN + UNSEEN])
    train, test = torch.cat(seen), torch.cat(unseen)
    mean, deviation = values[train].mean(), values[train].std()
    values = (values - mean) / deviation
    return values[train], labels[train], values[test], labels[test]


def _parameters() -> Parameters:
    start = {"w1": 0.5, "b1": 0.5, "w2": 1.0, "b2": -0.5}
    return {name: torch.tensor(value, dtype=torch.float64) for name, value in start.items()}


def _network(inputs: Tensor, targets: Tensor) -> Network:
    """Return a chain of neurons for each sample, a0 → z1 → a1 → … → C; all share w1, b1, w2."""
    links: list[Link] = []
    for at in range(len(inputs)):
        for layer in range(1, LAYERS + 1):
            z, a = f"z{layer}_{at}", f"a{layer}_{at}"
            into = (f"a{layer - 1}_{at}", f"w{layer}", f"b{layer}")
            links += [Link("WeightedSum", into, (z,)), Link("Sigmoid", (z,), (a,))]
        links.append(Link("SquaredError", (f"a{LAYERS}_{at}", f"y_{at}"), (f"C_{at}",)))
    tensors = {f"a0_{at}": value for at, value in enumerate(inputs)}
    tensors |= {f"y_{at}": value for at, value in enumerate(targets)}
    costs, answers = ([f"{of}_{at}" for at in range(len(inputs))] for of in ("C", f"a{LAYERS}"))
    return Network(tuple(links), tensors, tuple(costs), tuple(answers))


@cache
def _all_seen() -> tuple[Tensor, Tensor]:
    values, labels, *_ = split_tumours()
    return values, labels


def _unseen() -> tuple[Tensor, Tensor, Tensor]:
    *_, values, labels = split_tumours()
    return values, labels, labels


def _read(answers: Sequence[Tensor | None], count: int) -> Tensor:
    read = [
        -1.0 if answer is None or answer.numel() != 1 else float(float(answer) > 0.5)
        for answer in answers
    ]
    return torch.tensor(read, dtype=torch.float64)


TUMOURS = Task(
    name=tr("to tell malignant tumours from benign ones"),
    parameters=_parameters,
    network=_network,
    batch=lambda step: _all_seen(),
    unseen=_unseen,
    read=_read,
    steps=30,
    rate=5.0,
    accuracy=0.85,
)
