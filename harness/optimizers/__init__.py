"""Optimizers: how one is declared, what it does to a parameter, and what may go wrong in it."""

from harness.optimizers.optimizer import Optimizer
from harness.optimizers.rule import Rule
from harness.optimizers.trajectory import Step, Trajectory

__all__ = ["Optimizer", "Rule", "Step", "Trajectory"]
