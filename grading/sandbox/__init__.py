"""A student's code in a process of its own, and the judge's view of it as a candidate.

Opening a spawner does not import torch here: it warms up while the judge's side does.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from grading.confined.orders import Isolation
from grading.confined.spawner import Spawner, SpawnerError

if TYPE_CHECKING:
    from grading.sandbox.zygote import Zygote

__all__ = [
    "LEVELS",
    "LOCKED",
    "Isolation",
    "Spawner",
    "SpawnerError",
    "can_fork",
    "open_spawner",
    "open_zygote",
]

# The isolation levels, best first, and those that are safe for untrusted code.
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
    if zygote := open_zygote(levels, packages):
        return zygote
    from grading.sandbox.fresh import FreshProcesses

    return FreshProcesses()


def open_zygote(levels: Sequence[Isolation], packages: Sequence[str] = ()) -> Zygote | None:
    """Return the warm process that others fork from, or None on a system that cannot fork.

    Raise SpawnerError if none of the levels is available; a fork can also raise it.
    """
    if can_fork():
        from grading.sandbox.zygote import Zygote

        return Zygote(levels, packages)
    if "minimal" not in levels:
        raise SpawnerError("process isolation is only available on Linux")
    return None
