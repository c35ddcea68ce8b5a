"""Recurses too deep, and then as deep as the memory goes."""

import sys
import torch
from torch.autograd import Function


def deeper(n):
    return deeper(n + 1)


deeper(0)
sys.setrecursionlimit(10**9)
deeper(0)


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
