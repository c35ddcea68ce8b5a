"""The end-to-end tasks: a network trained with the student's own functions, on real data."""

from harness.training.task import Run, Task, train_candidate, train_reference

__all__ = ["Run", "Task", "train_candidate", "train_reference"]
