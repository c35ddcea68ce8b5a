"""A submission to one-neuron whose Sigmoid.backward forgets a factor; all else is right."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function


class WeightedSum(Function):
    """z = w * a_prev + b."""

    @staticmethod
    def forward(ctx: Any, a_prev: Tensor, w: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(a_prev, w)
        return w * a_prev + b

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        a_prev, w = ctx.saved_tensors
        return g * w, g * a_prev, g


class Sigmoid(Function):
    """a = sigmoid(z)."""

    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        a = torch.sigmoid(z)
        ctx.save_for_backward(a)
        return a

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        (a,) = ctx.saved_tensors
        return torch.mul(g, a)


class SquaredError(Function):
    """C = (a - y)²."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, y: Tensor) -> Tensor:
        ctx.save_for_backward(a, y)
        return (a - y) ** 2

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        a, y = ctx.saved_tensors
        return g * 2 * (a - y), None
