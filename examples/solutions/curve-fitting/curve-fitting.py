"""A right solution of *Curve fitting*."""

import torch
from curve_fitting import check, train
from torch.autograd import Function


class Affine(Function):
    """z = x @ w + b."""

    @staticmethod
    def forward(ctx, x, w, b):
        ctx.save_for_backward(x, w)
        return x @ w + b

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        return g @ w.T, x.T @ g, g.sum(0)


class Softplus(Function):
    """a = log(1 + exp(beta · z)) / beta."""

    @staticmethod
    def forward(ctx, z, beta):
        ctx.save_for_backward(z)
        ctx.beta = beta
        return z.clamp(min=0) + torch.log1p(torch.exp(-beta * z.abs())) / beta

    @staticmethod
    def backward(ctx, g):
        (z,) = ctx.saved_tensors
        return g * torch.sigmoid(ctx.beta * z), None


class Huber(Function):
    """C = the average of d²/2 where |d| is at most delta, of delta · (|d| − delta/2) elsewhere."""

    @staticmethod
    def forward(ctx, a, y, delta):
        d = a - y
        ctx.save_for_backward(d)
        ctx.delta = delta
        far = delta * (d.abs() - delta / 2)
        return torch.where(d.abs() <= delta, d**2 / 2, far).mean()

    @staticmethod
    def backward(ctx, g):
        (d,) = ctx.saved_tensors
        da = g * d.clamp(-ctx.delta, ctx.delta) / d.numel()
        return da, -da, None


if __name__ == "__main__":
    check(Affine)
    check(Softplus)
    check(Huber)
    train(Affine, Softplus, Huber)
