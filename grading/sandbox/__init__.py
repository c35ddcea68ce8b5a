"""A student's code in a process of its own, and the judge's view of it as a candidate.

Opening a nursery needs no torch on this side: it warms up while the judge's side loads it.
"""

from __future__ import annotations

import os

from grading.sandbox.nursery import Nursery, NurseryError

__all__ = ["Nursery", "NurseryError", "open_nursery"]


def open_nursery() -> Nursery:
    """The best way this system has to make students' processes: forks of a warm one, or fresh ones.

    Raises NurseryError where neither works.
    """
    if hasattr(os, "fork"):
        from grading.sandbox.zygote import Zygote

        return Zygote()
    from grading.sandbox.fresh import FreshProcesses

    return FreshProcesses()
