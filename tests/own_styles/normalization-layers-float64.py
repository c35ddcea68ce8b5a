"""Computes in float64 whatever comes in, and returns what came in; backward in small steps."""

import torch
from normalization_layers import check


class LayerNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, gamma, beta, eps):
        ctx.save_for_backward(x, gamma)
        ctx.eps = eps
        centred = x.double() - x.double().mean(1, keepdim=True)
        variance = (centred * centred).mean(1, keepdim=True)
        return (gamma * (centred / torch.sqrt(variance + eps)) + beta).to(x.dtype)

    @staticmethod
    def backward(ctx, g):
        x, gamma = ctx.saved_tensors
        up, features = g.double(), x.shape[1]
        centred = x.double() - x.double().mean(1, keepdim=True)
        deviation = torch.sqrt((centred * centred).mean(1, keepdim=True) + ctx.eps)
        d_normal = up * gamma.double()
        d_deviation = -(d_normal * centred).sum(1, keepdim=True) / deviation**2
        d_variance = d_deviation / (2 * deviation)
        d_centred = d_normal / deviation + 2 * centred * d_variance / features
        dx = d_centred - d_centred.sum(1, keepdim=True) / features
        d_gamma = (up * centred / deviation).sum(0)
        return dx.to(x.dtype), d_gamma.to(gamma.dtype), up.sum(0).to(g.dtype), None


class BatchNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, gamma, beta, running_mean, running_var, momentum, eps):
        values = x.double()
        mean, centred = values.mean(0), values - values.mean(0)
        variance = centred.pow(2).sum(0) / len(x)
        with torch.no_grad():
            running_mean += momentum * (mean.to(x.dtype) - running_mean)
            running_var += momentum * (centred.pow(2).sum(0).div(len(x) - 1) - running_var)
        ctx.save_for_backward(centred, torch.sqrt(variance + eps), gamma)
        return (gamma * centred / torch.sqrt(variance + eps) + beta).to(x.dtype)

    @staticmethod
    def backward(ctx, g):
        centred, deviation, gamma = ctx.saved_tensors
        up, samples = g.double(), len(g)
        d_normal = up * gamma
        d_deviation = -(d_normal * centred).sum(0) / deviation**2
        d_centred = d_normal / deviation + centred * d_deviation / deviation / samples
        dx = d_centred - d_centred.mean(0)
        d_gamma = (up * centred / deviation).sum(0)
        return dx.to(g.dtype), d_gamma.to(g.dtype), g.sum(0), *[None] * 4


class Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, keep, p):
        ctx.scale = keep.double() / (1 - p)
        return (x * ctx.scale).to(x.dtype)

    @staticmethod
    def backward(ctx, g):
        return (g * ctx.scale).to(g.dtype), None, None


if __name__ == "__main__":
    check(LayerNorm)
    check(BatchNorm)
    check(Dropout)
