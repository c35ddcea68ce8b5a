"""Scaled dot-product attention, without and with a mask."""

import torch
from torch import Tensor

from harness.declare import assignment, mask, stage


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Return for each query the average of the values, weighted by the softmax of the scores."""
    return torch.softmax(q @ k.mT / q.shape[-1] ** 0.5, -1) @ v


attention = stage(
    "Attention",
    "q[B T D], k[B S D], v[B S E] -> o",
    attend,
    where={
        "p": "softmax(q @ k.mT / D ** 0.5, 2)",
        "ds": "p * (g @ v.mT - (g * o).sum(2, keepdim=True)) / D ** 0.5",
    },
    gradients={"q": "ds @ k", "k": "ds.mT @ q", "v": "p.mT @ g"},
)


def attend_where(q: Tensor, k: Tensor, v: Tensor, allowed: Tensor) -> Tensor:
    """Return the same where each query sees only the allowed keys."""
    scores = q @ k.mT / q.shape[-1] ** 0.5
    return torch.softmax(scores.masked_fill(~allowed, -1e9), -1) @ v


masked_attention = stage(
    "MaskedAttention",
    "q[B T D], k[B S D], v[B S E], allowed[T S] -> o",
    attend_where,
    inputs={"allowed": mask()},
    where={"p": "softmax((q @ k.mT / D ** 0.5).masked_fill(~allowed, -1e9), 2)"},
    gradients={"v": "p.mT @ g"},
)

ASSIGNMENT = assignment("Attention", stages=[attention, masked_attention])
