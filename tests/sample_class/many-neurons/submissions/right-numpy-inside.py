"""Right: numpy does the work, torch only carries the tensors in and out."""

import numpy as np
import torch


class WeightedSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a_prev, w, b):
        ctx.arrays = a_prev.detach().numpy(), w.detach().numpy()
        z = ctx.arrays[0] @ ctx.arrays[1].T + b.detach().numpy()
        return torch.from_numpy(z)

    @staticmethod
    def backward(ctx, g):
        a_prev, w = ctx.arrays
        g = g.numpy()
        grads = np.dot(g, w), np.dot(g.T, a_prev), np.sum(g, axis=0)
        return tuple(torch.from_numpy(grad) for grad in grads)


class Sigmoid(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z):
        z = z.detach().numpy()
        with np.errstate(over="ignore"):
            a = 1.0 / (1.0 + np.exp(-z))
        ctx.a = a
        return torch.from_numpy(a.copy())

    @staticmethod
    def backward(ctx, g):
        return torch.from_numpy(g.numpy() * ctx.a * (1 - ctx.a))


class SquaredError(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a, y):
        ctx.error = a.detach().numpy() - y.detach().numpy()
        return torch.tensor(np.sum(ctx.error**2) / len(ctx.error))

    @staticmethod
    def backward(ctx, g):
        return torch.from_numpy(g.item() * 2 * ctx.error / len(ctx.error)), None
