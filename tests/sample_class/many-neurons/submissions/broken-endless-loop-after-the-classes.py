"""Broken: the training loop at the end of the file never ends; the classes are right."""

import torch
from torch.autograd import Function

from harness.many_neurons import check, train


class WeightedSum(Function):
    @staticmethod
    def forward(ctx, a_prev, w, b):
        ctx.save_for_backward(a_prev, w)
        return a_prev @ w.T + b

    @staticmethod
    def backward(ctx, g):
        a_prev, w = ctx.saved_tensors
        return g @ w, g.T @ a_prev, g.sum(0)


class Sigmoid(Function):
    @staticmethod
    def forward(ctx, z):
        a = torch.sigmoid(z)
        ctx.save_for_backward(a)
        return a

    @staticmethod
    def backward(ctx, g):
        (a,) = ctx.saved_tensors
        return g * a * (1 - a)


class SquaredError(Function):
    @staticmethod
    def forward(ctx, a, y):
        ctx.save_for_backward(a, y)
        return ((a - y) ** 2).sum() / len(a)

    @staticmethod
    def backward(ctx, g):
        a, y = ctx.saved_tensors
        return g * 2 * (a - y) / len(a), None


x, y = torch.rand(8, 3), torch.rand(8, 2)
w = torch.zeros(2, 3, requires_grad=True)
b = torch.zeros(2, requires_grad=True)
cost = torch.tensor(1.0)
while cost > 0.0001:
    cost = SquaredError.apply(Sigmoid.apply(WeightedSum.apply(x, w, b)), y)
