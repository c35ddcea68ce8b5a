"""A student's code in a process of its own, and the judge's view of it as a candidate.

Opening a spawner needs no torch on this side: it warms up while the judge's side loads it.
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
    """Whether this system's children are forks of a warm process."""
    return sys.platform.startswith("linux")


def open_spawner(levels: Sequence[Isolation] = LEVELS, packages: Sequence[str] = ()) -> Spawner:
    """Makes students' processes, at the best of ``levels`` that this machine gives.

    On Linux they are forks of a warm one, elsewhere fresh ones. A locked one can import
    ``packages`` too, beside torch and numpy. Raises SpawnerError where none
    works, at once or when the first child is asked for.
    """
    if can_fork():
        from grading.sandbox.zygote import Zygote

        return Zygote(levels, packages)
    if "minimal" not in levels:
        raise SpawnerError("only Linux can lock a process down")
    from grading.sandbox.fresh import FreshProcesses

    return FreshProcesses()
