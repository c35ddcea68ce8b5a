"""What crosses the wire for one right submission, and the processor time of both its ends.

    python -m benchmarks.wire [FILE] [ROUNDS]

Both ends are in this process, around the operations themselves, and nothing is sent.
"""

from __future__ import annotations

import gc
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.limit import ASSIGNMENT, warm_up
from benchmarks.mix import make_mix
from grading.confined import wire
from grading.confined.child import KEEP_BYTES
from harness.candidate.operations import Operation, Reply
from harness.candidate.workbench import Workbench
from harness.course.assignments import load_assignment
from harness.judging.judge import judge

SEED = 7


class Wired:
    """A candidate in this process, behind a wire that takes notes."""

    def __init__(self, names: dict[str, Any]) -> None:
        self._bench = Workbench(names)
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.counts: Counter[str] = Counter()

    def renew(self) -> Wired:
        """Itself: there is no process to renew."""
        return self

    def perform(self, operations: Sequence[Operation]) -> list[Reply]:
        """The replies, after everything has crossed the wire."""
        self.counts["calls"] += 1
        self.counts.update(type(each).__name__ for each in operations)
        with self._timed("the judge's end"):
            frame = wire.encode(wire.performing(1, operations, at_once=False))
        self.counts["bytes of requests"] += len(frame)
        with self._timed("the child's end"):
            request = wire.decode_request(memoryview(bytearray(frame)))
            assert isinstance(request, wire.Perform)
            asked = list(wire.operations_of(request))
        with self._timed("the operations"):
            done = self._bench.perform(asked)
        with self._timed("the child's end"):
            frames = list(_frames(done))
        self.counts["bytes of replies"] += sum(map(len, frames))
        replies: list[Reply] = []
        with self._timed("the judge's end"):
            for each in frames:
                message = wire.decode_from_child(memoryview(bytearray(each)))
                assert isinstance(message, wire.Answers)
                replies += wire.replies_of(message)
        return replies

    @contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        start = time.process_time()
        yield
        self.seconds[part] += time.process_time() - start


def _frames(replies: Sequence[Reply]) -> Iterator[bytes]:
    """The answers of a child that is not slow."""
    kept = wire.Replies()
    for reply in replies:
        kept.add(reply)
        if kept.size > KEEP_BYTES:
            yield kept.answers(1, 0)
            kept = wire.Replies()
    if len(kept):
        yield kept.answers(1, 0)


def measured(code: str, rounds: int) -> tuple[Counter[str], dict[str, list[float]]]:
    """What crosses the wire, and the seconds of each part in each round."""
    warm_up()
    names: dict[str, Any] = {"__name__": "submission"}
    exec(compile(code, "submission.py", "exec"), names)
    assignment = load_assignment(ASSIGNMENT)
    judge(assignment, Wired(names), seed=SEED)
    gc.collect()
    gc.freeze()
    seconds: dict[str, list[float]] = {}
    for _ in range(rounds):
        wired, start = Wired(names), time.process_time()
        report = judge(assignment, wired, seed=SEED).report
        wired.seconds["all"] = time.process_time() - start
        assert report.passed
        for part, each in wired.seconds.items():
            seconds.setdefault(part, []).append(each)
    return wired.counts, seconds


if __name__ == "__main__":
    file, rounds = (*sys.argv[1:], *("", "20")[len(sys.argv) - 1 :])
    right = next(each.module for each in make_mix(20) if each.right)
    counts, seconds = measured(
        Path(file).read_text(encoding="utf-8") if file else right, int(rounds)
    )
    for name, count in counts.items():
        print(f"{name:20} {count:9,}")
    for name, each in seconds.items():
        print(f"{name:20} {1e3 * median(each):9.1f} ms (least {1e3 * min(each):.1f})")
