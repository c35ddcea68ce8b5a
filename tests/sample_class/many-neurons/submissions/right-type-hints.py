"""Right: typed throughout, with annotations that are never evaluated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from harness.many_neurons import check, train

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor
    from torch.autograd.function import FunctionCtx


class WeightedSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, a_prev: Tensor, w: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(a_prev, w)
        return a_prev @ w.T + b

    @staticmethod
    def backward(ctx: FunctionCtx, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        (g,) = grads
        a_prev, w = saved(ctx)
        return g @ w, g.T @ a_prev, g.sum(0)


class Sigmoid(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, z: Tensor) -> Tensor:
        a: Tensor = torch.sigmoid(z)
        ctx.save_for_backward(a)
        return a

    @staticmethod
    def backward(ctx: FunctionCtx, *grads: Tensor) -> Tensor:
        (g,), (a,) = grads, saved(ctx)
        return g * a * (1 - a)


class SquaredError(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, a: Tensor, y: Tensor) -> Tensor:
        ctx.save_for_backward(a, y)
        return ((a - y) ** 2).sum() / len(a)

    @staticmethod
    def backward(ctx: FunctionCtx, *grads: Tensor) -> tuple[Tensor, None]:
        (g,), (a, y) = grads, saved(ctx)
        return g * 2 * (a - y) / len(a), None


def saved(ctx: Any) -> Sequence[Tensor]:
    return ctx.saved_tensors
