"""A right solution of *Reductions*."""

import torch
from axis_reductions import check
from torch.autograd import Function


class Add(Function):
    """z = a + b, where a is repeated along its second axis and b along the first."""

    @staticmethod
    def forward(ctx, a, b):
        return a + b

    @staticmethod
    def backward(ctx, g):
        return g.sum(1, keepdim=True), g.sum(0)


class Sum(Function):
    """s = the sum of x along an axis."""

    @staticmethod
    def forward(ctx, x, axis, keepdim):
        ctx.shape, ctx.axis, ctx.keepdim = x.shape, axis, keepdim
        return x.sum(axis, keepdim)

    @staticmethod
    def backward(ctx, g):
        if not ctx.keepdim:
            g = g.unsqueeze(ctx.axis)
        return g.expand(ctx.shape), None, None


class Mean(Function):
    """m = the mean of x along an axis."""

    @staticmethod
    def forward(ctx, x, axis):
        ctx.shape, ctx.axis = x.shape, axis
        return x.mean(axis)

    @staticmethod
    def backward(ctx, g):
        return g.unsqueeze(ctx.axis).expand(ctx.shape) / ctx.shape[ctx.axis], None


class Max(Function):
    """m = the largest entry along an axis."""

    @staticmethod
    def forward(ctx, x, axis):
        m, at = x.max(axis)
        ctx.save_for_backward(x, at)
        ctx.axis = axis
        return m

    @staticmethod
    def backward(ctx, g):
        x, at = ctx.saved_tensors
        at, g = at.unsqueeze(ctx.axis), g.unsqueeze(ctx.axis)
        return torch.zeros_like(x).scatter(ctx.axis, at, g), None


class LogSumExp(Function):
    """l = log Σ exp(x) along an axis."""

    @staticmethod
    def forward(ctx, x, axis):
        top = x.amax(axis, keepdim=True)
        l = (x - top).exp().sum(axis, keepdim=True).log() + top  # noqa: E741
        ctx.save_for_backward(x, l)
        ctx.axis = axis
        return l.squeeze(axis)

    @staticmethod
    def backward(ctx, g):
        x, l = ctx.saved_tensors  # noqa: E741
        return g.unsqueeze(ctx.axis) * (x - l).exp(), None


if __name__ == "__main__":
    check(Add)
    check(Sum)
    check(Mean)
    check(Max)
    check(LogSumExp)
