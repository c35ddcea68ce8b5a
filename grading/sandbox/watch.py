"""Keeps a submission to its time and its output, on the judge's side of the wire."""

from __future__ import annotations

import time
from collections import defaultdict

from grading.sandbox.nursery import Child
from harness.settings import Limits

# Processor time decides. A child that neither computes nor answers is given PATIENCE times the
# limit of a call by the clock, IDLE_CALLS times in all; one that computes, however slowly on a
# busy machine, is left to its processor time for longer.
PATIENCE = 2.0
IDLE_CALLS = 6.0
IDLE_SHARE = 0.02
LONGEST = 40.0
GLANCE_SECONDS = 0.5
# What one stage may use of the submission's time, so that it leaves some to the others.
STAGE_SHARE = 0.2
OUTPUT_LIMIT = 512 * 1024 * 1024


class Overdue(Exception):
    """A limit was passed; the text completes "Sigmoid.backward …".

    ``whole`` says that it was a limit of the whole submission, ``by_clock`` that no processor time
    but the clock decided, which a busy machine can bring about too.
    """

    def __init__(self, text: str, *, whole: bool = False, by_clock: bool = False) -> None:
        super().__init__(text)
        self.whole = whole
        self.by_clock = by_clock


class Watch:
    """The time and the output that a submission has used, in all and part by part."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._parts: defaultdict[str, float] = defaultdict(float)
        self._idle = 0.0
        self._output = 0
        self._part = ""
        self._shared = True
        self._used = 0.0
        self._looked = time.monotonic()
        self.answered(0)

    @property
    def cpu_seconds(self) -> float:
        """The processor time seen so far; exact for children that have ended."""
        return sum(self._parts.values())

    @property
    def cpu_left(self) -> float:
        """What a new child may use at most."""
        return max(self._limits.submission_seconds - self.cpu_seconds, 0.0)

    def turn_to(self, part: str, *, shared: bool = True) -> None:
        """From now on the time is that of ``part``; of a ``shared`` one it is a share only."""
        self._part, self._shared = part, shared
        self.answered(0)

    def answered(self, size: int) -> None:
        """An answer of ``size`` bytes has come: the next one has its time again."""
        self._output += size
        if self._output > OUTPUT_LIMIT:
            raise Overdue("sent more than a submission may", whole=True)
        self._asked = time.monotonic()
        self._used_before: float | None = None
        self._idle_now = 0.0

    def glance(self, child: Child) -> None:
        """Looks at what the child has used, now and then. Raises Overdue where it is too much."""
        now = time.monotonic()
        if now - self._looked < GLANCE_SECONDS / 2:
            return
        used = child.cpu_seconds()
        self._parts[self._part] += used - self._used
        waited = now - max(self._looked, self._asked)
        if used - self._used < IDLE_SHARE * waited:
            self._idle_now += waited
            self._idle += waited
        if self._used_before is None:
            # Not looked at when asked: it can have used no more than the time since.
            self._used_before = max(used - (now - self._asked), 0.0)
        self._used, self._looked = used, now
        self._judge(now - self._asked, used - self._used_before)

    def ended(self, cpu_seconds: float) -> None:
        """The child has ended, and used so much in its life."""
        self._parts[self._part] += max(cpu_seconds - self._used, 0.0)
        self._used, self._looked = 0.0, time.monotonic()
        self.answered(0)

    def _judge(self, waited: float, used: float) -> None:
        limit, most = self._limits.call_seconds, self._limits.submission_seconds
        if used > limit:
            raise Overdue(
                f"did not finish within {limit:g} seconds of processor time (an endless loop?)"
            )
        if self._idle_now > PATIENCE * limit or waited > LONGEST * limit:
            raise Overdue(
                f"did not answer within {waited:.0f} seconds (does it wait for something?)",
                by_clock=True,
            )
        if self.cpu_seconds > most:
            raise Overdue(f"used up the submission's {most:g} seconds", whole=True)
        if self._idle > IDLE_CALLS * limit:
            raise Overdue(
                f"kept the grader waiting for {self._idle:.0f} seconds in all",
                whole=True,
                by_clock=True,
            )
        if self._shared and self._parts[self._part] > STAGE_SHARE * most:
            raise Overdue(
                f"used {STAGE_SHARE * most:g} seconds of processor time, the most one part may"
            )
