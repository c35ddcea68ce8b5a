"""A right solution of *Losses*."""

import torch
from classification_losses import check
from torch.autograd import Function


class LogSoftmax(Function):
    """l = s − log Σₖ exp(sₖ)."""

    @staticmethod
    def forward(ctx, s):
        shifted = s - s.max(1, keepdim=True).values
        l = shifted - shifted.exp().sum(1, keepdim=True).log()  # noqa: E741
        ctx.save_for_backward(l)
        return l

    @staticmethod
    def backward(ctx, g):
        (l,) = ctx.saved_tensors  # noqa: E741
        return g - l.exp() * g.sum(1, keepdim=True)


class NLL(Function):
    """C = −average of l at the labels."""

    @staticmethod
    def forward(ctx, l, y):  # noqa: E741
        ctx.save_for_backward(l, y)
        return -l[torch.arange(len(y)), y].sum() / len(y)

    @staticmethod
    def backward(ctx, g):
        l, y = ctx.saved_tensors  # noqa: E741
        dl = torch.zeros_like(l)
        dl[torch.arange(len(y)), y] = -g / len(y)
        return dl, None


class Hinge(Function):
    """C = average over the samples of Σⱼ max(0, sⱼ − s_y + margin), j ≠ y."""

    @staticmethod
    def forward(ctx, s, y, margin):
        rows = torch.arange(len(y))
        losses = (s - s[rows, y][:, None] + margin).clamp(min=0)
        losses[rows, y] = 0
        ctx.save_for_backward(losses, y)
        return losses.sum() / len(y)

    @staticmethod
    def backward(ctx, g):
        losses, y = ctx.saved_tensors
        ds = (losses > 0).to(losses.dtype)
        ds[torch.arange(len(y)), y] = -ds.sum(1)
        return g * ds / len(y), None, None


class BCEWithLogits(Function):
    """C = average of −y log σ(z) − (1 − y) log(1 − σ(z))."""

    @staticmethod
    def forward(ctx, z, y):
        ctx.save_for_backward(z, y)
        return (z.clamp(min=0) - z * y + torch.log1p(torch.exp(-z.abs()))).mean()

    @staticmethod
    def backward(ctx, g):
        z, y = ctx.saved_tensors
        return g * (torch.sigmoid(z) - y) / len(z), None


if __name__ == "__main__":
    check(LogSoftmax)
    check(NLL)
    check(Hinge)
    check(BCEWithLogits)
