"""Right, but the file begins by importing a plotting library that only this student has."""

import torch
import my_pretty_plots as mpp
from torch.autograd import Function

from harness.one_neuron import check, train

mpp.use_dark_theme()


class WeightedSum(Function):
    @staticmethod
    def forward(ctx, a_prev, w, b):
        ctx.save_for_backward(a_prev, w)
        return w * a_prev + b

    @staticmethod
    def backward(ctx, g):
        a_prev, w = ctx.saved_tensors
        return (g * w, g * a_prev, g)


class Sigmoid(Function):
    @staticmethod
    def forward(ctx, z):
        a = z.sigmoid()
        ctx.save_for_backward(a)
        return a

    @staticmethod
    def backward(ctx, g):
        a = ctx.saved_tensors[0]
        return g * a * (1.0 - a)


class SquaredError(Function):
    @staticmethod
    def forward(ctx, a, y):
        ctx.save_for_backward(a, y)
        return (a - y).pow(2)

    @staticmethod
    def backward(ctx, g):
        a, y = ctx.saved_tensors
        return 2 * g * (a - y), None


z = torch.linspace(-6, 6, 200)
mpp.plot(z, torch.sigmoid(z), title="sigmoid")

if __name__ == "__main__":
    print(check(WeightedSum, Sigmoid, SquaredError))
