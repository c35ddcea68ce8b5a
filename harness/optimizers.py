"""Chapter 5, the assignment *optimizers*: what is done with gradients once they are right."""

import torch

from harness.classifier import DIGITS, network
from harness.declare import assignment, optimizer
from harness.notebook import Handout

# The rates with which the training reaches about 95 % within the steps of the classifier.
SGD = optimizer("SGD", torch.optim.SGD, [{"lr": 0.3}], formula="p = p − lr·g")
MOMENTUM = optimizer(
    "Momentum",
    torch.optim.SGD,
    [{"lr": 0.03, "momentum": 0.9}],
    formula="v = momentum·v + g, p = p − lr·v",
)
RMSPROP = optimizer("RMSProp", torch.optim.RMSprop, [{"lr": 0.01, "alpha": 0.9}])
ADAM = optimizer("Adam", torch.optim.Adam, [{"lr": 0.01, "betas": (0.9, 0.99)}])

OPTIMIZERS = assignment(
    "Optimizers",
    [SGD, MOMENTUM, RMSPROP, ADAM],
    name="optimizers",
    network=network,
    train=DIGITS,
    points={
        "update": 1.4,
        "sgd/update": 0.8,
        "adam/update": 2.0,
        "state": 0.3,
        "settings": 0.2,
        "missing": 0.15,
        "precision": 0.05,
        "purity": 0.05,
        "memory": 0.05,
        "training": 0.3,
    },
)

check = Handout(OPTIMIZERS).check

__all__ = ["OPTIMIZERS", "check"]
