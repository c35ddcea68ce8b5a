"""Right, and lazy: a gradient that nobody asked for is not computed."""

import torch
from torch.autograd import Function

from harness.many_neurons import check, train


class WeightedSum(Function):
    @staticmethod
    def forward(ctx, a_prev, w, b):
        need_a, need_w, need_b = ctx.needs_input_grad
        # only keep what backward is going to use
        ctx.save_for_backward(a_prev if need_w else None, w if need_a else None)
        return a_prev @ w.T + b

    @staticmethod
    def backward(ctx, g):
        a_prev, w = ctx.saved_tensors
        grad_a_prev = grad_w = grad_b = None
        if ctx.needs_input_grad[0]:
            grad_a_prev = g @ w
        if ctx.needs_input_grad[1]:
            grad_w = g.T @ a_prev
        if ctx.needs_input_grad[2]:
            grad_b = g.sum(0)
        return grad_a_prev, grad_w, grad_b


class Sigmoid(Function):
    @staticmethod
    def forward(ctx, z):
        a = torch.sigmoid(z)
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward(a)
        return a

    @staticmethod
    def backward(ctx, g):
        if not ctx.needs_input_grad[0]:
            return None
        (a,) = ctx.saved_tensors
        return g * a * (1 - a)


class SquaredError(Function):
    @staticmethod
    def forward(ctx, a, y):
        ctx.save_for_backward(a, y)
        return ((a - y) ** 2).sum() / a.size(0)

    @staticmethod
    def backward(ctx, g):
        a, y = ctx.saved_tensors
        grad_a = grad_y = None
        grad = 2 * g * (a - y) / a.size(0)
        if ctx.needs_input_grad[0]:
            grad_a = grad
        if ctx.needs_input_grad[1]:
            grad_y = -grad
        return grad_a, grad_y
