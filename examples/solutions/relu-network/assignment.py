"""A ReLU network on spirals."""

import torch
from torch import Tensor
from torch.nn import functional as F

from harness.declare import assignment, classify, labels, stage

affine = stage("Affine", "x[N D], w[D K], b[K] -> z", lambda x, w, b: x @ w + b)
relu = stage("ReLU", "z[N K] -> a", torch.relu, gradients={"z": "g * (z > 0)"})
loss = stage(
    "CrossEntropy",
    "s[N K], y[N] -> C",
    F.cross_entropy,
    inputs={"y": labels("K")},
    where={"p": "softmax(s, 1)"},
    gradients={"s": "g * (p - one_hot(y, K)) / N"},
)


def net(x: Tensor, y: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> tuple[Tensor, ...]:
    """Return the cost and the scores of a network with one hidden layer."""
    s = affine(relu(affine(x, w1, b1)), w2, b2)
    return loss(s, y), s


spirals = classify("spirals.csv", steps=200, rate=1.0, at_least=0.85)
ASSIGNMENT = assignment(
    "A ReLU network", network=net, parameters={"w1": "D 32", "w2": "32 K"}, train=spirals
)
