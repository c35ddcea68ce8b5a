"""Chapter 4, the assignment *classifier*: rectifiers, and cross-entropy with integer labels."""

from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

from harness.course.tasks import task_of
from harness.course.tracing import trace
from harness.declare import assignment, classify, labels, stage
from harness.language import tr
from harness.many_neurons import FAR, WEIGHTED_SUM
from harness.mistakes import with_known_mistakes
from harness.notebook import Handout
from harness.training.datasets import load_digits

RELU = stage(
    "ReLU",
    "z[N K] -> a",
    torch.relu,
    formula="a = max(z, 0)",
    gradients={"z": "g * (z > 0)"},
    extremes={"z": FAR},
    points={"z": 1.1},
)

CROSS_ENTROPY = stage(
    "CrossEntropy",
    "z[N K], y[N] -> C",
    F.cross_entropy,
    formula="C = (1/N) Σₙ (log Σⱼ exp zⱼ − z_y)",
    inputs={"y": labels("K")},
    where={"p": "softmax(z, 1)"},
    gradients={"z": "g * (p - one_hot(y, K)) / N"},
    extremes={"z": FAR},
    points={"z": 1.8},
)

weighted_sum = with_known_mistakes(WEIGHTED_SUM, "weighted_sum")
relu = with_known_mistakes(RELU, "relu")
cross_entropy = with_known_mistakes(CROSS_ENTROPY, "cross_entropy")


def network(
    x: Tensor, y: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the cost of two layers, and the scores of the classes."""
    a = relu(weighted_sum(x, w1, b1))
    z = weighted_sum(a, w2, b2)
    return cross_entropy(z, y), z


# A start from which the reference passes with room to spare, at this rate and batch size.
_generator = torch.Generator().manual_seed(0)
_starts = [
    torch.randn(outputs, inputs, generator=_generator, dtype=torch.float64) * (2 / inputs) ** 0.5
    for inputs, outputs in pairwise((64, 16, 10))
]
TRAINING = classify(
    load_digits,
    steps=140,
    rate=0.3,
    at_least=0.90,
    batch=16,
    unseen=360 / 1797,
    standardise=False,
    start={"w1": _starts[0], "w2": _starts[1]},
    name=tr("to read handwritten digits"),
)
DIGITS = replace(task_of(TRAINING, trace(network, {"w1": "16 64", "w2": "10 16"})), image=(8, 8))

CLASSIFIER = assignment(
    "Classifier",
    name="classifier",
    network=network,
    train=DIGITS,
    points={
        "forward": 0.2,
        "precision": 0.05,
        "stability": 0.1,
        "special": 0.1,
        "purity": 0.05,
        "memory": 0.1,
        "layout": 0.1,
        "subsets": 0.1,
        "chain": 0.1,
        "chain/whole": 0.3,
        "training": 1.4,
    },
)

_handout = Handout(CLASSIFIER)
check, train, draw_chain = _handout.check, _handout.train, _handout.draw_chain

__all__ = ["CLASSIFIER", "check", "draw_chain", "train"]
