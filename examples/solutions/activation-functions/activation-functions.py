"""A right solution of *Activation functions*."""

import math

import torch
from activation_functions import check
from torch.autograd import Function


class LeakyReLU(Function):
    """a = z where z is positive, slope · z elsewhere."""

    @staticmethod
    def forward(ctx, z, slope):
        ctx.save_for_backward(z)
        ctx.slope = slope
        return torch.where(z > 0, z, slope * z)

    @staticmethod
    def backward(ctx, g):
        (z,) = ctx.saved_tensors
        return torch.where(z > 0, g, ctx.slope * g), None


class Tanh(Function):
    """h = tanh(z)."""

    @staticmethod
    def forward(ctx, z):
        h = torch.tanh(z)
        ctx.save_for_backward(h)
        return h

    @staticmethod
    def backward(ctx, g):
        (h,) = ctx.saved_tensors
        return g * (1 - h**2)


class GELU(Function):
    """a = z / 2 · (1 + tanh(√(2/π) (z + 0.044715 z³)))."""

    @staticmethod
    def forward(ctx, z):
        t = torch.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3))
        ctx.save_for_backward(z, t)
        return z / 2 * (1 + t)

    @staticmethod
    def backward(ctx, g):
        z, t = ctx.saved_tensors
        inner_slope = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * z**2)
        return g * ((1 + t) / 2 + z / 2 * (1 - t**2) * inner_slope)


if __name__ == "__main__":
    check(LeakyReLU)
    check(Tanh)
    check(GELU)
