"""Wrong: p minus the truth is multiplied by the slope of the softmax once more."""

import torch
from torch.autograd import Function

from harness.classifier import check, train


class WeightedSum(Function):
    @staticmethod
    def forward(ctx, a_prev, w, b):
        ctx.save_for_backward(a_prev, w)
        return a_prev @ w.T + b

    @staticmethod
    def backward(ctx, g):
        a_prev, w = ctx.saved_tensors
        return g @ w, g.T @ a_prev, g.sum(0)


class ReLU(Function):
    @staticmethod
    def forward(ctx, z):
        ctx.save_for_backward(z)
        return z.clamp(min=0)

    @staticmethod
    def backward(ctx, g):
        (z,) = ctx.saved_tensors
        return g * (z > 0)


class CrossEntropy(Function):
    @staticmethod
    def forward(ctx, z, y):
        shifted = z - z.max(1, keepdim=True).values
        log_p = shifted - shifted.exp().sum(1, keepdim=True).log()
        ctx.save_for_backward(log_p, y)
        return -log_p[torch.arange(len(y)), y].sum() / len(y)

    @staticmethod
    def backward(ctx, g):
        log_p, y = ctx.saved_tensors
        grad = log_p.exp()
        grad[torch.arange(len(y)), y] -= 1
        p = log_p.exp()
        grad = grad * p * (1 - p)
        return g * grad / len(y), None
