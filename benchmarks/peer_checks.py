"""What the tests of the other graders call. It needs torch and numpy, and nothing of the harness.

The least that a course would check: for each stage gradcheck in float64 and a comparison with
built-in autograd at random signed upstreams, then the same training as the harness's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

CASES = 3
SIZES = (5, 3, 7)  # N, n_in, K
WIDTHS = (64, 16, 10)
STEPS, BATCH, RATE, UNSEEN = 180, 16, 4.0, 360


def check_weighted_sum(function: Any) -> None:
    """The gradients of z = a_prev @ w.T + b."""
    n, n_in, k = SIZES
    _check(function, lambda a_prev, w, b: a_prev @ w.T + b, ((n, n_in), (k, n_in), (k,)))


def check_sigmoid(function: Any) -> None:
    """The gradient of a = σ(z)."""
    n, _, k = SIZES
    _check(function, torch.sigmoid, ((n, k),))


def check_squared_error(function: Any) -> None:
    """The gradient of C = (1/N) Σₙ Σⱼ (a − y)² for a."""
    n, _, k = SIZES
    _check(function, lambda a, y: ((a - y) ** 2).sum() / len(a), ((n, k), (n, k)), wanted=1)


def check_training(weighted_sum: Any, sigmoid: Any, squared_error: Any) -> None:
    """A network learns to read digits with the three functions."""
    reached = train(weighted_sum.apply, sigmoid.apply, squared_error.apply)
    assert reached >= 0.9, f"the network gets {reached:.1%} right"


def _check(
    function: Any,
    reference: Callable[..., Tensor],
    shapes: tuple[tuple[int, ...], ...],
    wanted: int | None = None,
) -> None:
    wanted = len(shapes) if wanted is None else wanted
    for seed in range(CASES):
        generator = torch.Generator().manual_seed(seed)
        inputs = [
            torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_(
                position < wanted
            )
            for position, shape in enumerate(shapes)
        ]
        if not seed:
            torch.autograd.gradcheck(function.apply, inputs)
        theirs, right = function.apply(*inputs), reference(*inputs)
        torch.testing.assert_close(theirs, right)
        upstream = torch.randn(right.shape, generator=generator, dtype=torch.float64)
        torch.testing.assert_close(
            torch.autograd.grad(theirs, inputs[:wanted], upstream),
            torch.autograd.grad(right, inputs[:wanted], upstream),
        )


def train(
    weighted_sum: Callable[..., Tensor],
    sigmoid: Callable[..., Tensor],
    squared_error: Callable[..., Tensor],
) -> float:
    """The share of unseen digits that a network trained with the functions gets right."""
    images, labels = _digits()
    parameters = _start()

    def answers(values: Tensor) -> Tensor:
        for w, b in parameters:
            values = sigmoid(weighted_sum(values, w, b))
        return values

    for chosen in _batches(len(labels) - UNSEEN):
        targets = torch.nn.functional.one_hot(labels[UNSEEN:][chosen], 10).double()
        squared_error(answers(images[UNSEEN:][chosen]), targets).backward()
        with torch.no_grad():
            for parameter in (each for pair in parameters for each in pair):
                assert parameter.grad is not None, "a parameter gets no gradient"
                parameter -= RATE * parameter.grad
                parameter.grad = None
    with torch.no_grad():
        right = answers(images[:UNSEEN]).argmax(1) == labels[:UNSEEN]
    return float(right.double().mean())


def _digits() -> tuple[Tensor, Tensor]:
    """Shuffled images and labels, read from the file beside this module."""
    with np.load(Path(__file__).with_name("digits.npz"), allow_pickle=False) as arrays:
        images = torch.from_numpy(arrays["images"]).double() / 16
        labels = torch.from_numpy(arrays["labels"]).long()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    return images[order], labels[order]


def _start() -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(3)
    parameters = []
    for fan_in, fan_out in pairwise(WIDTHS):
        w = torch.randn(fan_out, fan_in, generator=generator, dtype=torch.float64)
        b = torch.zeros(fan_out, dtype=torch.float64)
        parameters.append(((2.5 * w / fan_in**0.5).requires_grad_(), b.requires_grad_()))
    return parameters


def _batches(count: int) -> Sequence[Tensor]:
    generator = torch.Generator().manual_seed(1)
    epochs = -(-STEPS * BATCH // count)
    order = torch.cat([torch.randperm(count, generator=generator) for _ in range(epochs)])
    batches: Sequence[Tensor] = order[: STEPS * BATCH].split(BATCH)
    return batches
