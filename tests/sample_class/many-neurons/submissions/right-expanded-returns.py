"""Right: what backward returns are views, expanded and transposed ones."""

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
        return (w.T @ g.T).T, (a_prev.T @ g).T, g.sum(0).expand(w.shape[0])


class Sigmoid(Function):
    @staticmethod
    def forward(ctx, z):
        a = torch.sigmoid(z)
        ctx.save_for_backward(a)
        return a

    @staticmethod
    def backward(ctx, g):
        (a,) = ctx.saved_tensors
        return (g * a * (1 - a)).expand(a.shape)


class SquaredError(Function):
    @staticmethod
    def forward(ctx, a, y):
        ctx.save_for_backward(a - y)
        return ((a - y) ** 2).sum() / len(a)

    @staticmethod
    def backward(ctx, g):
        (e,) = ctx.saved_tensors
        share = (2 * g / len(e)).expand_as(e)
        return share * e, None


# The average as a Function of its own: every entry gets the same gradient.
class Average(Function):
    @staticmethod
    def forward(ctx, c):
        ctx.shape = c.shape
        return c.sum() / len(c)

    @staticmethod
    def backward(ctx, g):
        return (g / ctx.shape[0]).expand(ctx.shape)


a = torch.rand(4, 3, dtype=torch.float64, requires_grad=True)
y = torch.rand(4, 3, dtype=torch.float64)
(mine,) = torch.autograd.grad(Average.apply((a - y) ** 2), a)
(whole,) = torch.autograd.grad(SquaredError.apply(a, y), a)
print("difference:", (mine - whole).abs().max().item())
