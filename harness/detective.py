"""Chapter 6, the assignment *detective*: cases that expose wrong backwards, and pass right ones."""

from harness import many_neurons, one_neuron
from harness.classifier import relu
from harness.declare import assignment, detective
from harness.notebook import Handout

ERROR = detective(
    "error_cases",
    one_neuron.squared_error,
    shown=[
        "target-dropped",
        "absolute-error",
        "still-squared",
        "upstream-missing",
        "upstream-squared",
        "upstream-absolute",
        "upstream-clipped",
    ],
    hidden=[
        "squares-subtracted",
        "constant-slope",
        "order-of-returns",
        "upstream-sign-only",
        "upstream-positive-only",
    ],
    right=[{"a": "-g * (y - a) - g * (y - a)"}],
)

RELU = detective(
    "relu_cases",
    relu,
    shown=["upside-down", "leaky", "starts-at-one", "upstream-positive-only"],
    hidden=["passed-through", "input-for-slope", "upstream-squared", "upstream-absolute"],
    right=[{"z": "where(z >= 0, g, 0)"}, {"z": "g * sign(a)"}],
)

WEIGHTED_SUM = detective(
    "weighted_sum_cases",
    many_neurons.weighted_sum,
    shown=[
        "transpose-too-many",
        "both-transposed",
        "weights-averaged-twice",
        "bias-averaged",
        "bias-largest-sample",
    ],
    hidden=[
        "entrywise-product",
        "bias-summed-over-outputs",
        "last-sample-only",
        "upstream-normalised",
        "upstream-squared",
        "upstream-absolute",
    ],
    right=[{"w": "(a_prev.T @ g).T", "b": "g.mT @ ones(N)"}],
)

MEAN = detective(
    "mean_error_cases",
    many_neurons.squared_error,
    shown=[
        "not-averaged",
        "averaged-over-outputs",
        "lost-two-and-n",
        "batch-of-five",
        "upstream-missing",
    ],
    hidden=[
        "root-of-n",
        "one-sample-less",
        "summed-over-outputs",
        "first-sample-only",
        "upstream-sign-only",
        "upstream-clipped",
        "upstream-positive-only",
    ],
    right=[{"a": "(a - y) * (2 * g / N)"}],
)

DETECTIVE = assignment(
    "Detective",
    [ERROR, RELU, WEIGHTED_SUM, MEAN],
    name="detective",
    points={"cases": 0.15, "right": 0.2, "shown": 0.2, "hidden": 0.2},
)

check = Handout(DETECTIVE).check

__all__ = ["DETECTIVE", "check"]
