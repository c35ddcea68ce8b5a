"""A student's code in a process of its own, and the judge's view of it as a candidate.

Opening a spawner does not import torch here: it warms up while the judge's side does.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from grading.confined.orders import Isolation
from grading.confined.spawner import Spawner, SpawnerError

__all__ = ["LEVELS", "LOCKED", "Isolation", "Spawner", "SpawnerError", "can_fork", "open_spawner"]

# The isolation levels, best first, and those that hold against a stranger's code.
LEVELS: tuple[Isolation, ...] = ("full", "partial", "minimal")
LOCKED: tuple[Isolation, ...] = ("full", "partial")


def can_fork() -> bool:
    """Return whether children on this system are forks of a warm process."""
    return sys.platform.startswith("linux")


def open_spawner(levels: Sequence[Isolation] = LEVELS, packages: Sequence[str] = ()) -> Spawner:
    """Return what starts students' processes, at the best of ``levels`` that works here.

    On Linux they are forks of a warm process, elsewhere fresh ones. Besides torch and numpy, a
    locked one can import ``packages``. Raise SpawnerError if no level works, at once or when the
    first child is asked for.
    """
    if can_fork():
        from grading.sandbox.zygote import Zygote

        return Zygote(levels, packages)
    if "minimal" not in levels:
        raise SpawnerError("process isolation is only available on Linux")
    from grading.sandbox.fresh import FreshProcesses

    return FreshProcesses()
