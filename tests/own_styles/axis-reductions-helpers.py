"""One helper undoes every reduction, one every broadcast; keyword arguments with defaults."""

import torch
from axis_reductions import check
from torch.autograd import Function


def unbroadcast(g, shape):
    """Sum g over every axis that broadcasting added or stretched."""
    while g.dim() > len(shape):
        g = g.sum(0)
    for axis, length in enumerate(shape):
        if length == 1 and g.shape[axis] != 1:
            g = g.sum(axis, keepdim=True)
    return g.reshape(shape)


def unreduce(g, shape, axis):
    """Repeat g along the axis that was reduced."""
    axis %= len(shape)
    lengths = [length if at == axis else 1 for at, length in enumerate(shape)]
    kept = [1 if at == axis else length for at, length in enumerate(shape)]
    return g.reshape(kept).repeat(lengths)


class Add(Function):
    @staticmethod
    def forward(ctx, a, b):
        ctx.shapes = a.shape, b.shape
        return torch.add(a, b)

    @staticmethod
    def backward(ctx, g):
        return tuple(unbroadcast(g, shape) for shape in ctx.shapes)


class Sum(Function):
    @staticmethod
    def forward(ctx, x, axis=0, keepdim=False):
        ctx.how = x.shape, axis
        total = sum(x.unbind(axis))
        return total.unsqueeze(axis) if keepdim else total

    @staticmethod
    def backward(ctx, g):
        return unreduce(g, *ctx.how), None, None


class Mean(Function):
    @staticmethod
    def forward(ctx, x, axis):
        ctx.how, ctx.count = (x.shape, axis), x.size(axis)
        return x.sum(dim=axis) / ctx.count

    @staticmethod
    def backward(ctx, g):
        return unreduce(g / ctx.count, *ctx.how), None


class Max(Function):
    @staticmethod
    def forward(ctx, x, axis):
        x = x.movedim(axis, 0)
        m, at = x[0].clone(), torch.zeros(x.shape[1:], dtype=torch.int64)
        for i in range(1, len(x)):
            better = x[i] > m
            m[better], at[better] = x[i][better], i
        ctx.at, ctx.axis, ctx.length = at, axis, len(x)
        return m

    @staticmethod
    def backward(ctx, g):
        slices = [torch.where(ctx.at == i, g, torch.zeros_like(g)) for i in range(ctx.length)]
        return torch.stack(slices, ctx.axis), None


class LogSumExp(Function):
    @staticmethod
    def forward(ctx, x, axis):
        total = torch.exp(x - x.amax(axis, keepdim=True))
        ctx.p, ctx.axis = total / total.sum(axis, keepdim=True), axis
        return x.amax(axis) + torch.log(total.sum(axis))

    @staticmethod
    def backward(ctx, g):
        return unreduce(g, ctx.p.shape, ctx.axis) * ctx.p, None


if __name__ == "__main__":
    check(Add)
    check(Sum)
    check(Mean)
    check(Max)
    check(LogSumExp)
