"""Right and slow: the cross-entropy loops over the samples and adds up what it finds."""

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
        ctx.save_for_backward(z, y)
        total = z.new_zeros(())
        for scores, label in zip(z, y):
            total = total + torch.logsumexp(scores, 0) - scores[label]
        return total / len(z)

    @staticmethod
    def backward(ctx, g):
        z, y = ctx.saved_tensors
        rows = []
        for scores, label in zip(z, y):
            row = torch.softmax(scores, 0)
            row[label] = row[label] - 1
            rows.append(g * row / len(z))
        return torch.stack(rows), None
