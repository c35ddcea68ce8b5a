"""Grades many submissions in an executor: paths in, lines of JSON out.

This side decides who is tried again, and does not import torch.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from itertools import islice
from multiprocessing import forkserver
from multiprocessing.context import BaseContext, ForkServerContext
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec

from grading.confined.spawner import SpawnerError
from grading.results.lines import Result
from grading.sandbox import Isolation
from grading.sandbox.temporary import room
from grading.submissions.reading import Entry
from grading.workers.helpers import GRACE_SECONDS, in_time, undisturbed, wake
from grading.workers.jobs import WARM, Graded, Job, decode_graded
from harness.course.assignments import current_course, use_course

if TYPE_CHECKING:
    from grading.sandbox.zygote import Zygote

# How many times in a row everything may break without one submission done, before the rest are
# tried one by one; and how many times each of those is.
TRIES = 2
# How many submissions to queue for each worker, so that none of them is ever idle.
QUEUED = 4
# The C library gives large tensors back as soon as they are freed, rather than keep their memory.
FRUGAL = {"MALLOC_MMAP_THRESHOLD_": "262144", "MALLOC_ARENA_MAX": "1"}


class Machines(Protocol):
    """What grades: worker processes on this machine or on others."""

    def grade(
        self, entries: Sequence[Entry], job: Job, *, second: bool = False
    ) -> Iterator[Graded]:
        """Yield each entry as it is graded.

        A ``second`` try is final. Raise BrokenProcessPool or SpawnerError if the processes died.
        """

    def renew(self) -> None:
        """Replace what has died."""


def graded_by(
    machines: Machines, entries: Sequence[Entry], job: Job
) -> Generator[Graded, None, None]:
    """Grade the entries and yield each as it comes.

    What dies is replaced; a submission that nothing survives is a ``grader_error``. Raise
    SpawnerError if that is impossible, and GraderBroken if known submissions are not graded right.
    """
    named = {entry.name: entry for entry in entries}
    doubtful: list[Entry] = []
    for graded in _tried_once(named.copy(), job, machines):
        if graded.again:
            doubtful.append(named[graded.result.submission])
        else:
            yield graded
    for entry in doubtful:
        yield _grade_alone(entry, job, machines, second=True)


def grade_entries(
    entries: Sequence[Entry], job: Job, workers: int, zygote: Zygote | None
) -> Generator[Result, None, None]:
    """Grade the entries in ``workers`` processes on this machine, as `graded_by` does.

    Children come from ``zygote``, or without one from the workers themselves.
    """
    for graded in graded_by(Pool(workers, zygote), entries, job):
        yield graded.result


def _tried_once(waiting: dict[str, Entry], job: Job, machines: Machines) -> Iterator[Graded]:
    futile = 0
    while waiting and futile < TRIES:
        before = len(waiting)
        try:
            for graded in machines.grade(list(waiting.values()), job):
                del waiting[graded.result.submission]
                yield graded
        except (BrokenProcessPool, SpawnerError):
            machines.renew()
            futile = futile + 1 if len(waiting) == before else 0
    for entry in waiting.values():
        yield _grade_alone(entry, job, machines, second=False)


def _grade_alone(entry: Entry, job: Job, machines: Machines, *, second: bool) -> Graded:
    why = ""
    for _ in range(TRIES):
        try:
            (graded,) = machines.grade([entry], job, second=second)
            return graded
        except (BrokenProcessPool, SpawnerError) as error:
            why = f"the grader's own processes died over it: {error}"
            machines.renew()
    from grading.workers.worker import given_up

    return Graded(given_up(entry, job, why), again=False)


class Pool:
    """Worker processes on this machine; without a ``zygote`` they start children themselves."""

    def __init__(self, workers: int, zygote: Zygote | None) -> None:
        self._workers = workers
        self._zygote = zygote

    def grade(
        self, entries: Sequence[Entry], job: Job, *, second: bool = False
    ) -> Iterator[Graded]:
        """Yield each entry as it is graded."""
        zygote = self._zygote
        door = zygote.door if zygote else None
        with executor(min(self._workers, len(entries)), door) as workplaces:
            level: Isolation = zygote.isolation if zygote else "minimal"
            as_root = zygote is not None and zygote.as_root
            ahead = QUEUED * self._workers
            calls = (partial(_grade_entry, entry, job, second) for entry in entries)
            try:
                for future in _as_completed(workplaces, calls, ahead):
                    graded = decode_graded(future.result())
                    yield msgspec.structs.replace(graded, isolation=level, as_root=as_root)
            except BaseException:
                # Workers that wait for a student's answer stop waiting.
                if zygote is not None:
                    zygote.close()
                raise

    def renew(self) -> None:
        """Restart the warm process that children come from."""
        if self._zygote is not None:
            self._zygote.restart()


def start_early(job: Job) -> None:
    """Have the process that workers are forked from prepare in the background what all need."""
    if isinstance(_context(), ForkServerContext):
        told = FRUGAL | {WARM: f"{job.assignment} {job.seed} {current_course() or ''}"}
        # For that process only; what the user has set stays.
        added = {name: value for name, value in told.items() if name not in os.environ}
        os.environ.update(added)
        try:
            _ensure_running()
        finally:
            for name in added:
                del os.environ[name]


def _as_completed(
    workplaces: Executor, calls: Iterator[Callable[[], bytes]], ahead: int
) -> Iterator[Future[bytes]]:
    """Yield the calls' futures as they complete, and wake what is stopped while none does.

    At most ``ahead`` are submitted and not done: `wait` looks at each of them every time.
    """
    waiting = {workplaces.submit(call) for call in islice(calls, ahead)}
    while waiting:
        done, waiting = wait(waiting, GRACE_SECONDS, FIRST_COMPLETED)
        if not done:
            wake()
        yield from done
        waiting |= {workplaces.submit(call) for call in islice(calls, ahead - len(waiting))}


@contextmanager
def executor(workers: int, door: socket.socket | None = None) -> Iterator[Executor]:
    """Have worker processes on this machine, forked from one that has loaded torch and no threads.

    Those that grade get children through ``door``. All know this process's course.
    """
    others = set(multiprocessing.active_children())
    context = _context()
    if isinstance(context, ForkServerContext):
        _ensure_running()
        # A stop while that one is still loading finds no pool that is half started.
        first = context.Process(target=int)
        first.start()
        first.join()
    pool = ProcessPoolExecutor(
        workers, context, initializer=_start_worker, initargs=(door, current_course())
    )
    try:
        yield pool
    finally:
        with in_time([each for each in multiprocessing.active_children() if each not in others]):
            pool.shutdown(cancel_futures=True)


def _ensure_running() -> None:
    with undisturbed():
        forkserver.ensure_running()


def _context() -> BaseContext:
    room()
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["grading.workers.calm", "grading.workers.warm"])
    return context


def _start_worker(door: socket.socket | None, course: Path | None) -> None:
    from grading.workers.worker import start

    use_course(course)
    start(door)


def _grade_entry(entry: Entry, job: Job, second: bool) -> bytes:
    from grading.workers.worker import grade_entry

    return grade_entry(entry, job, second=second)
