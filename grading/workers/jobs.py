"""What goes to a worker and what comes back: plain data."""

from __future__ import annotations

import msgspec

from grading.results.lines import Result
from harness.course.settings import Settings
from harness.errors import UserError

# The environment variable that tells the process that workers are forked from what to have ready.
WARM = "BACKPROP_WARM"


class GraderBroken(UserError):
    """The grader does not work where it runs: nobody can be marked. The text says why."""


class Job(msgspec.Struct, frozen=True):
    """What all submissions of a run share."""

    assignment: str
    settings: Settings
    seed: int


class Graded(msgspec.Struct, frozen=True):
    """A result, and whether to grade ``again``, alone, as the machine may be at fault.

    That is so if wall-clock time decided, or if the system killed a process.
    """

    result: Result
    again: bool


def encode_graded(graded: Graded) -> bytes:
    """Return a graded submission as JSON."""
    return msgspec.json.encode(graded)


def decode_graded(data: bytes) -> Graded:
    """Return a graded submission from JSON. Raise msgspec.DecodeError for anything else."""
    return msgspec.json.decode(data, type=Graded)
