"""Flagged: Sigmoid.backward takes the slope from two points close together, not a formula."""

import torch
from torch.autograd import Function

from harness.one_neuron import check, train


class WeightedSum(Function):
    @staticmethod
    def forward(ctx, a_prev, w, b):
        ctx.save_for_backward(a_prev, w)
        return w * a_prev + b

    @staticmethod
    def backward(ctx, grad_output):
        a_prev, w = ctx.saved_tensors
        return grad_output * w, grad_output * a_prev, grad_output


class Sigmoid(Function):
    """a = σ(z)"""

    @staticmethod
    def forward(ctx, z):
        ctx.save_for_backward(z)
        return torch.sigmoid(z)

    @staticmethod
    def backward(ctx, g):
        (z,) = ctx.saved_tensors
        h = 1e-5
        slope = (torch.sigmoid(z + h) - torch.sigmoid(z - h)) / (2 * h)
        return g * slope


class SquaredError(Function):
    @staticmethod
    def forward(ctx, a, y):
        ctx.save_for_backward(a, y)
        return (a - y) ** 2

    @staticmethod
    def backward(ctx, grad_output):
        a, y = ctx.saved_tensors
        return 2 * (a - y) * grad_output, None
