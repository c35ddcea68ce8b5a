"""Layer norm, batch norm as in training, and dropout."""

from torch import Tensor
from torch.nn import functional as F

from harness.declare import assignment, buffer, mask, positive, stage


def normalize_rows(x: Tensor, gamma: Tensor, beta: Tensor, eps: float) -> Tensor:
    """Return each row of x with mean 0 and variance 1, scaled by gamma and shifted by beta."""
    variance, mean = x.var(1, correction=0, keepdim=True), x.mean(1, keepdim=True)
    return gamma * (x - mean) / (variance + eps).sqrt() + beta


layer_norm = stage(
    "LayerNorm",
    "x[N D], gamma[D], beta[D], eps -> h",
    normalize_rows,
    inputs={"eps": [1e-5]},
    where={
        "r": "1 / (x.var(1, correction=0, keepdim=True) + eps).sqrt()",
        "n": "(x - x.mean(1, keepdim=True)) * r",
    },
    gradients={"gamma": "(g * n).sum(0)", "beta": "g.sum(0)"},
)


def batch_norm_training(
    x: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, var: Tensor, momentum: float, eps: float
) -> Tensor:
    """Return each column of x normalized over the batch; move the running mean and variance."""
    return F.batch_norm(x, mean, var, gamma, beta, training=True, momentum=momentum, eps=eps)


batch_norm = stage(
    "BatchNorm",
    "x[N D], gamma[D], beta[D], running_mean[D], running_var[D], momentum, eps -> h",
    batch_norm_training,
    inputs={
        "running_mean": buffer(),
        "running_var": buffer(positive()),
        "momentum": [0.1, 0.5],
        "eps": [1e-5],
    },
    where={"r": "1 / (x.var(0, correction=0) + eps).sqrt()", "n": "(x - x.mean(0)) * r"},
    gradients={
        "x": "gamma * r * (g - g.mean(0) - n * (g * n).mean(0))",
        "gamma": "(g * n).sum(0)",
        "beta": "g.sum(0)",
    },
    sizes="N >= 2",
)
dropout = stage(
    "Dropout",
    "x[N D], keep[N D], p -> a",
    lambda x, keep, p: x * keep / (1 - p),
    inputs={"keep": mask(), "p": [0.5, 0.2]},
    gradients={"x": "g * keep / (1 - p)"},
)

ASSIGNMENT = assignment("Normalization and dropout", stages=[layer_norm, batch_norm, dropout])
