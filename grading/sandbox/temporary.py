"""The temporary folder of this process: whatever ends it, the next one removes what it left."""

import contextlib
import os
import sys
import tempfile
from functools import cache
from multiprocessing import current_process, util
from pathlib import Path

from grading.confined import scratch

if sys.platform != "win32":
    import fcntl

PREFIX, LOCK = "backprop-run-", "lock"


@cache
def room() -> Path:
    """Return the temporary folder of this process, which goes when it ends.

    What killed processes of this user left behind goes now. Multiprocessing has its sockets there.
    """
    _remove_dead()
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    util.Finalize(None, scratch.remove, args=(folder,), exitpriority=-200)
    if sys.platform != "win32":
        # Held until this process ends, however it does: open on purpose.
        fcntl.flock(os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600), fcntl.LOCK_EX)
    # The user that students' processes run as passes through it.
    folder.chmod(0o711)
    sockets = folder / "sockets"
    sockets.mkdir(0o700)
    short = str(sockets)
    if sys.platform == "linux":
        # The path of a socket has 107 bytes at most, whatever TMPDIR is.
        short = f"/proc/self/fd/{os.open(sockets, os.O_RDONLY)}"
    current_process()._config["tempdir"] = short  # type: ignore[attr-defined]
    return folder


def _remove_dead() -> None:
    if sys.platform == "win32":
        return
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        # One that is another user's, alive, or not yet locked stays.
        with contextlib.suppress(OSError):
            if folder.lstat().st_uid != os.geteuid():
                continue
            with (folder / LOCK).open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                scratch.remove(folder)
