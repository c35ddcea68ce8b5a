"""Broadcasting, and what undoes it: reductions over an axis."""

import torch

from harness.declare import assignment, stage

add = stage("Add", "a[N 1 K], b[M K] -> z", torch.add, gradients={"b": "g.sum(0)"})
total = stage(
    "Sum",
    "x[N M K], axis, keepdim -> s",
    torch.sum,
    inputs={"axis": [0, 1, -1], "keepdim": [False, True]},
)
mean = stage(
    "Mean",
    "x[N M K], axis -> m",
    torch.mean,
    inputs={"axis": [0, 1, -1]},
    gradients={"x": "g.unsqueeze(axis).expand_as(x) / x.size(axis)"},
)
largest = stage("Max", "x[N K], axis -> m", torch.amax, inputs={"axis": [0, 1]})
log_sum_exp = stage(
    "LogSumExp",
    "x[N K], axis -> l",
    torch.logsumexp,
    inputs={"axis": [0, 1]},
    gradients={"x": "g.unsqueeze(axis) * softmax(x, axis)"},
)

ASSIGNMENT = assignment("Reductions", stages=[add, total, mean, largest, log_sum_exp])
