"""Right: the three classes inherit what they share from a base class, and one from a mixin."""

import torch
from torch.autograd import Function

from harness.many_neurons import check, train


class Step(Function):
    """Saves the inputs; a subclass says how to compute and how to go back."""

    @classmethod
    def compute(cls, *inputs):
        raise NotImplementedError(cls)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs, output)


class Elementwise:
    """For f applied to every element: the gradient is g f'."""

    @classmethod
    def back(cls, g, *saved):
        return g * cls.slope(*saved)


class WeightedSum(Step):
    @staticmethod
    def forward(a_prev, w, b):
        return a_prev @ w.T + b

    @staticmethod
    def backward(ctx, g):
        a_prev, w, b, z = ctx.saved_tensors
        return g @ w, g.T @ a_prev, g.sum(0)


class Sigmoid(Elementwise, Step):
    @staticmethod
    def slope(z, a):
        return a * (1 - a)

    @staticmethod
    def forward(z):
        return torch.sigmoid(z)

    @staticmethod
    def backward(ctx, g):
        return Sigmoid.back(g, *ctx.saved_tensors)


class SquaredError(Elementwise, Step):
    @staticmethod
    def slope(a, y, cost):
        return 2 * (a - y) / a.shape[0]

    @staticmethod
    def forward(a, y):
        return ((a - y) ** 2).sum(1).mean()

    @staticmethod
    def backward(ctx, g):
        grad = SquaredError.back(g, *ctx.saved_tensors)
        return grad, -grad
