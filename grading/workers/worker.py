"""A worker's side of a batch: grades one submission after another, in a process of its own.

The process that workers are forked from has imported this module, so they share what it loads.
"""

import gc
import multiprocessing
import os
import signal
import socket
import threading
import traceback
from collections.abc import Callable
from functools import partial
from multiprocessing.process import BaseProcess

# One thread: more only burn processor time at these sizes, and forks do not mix with threads.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"
# Autograd starts a thread for each visible GPU, and then does not work after a fork.
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import torch
from torch.autograd import gradcheck

from grading.errors import refusal
from grading.results.lines import Result
from grading.sandbox import LEVELS, Spawner, SpawnerError, can_fork, open_spawner
from grading.sandbox.reader import Reader
from grading.submissions.reading import Entry, Handed, Submission, read_files, read_submission
from grading.workers.grader import grade_submission, unmarked
from grading.workers.jobs import Graded, GraderBroken, Job, encode_graded
from grading.workers.selftest import judge_known
from harness.course.assignments import load_assignment

torch.set_num_threads(1)
# The first use loads hundreds of modules, which otherwise every worker would load.
gradcheck(torch.sin, torch.zeros(1, dtype=torch.float64, requires_grad=True))

TRIES = 2


def share_what_is_here() -> None:
    """Keep the collector from touching, and so copying, the pages that forks share."""
    gc.collect()
    gc.freeze()


share_what_is_here()


class Workplace:
    """This process's connection to what starts children, opened when first needed.

    ``opened`` opens it; it raises SpawnerError if that is impossible.
    """

    def __init__(self, opened: Callable[[], Spawner]) -> None:
        self._opened = opened
        self._spawner: Spawner | None = None
        self._reader: Reader | None = None
        self._works = False

    def grade(self, entry: Entry, job: Job, *, second: bool, files: Handed | None = None) -> Graded:
        """Return an entry, graded. A fault of the grader itself is a ``grader_error``.

        ``files`` are what was handed in, by default what this machine has at the entry's paths. A
        ``second`` try, alone after a doubtful one, is final. Raise SpawnerError if children cannot
        be started, which is to be tried again elsewhere, and GraderBroken if known submissions do
        not get the marks they deserve.
        """
        why = ""
        for _ in range(TRIES):
            try:
                return self._graded(entry, job, second, files)
            except SpawnerError:
                self.leave()
                raise
            except GraderBroken:
                raise
            except Exception:
                # A fault of the grader must neither end the batch nor become a zero.
                why = traceback.format_exc(limit=-8)
                self.leave()
        return Graded(given_up(entry, job, why), again=False)

    def spawner(self) -> Spawner:
        """Return the connection. The first time, known submissions are graded over it."""
        if self._spawner is None:
            self._spawner = self._opened()
        if not self._works:
            judge_known(self._spawner)
            self._works = True
        return self._spawner

    def leave(self) -> None:
        """Close the connection; the next use opens another."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        if self._spawner is not None:
            self._spawner.close()
            self._spawner = None

    def _graded(self, entry: Entry, job: Job, second: bool, files: Handed | None) -> Graded:
        spawner = self.spawner()
        if self._reader is None:
            self._reader = Reader(spawner)
        try:
            handed = files or read_files(entry, job.assignment)
        except OSError as error:
            return Graded(given_up(entry, job, refusal(error, entry.paths[0])), again=False)
        submission = read_submission(entry, job.assignment, self._reader.source, handed)
        assignment = load_assignment(job.assignment)
        return grade_submission(
            submission, assignment, job.settings, job.seed, spawner, second=second
        )


_workplace = Workplace(partial(open_spawner, LEVELS))


def start(door: socket.socket | None) -> None:
    """Prepare this process: ``door`` is the warm process's, None on systems without one."""
    # Ctrl-C is the main process's to handle: it stops the workers in good order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The process that workers are forked from lives as long as one of them does.
    threading.Thread(
        target=_end_with, args=(multiprocessing.parent_process(),), daemon=True
    ).start()
    if can_fork():
        from grading.confined.locks import die_with

        die_with(os.getppid())
    global _workplace  # noqa: PLW0603 - a process grades at one place
    _workplace = Workplace(partial(open_spawner, LEVELS) if door is None else partial(_enter, door))


def _enter(door: socket.socket) -> Spawner:
    from grading.sandbox.zygote import Connection

    return Connection(door)


def _end_with(main: BaseProcess | None) -> None:
    """End this process, whatever it is doing, as soon as the main one is gone."""
    if main is not None:
        main.join()
        os._exit(1)


def grade_entry(entry: Entry, job: Job, *, second: bool) -> bytes:
    """Return one entry, graded, as plain bytes. Raise as `Workplace.grade` does."""
    return encode_graded(_workplace.grade(entry, job, second=second))


def given_up(entry: Entry, job: Job, why: str) -> Result:
    """Return the result of an entry that the grader failed on, and why, for the instructor."""
    reason = "The grader failed on this submission; its mark stays open until it is graded again."
    assignment = load_assignment(job.assignment)
    submission = Submission(entry.name, "")
    return unmarked(submission, assignment, job.settings, "grader_error", reason, why)
