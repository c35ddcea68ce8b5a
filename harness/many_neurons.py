"""Chapter 2, the assignment *many neurons*: whole layers, batches, a cost averaged over samples."""

from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor

from harness.course.inputs import spread_far
from harness.course.tasks import task_of
from harness.course.tracing import trace
from harness.declare import assignment, classify, real, stage, target
from harness.language import tr
from harness.mistakes import with_known_mistakes
from harness.notebook import Handout
from harness.training.datasets import load_digits

FAR = (-800, -100, -28, -20, -14, -10, -5, 5, 10, 14, 20, 28, 100, 800)

WEIGHTED_SUM = stage(
    "WeightedSum",
    "a_prev[N n_in], w[K n_in], b[K] -> z",
    lambda a_prev, w, b: a_prev @ w.T + b,
    formula="z = a_prev @ w.T + b",
    gradients={"a_prev": "g @ w", "w": "g.T @ a_prev", "b": "g.sum(0)"},
    points={"a_prev": 1.0, "w": 1.0, "b": 1.0},
)

SIGMOID = stage(
    "Sigmoid",
    "z[N K] -> a",
    torch.sigmoid,
    formula="a = σ(z)",
    inputs={"z": real(sampler=spread_far)},
    gradients={"z": "g * a * (1 - a)"},
    extremes={"z": FAR},
    points={"z": 1.5},
)

SQUARED_ERROR = stage(
    "SquaredError",
    "a[N K], y[N K] -> C",
    lambda a, y: ((a - y) ** 2).sum() / len(a),
    formula="C = (1/N) Σₙ Σⱼ (a − y)²",
    inputs={"y": target()},
    gradients={"a": "g * 2 * (a - y) / N", "y": "-g * 2 * (a - y) / N"},
    points={"a": 1.2, "y": 0.2},
)

weighted_sum = with_known_mistakes(WEIGHTED_SUM, "weighted_sum")
sigmoid = with_known_mistakes(SIGMOID, "sigmoid")
squared_error = with_known_mistakes(SQUARED_ERROR, "squared_error")


def network(a_prev: Tensor, y: Tensor, w: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return the cost of one layer, and its activations."""
    a = sigmoid(weighted_sum(a_prev, w, b))
    return squared_error(a, y), a


def digits_network(
    a0: Tensor, y: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the cost of two layers, and the activations of the last."""
    a1 = sigmoid(weighted_sum(a0, w1, b1))
    a2 = sigmoid(weighted_sum(a1, w2, b2))
    return squared_error(a2, y), a2


# A start from which the reference passes with room to spare, at this rate and batch size.
_generator = torch.Generator().manual_seed(3)
_starts = [
    2.5 * torch.randn(outputs, inputs, generator=_generator, dtype=torch.float64) / inputs**0.5
    for inputs, outputs in pairwise((64, 16, 10))
]
TRAINING = classify(
    load_digits,
    steps=180,
    rate=4.0,
    at_least=0.90,
    batch=16,
    unseen=360 / 1797,
    standardise=False,
    start={"w1": _starts[0], "w2": _starts[1]},
    name=tr("to read handwritten digits"),
)
_shapes = {"w1": "16 64", "w2": "10 16"}
DIGITS = replace(task_of(TRAINING, trace(digits_network, _shapes)), image=(8, 8))

MANY_NEURONS = assignment(
    "Many neurons a layer",
    name="many-neurons",
    sizes=(
        {"N": 5, "n_in": 3, "K": 7},
        {"N": 7, "n_in": 5, "K": 3},
        {"N": 3, "n_in": 7, "K": 6},
        {"N": 6, "n_in": 3, "K": 5},
        {"N": 1, "n_in": 3, "K": 5},
        {"N": 6, "n_in": 1, "K": 1},
        # Where a shape no longer tells which axis is which, and beyond a handful of each.
        {"N": 4, "n_in": 4, "K": 4},
        {"N": 20, "n_in": 11, "K": 12},
    ),
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

_handout = Handout(MANY_NEURONS)
check, train, draw_chain = _handout.check, _handout.train, _handout.draw_chain

__all__ = ["MANY_NEURONS", "check", "draw_chain", "train"]
