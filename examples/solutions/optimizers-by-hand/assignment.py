"""Four optimizers: momentum, Nesterov's momentum, Adam, and descent with clipped gradients."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from harness.declare import assignment, classify, labels, optimizer, stage

momentum = optimizer("Momentum", torch.optim.SGD, [{"lr": 0.1, "momentum": 0.9}])
nesterov = optimizer("Nesterov", torch.optim.SGD, [{"lr": 0.1, "momentum": 0.9, "nesterov": True}])
adam = optimizer("Adam", torch.optim.Adam, [{"lr": 0.05, "betas": (0.9, 0.99)}])


def clipped(
    p: Tensor, g: Tensor, state: dict[str, Any], *, lr: float, max_norm: float, total_norm: Any
) -> Tensor:
    """Return the parameter after a step along the gradient, scaled down to the largest norm."""
    g = g * min(1, max_norm / total_norm)
    return p - lr * g


clipping = optimizer("ClippedSGD", clipped, [{"lr": 0.5, "max_norm": 1.0}])

affine = stage("Affine", "x[N D], w[D K], b[K] -> z", lambda x, w, b: x @ w + b)
tanh = stage("Tanh", "z[N K] -> a", torch.tanh)
loss = stage("CrossEntropy", "s[N K], y[N] -> C", F.cross_entropy, inputs={"y": labels("K")})


def net(x: Tensor, y: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> tuple[Tensor, ...]:
    """Return the cost and the scores of a network with one hidden layer."""
    s = affine(tanh(affine(x, w1, b1)), w2, b2)
    return loss(s, y), s


def moons() -> tuple[Tensor, Tensor]:
    """Return points of two half circles that reach into each other, and which each belongs to."""
    generator = torch.Generator().manual_seed(0)
    angles = torch.rand(300, generator=generator, dtype=torch.float64) * torch.pi
    y = torch.arange(300) % 2
    x = torch.stack([angles.cos() + y, angles.sin() * (1 - 2 * y) + 0.4 * y], 1)
    return x + 0.08 * torch.randn(300, 2, generator=generator, dtype=torch.float64), y


ASSIGNMENT = assignment(
    "Optimizers by hand",
    [momentum, nesterov, adam, clipping],
    network=net,
    parameters={"w1": "D 16", "w2": "16 K"},
    train=classify(moons, steps=60, rate=0.5, at_least=0.9, name="to tell two moons apart"),
)
