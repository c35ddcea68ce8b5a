"""The assignment *one neuron*: a chain of single neurons, every value a number."""

import torch

from harness.candidate.operations import Link
from harness.course.assignment import Assignment
from harness.course.stage import Stage, spread_far
from harness.mistakes import with_known_mistakes
from harness.notebook import Handout
from harness.training.tumours import TUMOURS

WEIGHTED_SUM = Stage(
    name="WeightedSum",
    formula="z = w·a_prev + b",
    inputs={"a_prev": "", "w": "", "b": ""},
    output="z",
    forward=lambda a_prev, w, b: w * a_prev + b,
    gradients={"a_prev": "g * w", "w": "g * a_prev", "b": "g"},
    points={"a_prev": 1.0, "w": 1.0, "b": 1.0},
)

SIGMOID = Stage(
    name="Sigmoid",
    formula="a = σ(z)",
    inputs={"z": ""},
    output="a",
    forward=torch.sigmoid,
    gradients={"z": "g * a * (1 - a)"},
    points={"z": 1.5},
    samples={"z": spread_far},
    extremes={"z": (-800, -100, -28, -20, -14, -10, -5, 5, 10, 14, 20, 28, 100, 800)},
)

SQUARED_ERROR = Stage(
    name="SquaredError",
    formula="C₀ = (a − y)²",
    inputs={"a": "", "y": ""},
    output="C",
    forward=lambda a, y: (a - y) ** 2,
    gradients={"a": "g * 2 * (a - y)", "y": "-g * 2 * (a - y)"},
    points={"a": 1.4, "y": 0.2},
    optional=frozenset({"y"}),
)

ONE_NEURON = Assignment(
    name="one-neuron",
    title="One neuron a layer",
    stages=(
        with_known_mistakes(WEIGHTED_SUM, "weighted_sum"),
        with_known_mistakes(SIGMOID, "sigmoid"),
        with_known_mistakes(SQUARED_ERROR, "squared_error"),
    ),
    sizes=({},) * 9,
    chain=(
        Link("WeightedSum", ("a_prev", "w", "b"), ("z",)),
        Link("Sigmoid", ("z",), ("a",)),
        Link("SquaredError", ("a", "y"), ("C",)),
    ),
    task=TUMOURS,
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

__all__ = ["ONE_NEURON", "check", "draw_chain", "train"]
