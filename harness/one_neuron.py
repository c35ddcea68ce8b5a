"""Chapter 1, the assignment *one neuron*: a chain of single neurons, every value a number."""

from dataclasses import replace

import torch
from torch import Tensor

from harness.course.inputs import spread_far
from harness.course.tracing import trace
from harness.declare import assignment, real, stage, target
from harness.mistakes import with_known_mistakes
from harness.notebook import Handout
from harness.training.tumours import TUMOURS

FAR = (-800, -100, -28, -20, -14, -10, -5, 5, 10, 14, 20, 28, 100, 800)

WEIGHTED_SUM = stage(
    "WeightedSum",
    "a_prev[], w[], b[] -> z",
    lambda a_prev, w, b: w * a_prev + b,
    formula="z = w·a_prev + b",
    gradients={"a_prev": "g * w", "w": "g * a_prev", "b": "g"},
    points={"a_prev": 1.0, "w": 1.0, "b": 1.0},
)

SIGMOID = stage(
    "Sigmoid",
    "z[] -> a",
    torch.sigmoid,
    formula="a = σ(z)",
    inputs={"z": real(sampler=spread_far)},
    gradients={"z": "g * a * (1 - a)"},
    extremes={"z": FAR},
    points={"z": 1.5},
)

SQUARED_ERROR = stage(
    "SquaredError",
    "a[], y[] -> C",
    lambda a, y: (a - y) ** 2,
    formula="C₀ = (a − y)²",
    inputs={"y": target()},
    gradients={"a": "g * 2 * (a - y)", "y": "-g * 2 * (a - y)"},
    points={"a": 1.4, "y": 0.2},
)

weighted_sum = with_known_mistakes(WEIGHTED_SUM, "weighted_sum")
sigmoid = with_known_mistakes(SIGMOID, "sigmoid")
squared_error = with_known_mistakes(SQUARED_ERROR, "squared_error")


def network(a_prev: Tensor, y: Tensor, w: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return the cost of one layer, and its activations."""
    a = sigmoid(weighted_sum(a_prev, w, b))
    return squared_error(a, y), a


def two_neurons(
    a0: Tensor, y: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the cost of a chain of two neurons, and the answer of the second."""
    a1 = sigmoid(weighted_sum(a0, w1, b1))
    a2 = sigmoid(weighted_sum(a1, w2, b2))
    return squared_error(a2, y), a2


ONE_NEURON = assignment(
    "One neuron a layer",
    name="one-neuron",
    sizes=({},) * 9,
    network=network,
    train=TUMOURS,
    points={
        "forward": 0.2,
        "precision": 0.05,
        "stability": 0.1,
        "special": 0.1,
        "purity": 0.05,
        "memory": 0.1,
        "subsets": 0.1,
        "chain": 0.1,
        "chain/whole": 0.3,
        "training": 1.5,
    },
)

_handout = Handout(ONE_NEURON)
check, train, draw_chain = _handout.check, _handout.train, _handout.draw_chain
draw_two_neurons = Handout(replace(ONE_NEURON, network=trace(two_neurons, {}))).draw_chain

__all__ = ["ONE_NEURON", "check", "draw_chain", "draw_two_neurons", "train"]
