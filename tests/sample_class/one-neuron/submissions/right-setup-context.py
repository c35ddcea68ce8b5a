"""Right: forward has no ctx, setup_context saves, and one backward is once_differentiable."""

import torch
from torch.autograd.function import once_differentiable

from harness.one_neuron import check


class WeightedSum(torch.autograd.Function):
    @staticmethod
    def forward(a_prev, w, b):
        return w * a_prev + b

    @staticmethod
    def setup_context(ctx, inputs, output):
        a_prev, w, b = inputs
        ctx.save_for_backward(a_prev, w)

    @staticmethod
    def backward(ctx, g):
        a_prev, w = ctx.saved_tensors
        return g * w, g * a_prev, g.clone()


class Sigmoid(torch.autograd.Function):
    @staticmethod
    def forward(z):
        return 1 / (1 + torch.exp(-z))

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(output)

    @staticmethod
    @once_differentiable
    def backward(ctx, g):
        a = ctx.saved_tensors[0]
        return g * (a - a**2)


class SquaredError(torch.autograd.Function):
    @staticmethod
    def forward(a, y):
        return (a - y).square()

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, g):
        a, y = ctx.saved_tensors
        return g * 2 * (a - y), None
