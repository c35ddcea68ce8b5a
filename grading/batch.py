"""Grades many submissions over an executor: paths in, lines of JSON out."""

from __future__ import annotations

import atexit
import multiprocessing
import signal
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import cache

import msgspec
import torch

from grading.grader import grade_submission, unmarked
from grading.results import Result, decode_result, encode_result
from grading.sandbox import Nursery, NurseryError, open_nursery
from grading.submissions import Entry, Submission, read_submission
from harness.assignments import load_assignment
from harness.settings import Settings

# Whatever fails on this side is tried again, in the end alone, before it is given up.
TRIES = 2


class Job(msgspec.Struct, frozen=True):
    """What all submissions of a run share."""

    assignment: str
    settings: Settings
    seed: int


def local_executor(workers: int) -> Executor:
    """Worker processes on this machine. They start afresh, as a fork would inherit threads."""
    return ProcessPoolExecutor(
        workers, mp_context=multiprocessing.get_context("spawn"), initializer=_quiet_worker
    )


def grade_entries(entries: Sequence[Entry], job: Job, workers: int) -> Iterator[Result]:
    """Grades the entries on ``workers`` processes and yields each result as it comes.

    A worker that dies is replaced; a submission that no worker survives is a ``grader_error``.
    """
    waiting = {entry.name: entry for entry in entries}
    for _ in range(TRIES):
        if not waiting:
            return
        with local_executor(min(workers, len(waiting))) as executor:
            try:
                for result in _grade_over(executor, list(waiting.values()), job):
                    del waiting[result.submission]
                    yield result
            except BrokenProcessPool:
                continue
    for entry in waiting.values():
        yield _grade_alone(entry, job)


def grade_entry(entry: Entry, job: Job) -> bytes:
    """One entry as a line of JSON. Whatever goes wrong on this side is a ``grader_error``."""
    assignment = load_assignment(job.assignment)
    submission = Submission(entry.name, "")
    why = ""
    for _ in range(TRIES):
        try:
            submission = read_submission(entry, job.assignment)
            nursery = _nursery()
            result = grade_submission(submission, assignment, job.settings, job.seed, nursery)
            return encode_result(result)
        except NurseryError as error:
            why = str(error)
            _new_nursery()
        except Exception:
            # A fault of the grader's own must never cost the batch, nor become a zero.
            why = traceback.format_exc(limit=-8)
            _new_nursery()
    return encode_result(_given_up(submission, job, why))


def _grade_over(executor: Executor, entries: Sequence[Entry], job: Job) -> Iterator[Result]:
    futures = [executor.submit(grade_entry, entry, job) for entry in entries]
    try:
        for future in as_completed(futures):
            yield decode_result(future.result())
    finally:
        for future in futures:
            future.cancel()


def _grade_alone(entry: Entry, job: Job) -> Result:
    for _ in range(TRIES):
        try:
            with local_executor(1) as executor:
                return next(_grade_over(executor, [entry], job))
        except BrokenProcessPool:
            continue
    return _given_up(Submission(entry.name, ""), job, "the grader's own process died over it")


def _given_up(submission: Submission, job: Job, why: str) -> Result:
    reason = "The grader failed on this submission: its mark is open until it is graded again."
    assignment = load_assignment(job.assignment)
    return unmarked(submission, assignment, job.settings, "grader_error", reason, why)


@cache
def _nursery() -> Nursery:
    nursery = open_nursery()
    atexit.register(nursery.close)
    return nursery


def _new_nursery() -> None:
    if _nursery.cache_info().currsize:
        old = _nursery()
        atexit.unregister(old.close)
        old.close()
    _nursery.cache_clear()


def _quiet_worker() -> None:
    torch.set_num_threads(1)
    # Ctrl-C is the main process's to handle: it stops the workers in good order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
