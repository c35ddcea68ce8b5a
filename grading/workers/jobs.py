"""What goes to a worker and what comes back: plain data."""

from collections.abc import Callable

import msgspec

from grading.results.lines import Result
from grading.sandbox import Isolation
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

    That is so if wall-clock time decided, or if the system killed a process. The submission's code,
    if it ran, ran at the level ``isolation``, in processes that were ``as_root`` or not.
    """

    result: Result
    again: bool
    isolation: Isolation = "full"
    as_root: bool = False


# A graded submission as JSON, and back. Anything else raises msgspec.DecodeError.
encode_graded = msgspec.json.Encoder().encode
decode_graded: Callable[[bytes], Graded] = msgspec.json.Decoder(Graded).decode
