"""The digits task: a 64-16-16-10 sigmoid network on the UCI handwritten digits."""

from collections.abc import Sequence
from functools import cache, partial
from itertools import pairwise

import torch
from torch import Tensor

from harness.training.datasets import load_digits
from harness.training.networks import batch_network
from harness.training.task import Parameters, Task

WIDTHS = (64, 16, 16, 10)
STEPS = 300
BATCH = 20
UNSEEN = 360
IMAGE = (8, 8)


@cache
def split_digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return images (1437, 64) and labels (1437,) to train with, and (360, 64), (360,) unseen.

    The order is shuffled once, always the same way. Images float64, labels int64.
    """
    images, labels = load_digits()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    images, labels = images[order], labels[order]
    return images[UNSEEN:], labels[UNSEEN:], images[:UNSEEN], labels[:UNSEEN]


def targets_of(labels: Tensor) -> Tensor:
    """Return a row for each label, (N, 10) float64: 1 at the digit, 0 elsewhere."""
    return torch.nn.functional.one_hot(labels, 10).to(torch.float64)


def _parameters() -> Parameters:
    # A start from which the reference passes with room to spare, at this rate and batch size.
    generator = torch.Generator().manual_seed(3)
    parameters: Parameters = {}
    for layer, (fan_in, fan_out) in enumerate(pairwise(WIDTHS), start=1):
        w = torch.randn(fan_out, fan_in, generator=generator, dtype=torch.float64)
        parameters[f"w{layer}"] = 3 * w / fan_in**0.5
        parameters[f"b{layer}"] = torch.zeros(fan_out, dtype=torch.float64)
    return parameters


@cache
def _order() -> Tensor:
    count = len(split_digits()[1])
    generator = torch.Generator().manual_seed(1)
    epochs = -(-STEPS * BATCH // count)
    return torch.cat([torch.randperm(count, generator=generator) for _ in range(epochs)])


def _batch(step: int) -> tuple[Tensor, Tensor]:
    images, labels, *_ = split_digits()
    chosen = _order()[step * BATCH : (step + 1) * BATCH]
    return images[chosen], targets_of(labels[chosen])


def _unseen() -> tuple[Tensor, Tensor, Tensor]:
    *_, images, labels = split_digits()
    return images, targets_of(labels), labels


def _read(answers: Sequence[Tensor | None], count: int) -> Tensor:
    (output,) = answers
    if output is None or output.shape != (count, WIDTHS[-1]):
        return torch.full((count,), -1)
    return output.argmax(1)


DIGITS = Task(
    name="to read handwritten digits",
    parameters=_parameters,
    network=partial(batch_network, len(WIDTHS) - 1),
    batch=_batch,
    unseen=_unseen,
    read=_read,
    steps=STEPS,
    rate=3.0,
    accuracy=0.90,
    image=IMAGE,
)
