"""Layers of a convolutional network in numpy, each a pair of functions with a cache."""

import torch
from torch import Tensor
from torch.nn import functional as F

from harness.declare import assignment, labels, mask, pair


def svm(x: Tensor, y: Tensor) -> Tensor:
    """Return the mean over samples of how far other scores come within 1 of the right one."""
    margins = (x - x.gather(1, y[:, None]) + 1).clamp(min=0)
    return (margins.sum() - len(x)) / len(x)


def batchnorm(x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    """Normalise each feature over the samples."""
    centred = x - x.mean(0)
    return gamma * centred / (centred.square().mean(0) + 1e-5).sqrt() + beta


def layernorm(x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    """Normalise each sample over its features."""
    centred = x - x.mean(1, keepdim=True)
    return gamma * centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt() + beta


affine = pair(
    "affine",
    "x[N D], w[D M], b[M] -> out",
    lambda x, w, b: x @ w + b,
    gradients={"x": "g @ w.T", "w": "x.T @ g", "b": "g.sum(0)"},
    work="forward, backward",
)
relu = pair("relu", "x[N D] -> out", torch.relu, gradients={"x": "g * (x > 0)"})
sigmoid = pair("sigmoid", "x[N D] -> out", torch.sigmoid, gradients={"x": "g * out * (1 - out)"})
softmax = pair(
    "softmax_loss",
    "x[N C], y[N] -> loss",
    F.cross_entropy,
    inputs={"y": labels("C")},
    upstream=False,
    where={"p": "softmax(x, 1)"},
    gradients={"x": "g * (p - one_hot(y, C)) / N"},
    extremes={"x": (-800, 800)},
    work="forward, backward",
)
hinge = pair("svm_loss", "x[N C], y[N] -> loss", svm, inputs={"y": labels("C")}, upstream=False)
batch = pair(
    "batchnorm",
    "x[N D], gamma[D], beta[D] -> out",
    batchnorm,
    where={
        "root": "(var(x, 0, correction=0) + 1e-5).sqrt()",
        "normal": "(x - x.mean(0)) / root",
        "d": "g * gamma",
    },
    gradients={
        "x": "(d - d.mean(0) - normal * (d * normal).mean(0)) / root",
        "gamma": "(g * normal).sum(0)",
        "beta": "g.sum(0)",
    },
    sizes="N > 2",
    work="forward, backward",
)
layer = pair(
    "layernorm",
    "x[N D], gamma[D], beta[D] -> out",
    layernorm,
    where={
        "root": "(var(x, 1, correction=0, keepdim=True) + 1e-5).sqrt()",
        "normal": "(x - x.mean(1, keepdim=True)) / root",
    },
    gradients={"gamma": "(g * normal).sum(0)", "beta": "g.sum(0)"},
    sizes="D > 2",
)
dropout = pair(
    "dropout",
    "x[N D], keep[N D], p -> out",
    lambda x, keep, p: x * keep / (1 - p),
    inputs={"keep": mask(0.7), "p": [0.3, 0.5]},
    pack={"dropout_param": {"p": "p"}},
)
conv = pair(
    "conv",
    "x[N C H W], w[F C R S], b[F], stride, padding -> out",
    lambda x, w, b, stride, padding: F.conv2d(x, w, b, stride=stride, padding=padding),
    inputs={"stride": [1, 2], "padding": [0, 1]},
    sizes="R <= H + 2 * padding, S <= W + 2 * padding",
    pack={"conv_param": {"stride": "stride", "pad": "padding"}},
)
pool = pair(
    "max_pool",
    "x[N C H W], size, stride -> out",
    F.max_pool2d,
    inputs={"size": [2, 3], "stride": [1, 2]},
    sizes="size <= H, size <= W",
    pack={"pool_param": {"size": "size", "stride": "stride"}},
)
ASSIGNMENT = assignment(
    "Layers in numpy",
    [affine, relu, sigmoid, softmax, hinge, batch, layer, dropout, conv, pool],
)
