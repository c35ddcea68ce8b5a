"""Right and slow: Python loops over the samples, one outer product after the other."""

import math

import torch
from torch.autograd import Function

from harness.many_neurons import check


class WeightedSum(Function):
    @staticmethod
    def forward(ctx, a_prev, w, b):
        ctx.save_for_backward(a_prev, w)
        rows = [w @ sample + b for sample in a_prev]
        return torch.stack(rows)

    @staticmethod
    def backward(ctx, g):
        a_prev, w = ctx.saved_tensors
        grad_a_prev = torch.zeros_like(a_prev)
        grad_w = torch.zeros_like(w)
        grad_b = torch.zeros(w.shape[0], dtype=w.dtype)
        for n in range(len(a_prev)):
            # one sample: z = w a_prev + b, as with one neuron, only with a matrix
            grad_a_prev[n] = w.T @ g[n]
            grad_w += torch.outer(g[n], a_prev[n])
            grad_b += g[n]
        return grad_a_prev, grad_w, grad_b


class Sigmoid(Function):
    @staticmethod
    def forward(ctx, z):
        a = torch.sigmoid(z)
        ctx.save_for_backward(a)
        return a

    @staticmethod
    def backward(ctx, g):
        (a,) = ctx.saved_tensors
        grad = torch.empty(a.shape, dtype=a.dtype)
        for n, row in enumerate(a):
            grad[n] = g[n] * row * (1 - row)
        return grad


class SquaredError(Function):
    @staticmethod
    def forward(ctx, a, y):
        ctx.save_for_backward(a, y)
        cost = 0.0
        for sample, target in zip(a, y):
            cost = cost + math.fsum(((sample - target) ** 2).tolist())
        return torch.tensor(cost / len(a), dtype=a.dtype)

    @staticmethod
    def backward(ctx, g):
        a, y = ctx.saved_tensors
        rows = [g * 2 * (sample - target) / len(a) for sample, target in zip(a, y)]
        return torch.stack(rows), None


if __name__ == "__main__":
    print(check(WeightedSum, Sigmoid, SquaredError))
