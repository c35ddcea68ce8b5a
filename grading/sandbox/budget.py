"""Limits of a submission's time and output, kept on the judge's side of the wire."""

import time
from collections import defaultdict
from dataclasses import dataclass

from grading.confined.spawner import Child
from harness.course.settings import Limits

# Processor time decides. A child that neither computes nor answers is given PATIENCE times the
# limit of a call in wall-clock time, PART_IDLE_CALLS times in one part, so that demonstrations that
# wait leave some to the stages, and IDLE_CALLS times in all; one that computes, however slowly on
# a busy machine, is given longer.
PATIENCE = 2.0
IDLE_CALLS = 8.0
PART_IDLE_CALLS = 4.0
IDLE_SHARE = 0.02
LONGEST = 40.0
# The wall-clock limit of the whole submission: so many times its processor time, and what it may be
# idle. With half a core to itself, a submission reaches the limit of its processor time first.
CLOCK_FACTOR = 2.5
GLANCE_SECONDS = 0.5
# The share of the submission's time that one stage may use, so that some is left to the others.
STAGE_SHARE = 0.2
OUTPUT_LIMIT = 512 * 1024 * 1024


@dataclass(frozen=True)
class Passed:
    """A limit that was passed; ``text`` completes "Sigmoid.backward …".

    ``whole`` tells that it is a limit of the whole submission, ``by_clock`` that wall-clock time
    decided, not processor time, so that a busy machine can be the cause.
    """

    text: str
    whole: bool = False
    by_clock: bool = False


class Budget:
    """The time and the output that a submission has used, in total and part by part.

    Noting what is used never fails. `passed` alone tells whether it was too much.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._parts: defaultdict[str, float] = defaultdict(float)
        self._idle: defaultdict[str, float] = defaultdict(float)
        self._clock = 0.0
        self._output = 0
        self._shared = True
        # Of the running child: the processor time seen so far, and when.
        self._used = 0.0
        self._looked = time.monotonic()
        self.turn_to("")

    @property
    def cpu_seconds(self) -> float:
        """The processor time seen so far; exact for children that have ended."""
        return sum(self._parts.values())

    @property
    def cpu_left(self) -> float:
        """What a new child may use at most."""
        return max(self._limits.submission_seconds - self.cpu_seconds, 0.0)

    def turn_to(self, part: str, *, shared: bool = True) -> None:
        """Count the time for ``part`` from now on; a ``shared`` one may use a share only."""
        self.part, self._shared = part, shared
        self._asked = time.monotonic()
        self._used_now = self._idle_now = 0.0

    def answered(self, size: int) -> None:
        """Note an answer of ``size`` bytes: the next one has the full time again."""
        self._output += size
        self._count_clock(time.monotonic())
        self._used_now = self._idle_now = 0.0

    def look(self, child: Child) -> None:
        """Look at what the child has used, now and then."""
        now = time.monotonic()
        if now - self._looked < GLANCE_SECONDS / 2:
            return
        used = child.cpu_seconds()
        waited = now - max(self._looked, self._asked)
        if used - self._used < IDLE_SHARE * waited:
            self._idle_now += waited
            self._idle[self.part] += waited
        self._spend(used - self._used, now)
        self._used, self._looked = used, now

    def ended(self, cpu_seconds: float) -> None:
        """Note that the child has ended, having used so much in its life."""
        now = time.monotonic()
        self._spend(max(cpu_seconds - self._used, 0.0), now)
        self._used, self._looked = 0.0, now
        self._count_clock(now)

    def passed(self) -> Passed | None:
        """Return the limit that the submission has passed by now, if any."""
        limit, most = self._limits.call_seconds, self._limits.submission_seconds
        waited = time.monotonic() - self._asked
        if self._used_now > limit:
            return Passed(
                f"did not finish within {limit:g} seconds of processor time (an endless loop?)"
            )
        for longest, seconds in ((PATIENCE, self._idle_now), (LONGEST, waited)):
            if seconds > longest * limit:
                return Passed(
                    f"did not answer within {longest * limit:g} seconds "
                    "(does it wait for something?)",
                    by_clock=True,
                )
        if self._output > OUTPUT_LIMIT:
            return Passed("sent more than a submission may", whole=True)
        if self.cpu_seconds > most:
            return Passed(f"used up the submission's {most:g} seconds", whole=True)
        if sum(self._idle.values()) > IDLE_CALLS * limit:
            return Passed(
                f"kept the grader waiting for {IDLE_CALLS * limit:g} seconds in all",
                whole=True,
                by_clock=True,
            )
        longest = CLOCK_FACTOR * most + IDLE_CALLS * limit
        if self._clock + waited > longest:
            return Passed(
                f"took longer than the {longest:g} seconds by the clock that a submission may",
                whole=True,
                by_clock=True,
            )
        # A part that has used its share may still do what takes hardly any time.
        if self._shared and self._idle_now and self._idle[self.part] > PART_IDLE_CALLS * limit:
            return Passed(
                f"kept the grader waiting for {PART_IDLE_CALLS * limit:g} seconds, the most one "
                "part may",
                by_clock=True,
            )
        if self._shared and self._used_now and self._parts[self.part] > STAGE_SHARE * most:
            return Passed(
                f"used {STAGE_SHARE * most:g} seconds of processor time, the most one part may"
            )
        return None

    def _count_clock(self, now: float) -> None:
        self._clock += now - self._asked
        self._asked = now

    def _spend(self, used: float, now: float) -> None:
        self._parts[self.part] += used
        # Some of it may have been used before the call: during the call, no more than its time.
        self._used_now = min(self._used_now + used, now - self._asked)
