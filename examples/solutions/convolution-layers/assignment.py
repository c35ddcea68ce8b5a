"""Convolution and pooling."""

from torch.nn import functional as F

from harness.declare import assignment, stage

conv1d = stage(
    "Conv1d",
    "x[N C L], w[F C R], b[F], stride -> z",
    F.conv1d,
    inputs={"stride": [1, 2]},
    sizes="R <= L",
)
conv2d = stage(
    "Conv2d",
    "x[N C H W], w[F C R S], b?[F], stride, padding -> z",
    F.conv2d,
    inputs={"stride": [1, 2], "padding": [0, 1]},
    sizes="R <= H + 2 * padding, S <= W + 2 * padding",
)
max_pool = stage(
    "MaxPool2d",
    "x[N C H W], size, stride -> z",
    F.max_pool2d,
    inputs={"size": [2, 3], "stride": [1, 2]},
    sizes="size <= H, size <= W",
)
avg_pool = stage(
    "AvgPool2d",
    "x[N C H W], size -> z",
    F.avg_pool2d,
    inputs={"size": [1, 2]},
    gradients={"x": "pad(interpolate(g, scale_factor=size), (0, W % size, 0, H % size)) / size**2"},
    sizes="size <= H, size <= W",
)

ASSIGNMENT = assignment("Convolution and pooling", stages=[conv1d, conv2d, max_pool, avg_pool])
