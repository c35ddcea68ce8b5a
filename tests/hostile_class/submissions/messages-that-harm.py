"""Raises exceptions whose messages raise, exit, are huge, or hold escapes and markup."""

import torch
from torch.autograd import Function


class Harm(Exception):
    def __str__(self):
        return self.args[0]()


def fall():
    raise RuntimeError("in __str__")


raise Harm(fall)
raise Harm(lambda: "x" * 10**8)
raise Harm(lambda: "\x1b[2J\x1b]0;title\x07[red]markup[/red]<script>alert(1)</script>\u202e")
raise Harm(lambda: 7)
raise type("[red]<b>\x1b[31m", (Exception,), {})("name")


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
