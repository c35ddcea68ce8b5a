"""The processes that help a run: starting them undisturbed, and ending them in time."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess
from pathlib import Path

# How long helpers have to end by themselves, and how often stopped ones are continued.
GRACE_SECONDS = 5.0


@contextmanager
def undisturbed() -> Iterator[None]:
    """Keep Ctrl-C, which reaches all processes of a terminal, from those started in the block.

    Here it waits for the end of the block; there, until they import `grading.workers.calm`.
    """
    if sys.platform == "win32":
        yield
        return
    # Started in the block, it would unblock the signal.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def in_time(processes: Sequence[BaseProcess]) -> Iterator[None]:
    """Kill the processes that have not ended when the block has waited for them long enough."""
    wake()
    timer = threading.Timer(GRACE_SECONDS, _kill, [processes])
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _kill(processes: Sequence[BaseProcess]) -> None:
    wake()
    for process in processes:
        process.kill()


def wake() -> None:
    """Continue the processes that this one has started and a signal has stopped."""
    if sys.platform == "linux":
        for pid in _descendants(os.getpid()):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGCONT)


def _descendants(pid: int) -> Iterator[int]:
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, path.read_text(encoding="ascii").split()):
                yield child
                yield from _descendants(child)
