"""The assignments of the course, by name."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.course.assignment import Assignment

NAMES = ("one-neuron", "many-neurons")


def load_assignment(name: str) -> Assignment:
    """Return the assignment called ``name``, one of NAMES. Raise KeyError for another name.

    This imports torch.
    """
    if name not in NAMES:
        raise KeyError(name)
    module = name.replace("-", "_")
    found: Assignment = getattr(import_module(f"harness.{module}"), module.upper())
    return found
