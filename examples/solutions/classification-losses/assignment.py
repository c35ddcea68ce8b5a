"""Losses for classification, with integer labels and with probabilities."""

from torch import Tensor
from torch.nn import functional as F

from harness.declare import assignment, labels, real, stage, target

log_softmax = stage(
    "LogSoftmax",
    "s[N K] -> l",
    lambda s: F.log_softmax(s, 1),
    where={"p": "softmax(s, 1)"},
    gradients={"s": "g - p * g.sum(1, keepdim=True)"},
)
nll = stage(
    "NLL",
    "l[N K], y[N] -> C",
    F.nll_loss,
    inputs={"y": labels("K")},
    gradients={"l": "-g * one_hot(y, K) / N"},
)


def hinge_loss(s: Tensor, y: Tensor, margin: float) -> Tensor:
    """Return the average over the samples of the multi-class SVM loss."""
    correct = s.gather(1, y[:, None])
    losses = (s - correct + margin).clamp(min=0)
    return losses.scatter(1, y[:, None], 0.0).sum() / len(s)


hinge = stage(
    "Hinge",
    "s[N K], y[N], margin -> C",
    hinge_loss,
    inputs={"y": labels("K"), "margin": [1.0, 0.5]},
    where={
        "right": "one_hot(y, K)",
        "active": "(s - s.gather(1, y.unsqueeze(1)) + margin > 0) * (1 - right)",
    },
    gradients={"s": "g * (active - active.sum(1, keepdim=True) * right) / N"},
)
bce = stage(
    "BCEWithLogits",
    "z[N], y[N] -> C",
    F.binary_cross_entropy_with_logits,
    inputs={"y": target(real(0, 1))},
    gradients={"z": "g * (sigmoid(z) - y) / N", "y": "-g * z / N"},
)

ASSIGNMENT = assignment("Losses", stages=[log_softmax, nll, hinge, bce])
