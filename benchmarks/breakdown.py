"""Where the time of one grading goes, and where that of the limit.

Both run in this process, over the same submissions, while a timer looks now and then at what is
being executed: by phase of the judgement, and by who does the work. The limit's time is processor
time; that of a grading is by the clock, as the judge waits for the student's process.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from benchmarks.limit import ASSIGNMENT, judge_file, warm_up
from benchmarks.meter import descendants, own_cpu_seconds
from grading.parsing.choosing import source_of
from grading.sandbox import LOCKED, Spawner, open_spawner
from grading.submissions.reading import Entry, find_submissions, read_submission
from grading.workers.grader import grade_submission
from harness.course.assignments import load_assignment
from harness.course.settings import Settings
from harness.judging.judge import _make
from harness.probes import Planned

LOOK_SECONDS = 0.002
BARE_CHILDREN = 20
# By the modules on the stack: the first that fits, from the top of this list.
PHASES = (
    ("training", ("harness.training.", "harness.probes.training")),
    ("chain", ("harness.probes.chain",)),
    ("stages", ("harness.judging.judge", "harness.probes.")),
    ("start, define, end", ("grading.", "benchmarks.limit")),
)
# By the innermost module of the project: near, and with the student's code in a process of its own.
NEAR = (("student's functions", ("harness.candidate.workbench",)), ("the judge", ("",)))
FAR = (
    ("waiting for the child", ("grading.confined.channel", "grading.sandbox.zygote")),
    ("the wire", ("grading.sandbox.", "grading.confined.")),
    ("the judge", ("",)),
)
OURS = ("harness.", "grading.", "benchmarks.limit")

Choice = Sequence[tuple[str, tuple[str, ...]]]
Looks = dict[str, dict[str, float]]


@contextmanager
def looking(clock: Callable[[], float], work: Choice) -> Iterator[tuple[Looks, Looks]]:
    """Sums the seconds of ``clock`` while the block runs: by phase, and by probe; in both by who
    works."""
    looks: Looks = defaultdict(lambda: defaultdict(float))
    probes: Looks = defaultdict(lambda: defaultdict(float))
    last = clock()

    def look(_signal: int, frame: FrameType | None) -> None:
        nonlocal last
        now = clock()
        modules = _modules(frame)
        if modules:
            worker = _first(work, modules[:1])
            looks[_first(PHASES, modules)][worker] += now - last
            probes[_probe(frame)][worker] += now - last
        last = now

    before = signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, LOOK_SECONDS, LOOK_SECONDS)
    try:
        yield looks, probes
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _modules(frame: FrameType | None) -> list[str]:
    """The project's modules on the stack, the innermost first."""
    found = []
    while frame is not None:
        name = str(frame.f_globals.get("__name__"))
        if name.startswith(OURS):
            found.append(name)
        frame = frame.f_back
    return found


def _probe(frame: FrameType | None) -> str:
    """The check being made, without its stage. What serves several is paid by the first to ask."""
    while frame is not None:
        if frame.f_code is _make.__code__:
            check: Planned = frame.f_locals["check"]
            parts = check.id.split("/")
            return parts[0] if check.stage is None else parts[1]
        frame = frame.f_back
    return "none"


def _first(table: Choice, modules: Sequence[str]) -> str:
    for name, prefixes in table:
        if any(module.startswith(prefixes) for module in modules):
            return name
    return table[-1][0]


def break_down(folder: Path) -> dict[str, Any]:
    """The seconds of a submission in ``folder``, on average: by phase, probe and who works."""
    warm_up()
    entries = find_submissions(folder)
    paths = sorted(folder.glob("*.py"))
    cpu = time.process_time()
    with looking(time.process_time, NEAR) as (limit, probes):
        for path in paths:
            judge_file(path)
    limit_cpu = time.process_time() - cpu
    with open_spawner(LOCKED) as spawner:
        _graded(entries[:2], spawner)
        cpu, forking = time.process_time(), _cpu_of_descendants()
        with looking(time.perf_counter, FAR) as (grade, _):
            seconds = _graded(entries, spawner)
        judge_cpu, forking = time.process_time() - cpu, _cpu_of_descendants() - forking
        bare_wall, bare_cpu = _bare_child(spawner)
    count = len(entries)
    return {
        "count": count,
        "limit": _shares(limit, count),
        "probes": _shares(probes, count),
        "grade": _shares(grade, count),
        "cpu": {
            "limit": limit_cpu / count,
            "judge": judge_cpu / count,
            "child": (sum(seconds) - judge_cpu) / count,
            "bare child": bare_cpu,
            "forking": forking / count,
        },
        "bare child's wall": bare_wall,
    }


def _cpu_of_descendants() -> float:
    """What the processes that fork children have used themselves."""
    return sum(map(own_cpu_seconds, descendants(os.getpid())))


def _graded(entries: Sequence[Entry], spawner: Spawner) -> list[float]:
    """Grades the entries; the processor time of each, its children's included."""
    assignment = load_assignment(ASSIGNMENT)
    return [
        grade_submission(
            read_submission(entry, ASSIGNMENT, source_of), assignment, Settings(), 0, spawner
        ).result.seconds.cpu
        for entry in entries
    ]


def _bare_child(spawner: Spawner) -> tuple[float, float]:
    """Wall and processor time of a child that is started, locked down and ended, no more."""
    limits = Settings().limits
    start, cpu = time.perf_counter(), 0.0
    for _ in range(BARE_CHILDREN):
        child = spawner.child(limits.memory_mib, limits.submission_seconds)
        # It has locked itself down once it sees that nobody is there.
        child.channel.close()
        cpu += child.end(grace=5.0).cpu_seconds
    return (time.perf_counter() - start) / BARE_CHILDREN, cpu / BARE_CHILDREN


def _shares(looks: Looks, count: int) -> Looks:
    return {
        phase: {work: seconds / count for work, seconds in works.items()}
        for phase, works in looks.items()
    }


if __name__ == "__main__":
    given_folder, out = sys.argv[1:]
    Path(out).write_text(json.dumps(break_down(Path(given_folder))), encoding="utf-8")
