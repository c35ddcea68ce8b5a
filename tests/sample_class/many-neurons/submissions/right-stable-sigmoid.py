"""Right: the sigmoid is rewritten so that no exponential can overflow, forward and backward."""

import torch
from torch.autograd import Function

from harness.many_neurons import check, train


def stable_sigmoid(z):
    positive = z >= 0
    e = torch.exp(torch.where(positive, -z, z))
    return torch.where(positive, 1, e) / (1 + e)


class WeightedSum(Function):
    @staticmethod
    def forward(ctx, a_prev, w, b):
        ctx.save_for_backward(a_prev, w)
        return a_prev @ w.T + b

    @staticmethod
    def backward(ctx, g):
        a_prev, w = ctx.saved_tensors
        return g @ w, (a_prev.T @ g).T, torch.ones(len(g), dtype=g.dtype) @ g


class Sigmoid(Function):
    @staticmethod
    def forward(ctx, z):
        ctx.save_for_backward(z)
        return stable_sigmoid(z)

    @staticmethod
    def backward(ctx, g):
        (z,) = ctx.saved_tensors
        return g * stable_sigmoid(z) * stable_sigmoid(-z)


class SquaredError(Function):
    @staticmethod
    def forward(ctx, a, y):
        ctx.save_for_backward(a, y)
        return torch.nn.functional.mse_loss(a, y) * a.shape[1]

    @staticmethod
    def backward(ctx, g):
        a, y = ctx.saved_tensors
        return g * (a - y).mul(2).div(a.shape[0]), None
