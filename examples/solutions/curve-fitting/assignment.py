"""A network that fits a noisy curve."""

from torch import Tensor
from torch.nn import functional as F

from harness.declare import assignment, regress, stage, target

affine = stage("Affine", "x[N D], w[D K], b[K] -> z", lambda x, w, b: x @ w + b)
softplus = stage(
    "Softplus",
    "z[N K], beta -> a",
    F.softplus,
    inputs={"beta": [1.0, 4.0]},
    gradients={"z": "g * sigmoid(beta * z)"},
)
huber = stage(
    "Huber",
    "a[N K], y[N K], delta -> C",
    lambda a, y, delta: F.huber_loss(a, y, delta=delta),
    inputs={"y": target(), "delta": [1.0, 0.5]},
    gradients={
        "a": "g * (a - y).clamp(-delta, delta) / (N * K)",
        "y": "-g * (a - y).clamp(-delta, delta) / (N * K)",
    },
)


def net(x: Tensor, y: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> tuple[Tensor, ...]:
    """Return the cost and the prediction of a network with one hidden layer."""
    prediction = affine(softplus(affine(x, w1, b1), 4.0), w2, b2)
    return huber(prediction, y, 1.0), prediction


ASSIGNMENT = assignment(
    "Curve fitting",
    network=net,
    parameters={"w1": "D 24", "w2": "24 K"},
    train=regress("waves.csv", steps=500, rate=0.1, at_least=0.8),
)
