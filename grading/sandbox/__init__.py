"""A student's code in a process of its own: a warm process that forks one child a submission."""

from grading.sandbox.far import Definition, Far
from grading.sandbox.zygote import Zygote, ZygoteError

__all__ = ["Definition", "Far", "Zygote", "ZygoteError"]
