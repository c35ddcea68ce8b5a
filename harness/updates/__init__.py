"""Optimizers: how one is declared, what it does to a parameter, and what may go wrong in it."""

from harness.updates.optimizer import Optimizer
from harness.updates.rule import Rule
from harness.updates.trajectory import Step, Trajectory

__all__ = ["Optimizer", "Rule", "Step", "Trajectory"]
