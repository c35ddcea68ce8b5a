"""The processes that help a run: their temporary folder, and ending them in time."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from multiprocessing import util
from multiprocessing.process import BaseProcess
from pathlib import Path

if sys.platform != "win32":
    import fcntl

PREFIX, LOCK = "backprop-run-", "lock"
# How long helpers have to end by themselves, and how often stopped ones are continued.
GRACE_SECONDS = 5.0


@cache
def room() -> Path:
    """Return the temporary folder of this process, which is removed when it ends.

    What killed runs of this user left behind is removed now. Multiprocessing has its sockets there.
    """
    _remove_dead()
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    # After multiprocessing has removed its own folder inside.
    util.Finalize(None, shutil.rmtree, args=(folder, True), exitpriority=-200)
    if sys.platform != "win32":
        # Held until this process ends, however it does: open on purpose.
        fcntl.flock(os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600), fcntl.LOCK_EX)
    short = str(folder)
    if sys.platform == "linux":
        # The path of a socket has 107 bytes at most, whatever TMPDIR is.
        short = f"/proc/self/fd/{os.open(folder, os.O_RDONLY)}"
    before, tempfile.tempdir = tempfile.tempdir, short
    try:
        util.get_temp_dir()
    finally:
        tempfile.tempdir = before
    return folder


def _remove_dead() -> None:
    if sys.platform == "win32":
        return
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        # Folders that are another user's, in use, or not yet locked stay.
        with contextlib.suppress(OSError):
            if folder.lstat().st_uid != os.geteuid():
                continue
            with (folder / LOCK).open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)


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
