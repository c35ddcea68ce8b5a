"""Wrong: the 2 is lost in the gradient of the square."""

import torch
from torch.autograd import Function

from harness.one_neuron import check, train


class WeightedSum(Function):
    @staticmethod
    def forward(ctx, a_prev, w, b):
        ctx.save_for_backward(a_prev, w)
        return w * a_prev + b

    @staticmethod
    def backward(ctx, g):
        a_prev, w = ctx.saved_tensors
        return g * w, g * a_prev, g


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
        return (a - y) ** 2

    @staticmethod
    def backward(ctx, g):
        a, y = ctx.saved_tensors
        return g * (a - y), None
