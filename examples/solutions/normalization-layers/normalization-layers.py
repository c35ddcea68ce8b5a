"""A right solution of *Normalization and dropout*."""

import torch
from normalization_layers import check
from torch.autograd import Function


class LayerNorm(Function):
    """h = gamma · (x − mean) / √(variance + eps) + beta, each row by itself."""

    @staticmethod
    def forward(ctx, x, gamma, beta, eps):
        centred = x - x.mean(1, keepdim=True)
        r = torch.rsqrt((centred**2).mean(1, keepdim=True) + eps)
        n = centred * r
        ctx.save_for_backward(n, r, gamma)
        return gamma * n + beta

    @staticmethod
    def backward(ctx, g):
        n, r, gamma = ctx.saved_tensors
        dn = g * gamma
        dx = r * (dn - dn.mean(1, keepdim=True) - n * (dn * n).mean(1, keepdim=True))
        return dx, (g * n).sum(0), g.sum(0), None


class BatchNorm(Function):
    """h = gamma · (x − mean) / √(variance + eps) + beta, each column over the batch."""

    @staticmethod
    def forward(ctx, x, gamma, beta, running_mean, running_var, momentum, eps):
        mean, var = x.mean(0), x.var(0, correction=0)
        running_mean.mul_(1 - momentum).add_(momentum * mean)
        running_var.mul_(1 - momentum).add_(momentum * var * len(x) / (len(x) - 1))
        r = torch.rsqrt(var + eps)
        n = (x - mean) * r
        ctx.save_for_backward(n, r, gamma)
        return gamma * n + beta

    @staticmethod
    def backward(ctx, g):
        n, r, gamma = ctx.saved_tensors
        dgamma, dbeta = (g * n).sum(0), g.sum(0)
        dx = gamma * r / len(g) * (len(g) * g - dbeta - n * dgamma)
        return dx, dgamma, dbeta, None, None, None, None


class Dropout(Function):
    """a = x / (1 − p) where x is kept, 0 elsewhere."""

    @staticmethod
    def forward(ctx, x, keep, p):
        ctx.save_for_backward(keep)
        ctx.p = p
        return x * keep / (1 - p)

    @staticmethod
    def backward(ctx, g):
        (keep,) = ctx.saved_tensors
        return g * keep / (1 - ctx.p), None, None


if __name__ == "__main__":
    check(LayerNorm)
    check(BatchNorm)
    check(Dropout)
