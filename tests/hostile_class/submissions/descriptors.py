"""Opens as many files as it can, and devices that are not for it."""

import glob
import os
import torch
from torch.autograd import Function


class Through(Exception):
    """The attack has succeeded."""


raise Through(os.open("/dev/ptmx", os.O_RDWR))
raise Through(os.open("/dev/tty", os.O_RDWR))
raise Through(os.open("/sys/kernel/mm/transparent_hugepage/enabled", os.O_RDONLY))
if glob.glob("/proc/[0-9]*/*") or glob.glob("/dev/*") or glob.glob("/sys/*"): raise Through("listed")
raise Through([os.open("/dev/null", 0) for _ in range(100)])


class WeightedSum(Function):
    @staticmethod
    def forward(ctx, a_prev, w, b):
        ctx.save_for_backward(a_prev, w)
        return a_prev @ w.T + b

    @staticmethod
    def backward(ctx, g):
        a_prev, w = ctx.saved_tensors
        return g @ w, g.T @ a_prev, g.sum(0)


class Sigmoid(Function):
    @staticmethod
    def forward(ctx, z):
        a = torch.sigmoid(z)
        ctx.save_for_backward(a)
        return a

    @staticmethod
    def backward(ctx, g):
        (a,) = ctx.saved_tensors
        return g * a * (1 - a)


class SquaredError(Function):
    @staticmethod
    def forward(ctx, a, y):
        ctx.save_for_backward(a, y)
        return ((a - y) ** 2).sum() / len(a)

    @staticmethod
    def backward(ctx, g):
        a, y = ctx.saved_tensors
        return g * 2 * (a - y) / len(a), None
