"""Allocates without end: at once, in steps, by torch, by maps, and locked."""

import ctypes
import mmap
import torch
from torch.autograd import Function


class Through(Exception):
    """The attack has succeeded."""


raise Through(len(bytearray(2**40)))
raise Through(len([bytearray(2**28) for _ in range(100)]))
raise Through(len([torch.empty(2**25, dtype=torch.float64) for _ in range(100)]))
raise Through(len([mmap.mmap(-1, 2**28) for _ in range(100)]))
if ctypes.CDLL(None, use_errno=True).mlockall(3): raise PermissionError(ctypes.get_errno(), "mlockall")


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
