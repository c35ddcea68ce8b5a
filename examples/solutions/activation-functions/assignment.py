"""Activation functions, entry by entry."""

import torch
from torch.nn import functional as F

from harness.declare import assignment, stage

leaky_relu = stage(
    "LeakyReLU",
    "z[N K], slope -> a",
    F.leaky_relu,
    inputs={"slope": [0.01, 0.2]},
    gradients={"z": "where(z > 0, g, slope * g)"},
)
tanh = stage("Tanh", "z[N K] -> h", torch.tanh, gradients={"z": "g * (1 - h ** 2)"})
gelu = stage(
    "GELU",
    "z[N K] -> a",
    lambda z: F.gelu(z, approximate="tanh"),
    where={
        "t": "tanh(0.7978845608028654 * (z + 0.044715 * z ** 3))",
        "slope": "0.7978845608028654 * (1 + 0.134145 * z ** 2)",
    },
    gradients={"z": "g * ((1 + t) / 2 + z / 2 * (1 - t ** 2) * slope)"},
)

ASSIGNMENT = assignment("Activation functions", stages=[leaky_relu, tanh, gelu])
