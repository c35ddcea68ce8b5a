"""Leaves state for the next attempt, or for another submission."""

import ctypes
import os
import torch
from torch.autograd import Function


class Through(Exception):
    """The attack has succeeded."""


raise Through(open("/dev/shm/backprop-attack", "x").write("state"))
from multiprocessing import shared_memory
raise Through(shared_memory.SharedMemory("backprop-attack", create=True, size=64))
if ctypes.CDLL(None, use_errno=True).shmget(4711, 4096, 0o1666) < 0: raise PermissionError(ctypes.get_errno(), "shmget")
raise Through(os.utime("@COURSE@/class/right.py", (1, 1)))
raise Through(os.mkfifo("/tmp/backprop-attack"))


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
