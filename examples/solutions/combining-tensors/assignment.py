"""Operations that combine several tensors."""

import torch
from torch import Tensor

from harness.declare import assignment, stage


def concatenate(axis: int, *x: Tensor) -> Tensor:
    """Return all tensors, joined along an axis."""
    return torch.cat(x, axis)


concat = stage("Concat", "axis, x*[N D] -> z", concatenate, inputs={"axis": [0, 1]})
bilinear = stage(
    "Bilinear",
    "x[N D], y[N E], w[K D E] -> s",
    lambda x, y, w: torch.einsum("nd,kde,ne->nk", x, w, y),
    gradients={
        "x": "einsum('nk,kde,ne->nd', g, w, y)",
        "y": "einsum('nk,kde,nd->ne', g, w, x)",
        "w": "einsum('nk,nd,ne->kde', g, x, y)",
    },
)
maxout = stage(
    "Maxout",
    "x[N D], w[P D K], b[P K] -> a",
    lambda x, w, b: (x @ w + b[:, None]).amax(0),
    where={
        "z": "x @ w + b.unsqueeze(1)",
        "best": "(z == a) * 1",
    },
    gradients={"w": "x.T @ (g * best)", "b": "(g * best).sum(1)"},
)

ASSIGNMENT = assignment("Combining tensors", stages=[concat, bilinear, maxout])
