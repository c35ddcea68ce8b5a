"""What the system refuses, in a sentence."""

from __future__ import annotations

import errno
import sys
from pathlib import Path

from harness.show.visible import visible_line

if sys.platform != "win32":
    import resource

# What the system can refuse to anybody, without naming a file.
_KINDS = {
    errno.ENOSPC: "The disk is full",
    errno.EDQUOT: "Your quota of disk space is used up",
    errno.EFBIG: "A file would become larger than is allowed here",
    errno.EROFS: "The disk can only be read",
    errno.EIO: "The disk failed",
    errno.EMFILE: "Too many files are open",
    errno.ENFILE: "Too many files are open on this machine",
    errno.ENOMEM: "There is too little memory",
    errno.EAGAIN: "The system has no process or thread to give",
    errno.ENOENT: "There is no temporary folder to write to",
}
# Of ulimit's options: what it limits, the least that grading does with, and in what unit.
_LIMITS = {
    "-n": ("RLIMIT_NOFILE", 128, 1),
    "-v": ("RLIMIT_AS", 8 * 2**30, 1024),
    "-t": ("RLIMIT_CPU", 3600, 1),
    "-f": ("RLIMIT_FSIZE", 64 * 2**20, 1024),
    "-u": ("RLIMIT_NPROC", 128, 1),
}


def explained(error: OSError | MemoryError) -> str:
    """Say in a sentence what the system refused; nothing where that is not known."""
    if isinstance(error, MemoryError):
        said = _KINDS[errno.ENOMEM]
    elif isinstance(error.filename, str):
        return hinted(refusal(error, "", "used"))
    elif error.errno in _KINDS:
        said = _KINDS[error.errno]
    else:
        return ""
    return hinted(f"{said}.")


def hinted(sentence: str) -> str:
    """The sentence with the limits of the shell, where they may be why."""
    why = low_limits()
    return f"{sentence} {why[0].upper()}{why[1:]}." if why else sentence


def low_limits() -> str:
    """Name the limits of the shell that may be why something failed; nothing where none is low."""
    limits = ", ".join(_low_limits())
    return f"a limit of this shell may be why: {limits}" if limits else ""


def _low_limits() -> list[str]:
    if sys.platform == "win32":
        return []
    found = []
    for option, (name, least, unit) in _LIMITS.items():
        limit = resource.getrlimit(getattr(resource, name))[0]
        if limit != resource.RLIM_INFINITY and limit < least:
            found.append(f"ulimit {option} {limit // unit}")
    return found


def refusal(error: OSError, where: Path | str, done: str = "read") -> str:
    """Say that ``where``, or the path that the error names, cannot be ``done``, and why."""
    path = error.filename if isinstance(error.filename, str) else str(where)
    return f"{visible_line(path)} cannot be {done}: {error.strerror or error}."
