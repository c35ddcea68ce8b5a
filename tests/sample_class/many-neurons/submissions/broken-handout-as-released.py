"""Broken: the handout as it was released; every backward raises NotImplementedError."""

import torch
from torch.autograd import Function

from harness.many_neurons import check, train


class WeightedSum(Function):
    """z = a_prev @ w.T + b"""

    @staticmethod
    def forward(ctx, a_prev, w, b):
        ctx.save_for_backward(a_prev, w)
        return a_prev @ w.T + b

    @staticmethod
    def backward(ctx, g):
        # YOUR CODE HERE
        raise NotImplementedError()


class Sigmoid(Function):
    """a = σ(z)"""

    @staticmethod
    def forward(ctx, z):
        a = torch.sigmoid(z)
        ctx.save_for_backward(a)
        return a

    @staticmethod
    def backward(ctx, g):
        # YOUR CODE HERE
        raise NotImplementedError()


class SquaredError(Function):
    """C = (1/N) Σₙ Σⱼ (a − y)²"""

    @staticmethod
    def forward(ctx, a, y):
        ctx.save_for_backward(a, y)
        return ((a - y) ** 2).sum() / len(a)

    @staticmethod
    def backward(ctx, g):
        # YOUR CODE HERE
        raise NotImplementedError()
