"""Sentences for the user: what went wrong, and lists of names."""

import errno
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from grading.confined.software import MissingPackage
from grading.confined.spawner import SpawnerError
from harness.drawing.visible import visible_line
from harness.errors import UserError

if sys.platform != "win32":
    import resource

# What the system can refuse without naming a file.
_KINDS = {
    errno.ENOSPC: "The disk is full",
    errno.EDQUOT: "Your quota of disk space is used up",
    errno.EFBIG: "A file would become larger than is allowed here",
    errno.EROFS: "The disk is read-only",
    errno.EIO: "The disk failed",
    errno.EMFILE: "Too many files are open",
    errno.ENFILE: "Too many files are open on this machine",
    errno.ENOMEM: "There is too little memory",
    errno.EAGAIN: "The system cannot start another process or thread",
    errno.ENOENT: "There is no temporary folder to write to",
}
# Options of ulimit: the resource, the least that grading works with, and the unit.
_LIMITS = {
    "-n": ("RLIMIT_NOFILE", 128, 1),
    "-v": ("RLIMIT_AS", 8 * 2**30, 1024),
    "-t": ("RLIMIT_CPU", 3600, 1),
    "-f": ("RLIMIT_FSIZE", 64 * 2**20, 1024),
    "-u": ("RLIMIT_NPROC", 128, 1),
}


def sentence(error: BaseException) -> str:
    """Return what to tell the user about an error; "" if it is a bug in this program."""
    match error:
        case UserError() | MissingPackage():
            return str(error)
        case SpawnerError():
            return (
                f"A process for the code could not be started ({error}): `backprop doctor` says "
                "what is missing."
            )
        case MemoryError():
            return hinted(f"{_KINDS[errno.ENOMEM]}.")
        case OSError(filename=str()):
            return hinted(refusal(error, "", "used"))
        case OSError() if error.errno in _KINDS:
            return hinted(f"{_KINDS[error.errno]}.")
        case UnicodeEncodeError(encoding="utf-8"):
            around = visible_line(error.object[max(error.start - 20, 0) : error.end + 20])
            return f"{around} is not UTF-8 text: write it in UTF-8."
    return ""


@contextmanager
def refused_as(kind: Callable[[str], BaseException]) -> Iterator[None]:
    """Turn an error in the block that `sentence` explains into ``kind`` of that sentence."""
    try:
        yield
    except Exception as error:
        if not (said := sentence(error)):
            raise
        raise kind(said) from None


def hinted(sentence: str) -> str:
    """Return the sentence, followed by the limits of the shell if they may be the reason."""
    why = low_limits()
    return f"{sentence} {why[0].upper()}{why[1:]}." if why else sentence


def low_limits() -> str:
    """Return a clause naming the shell's limits that may be why something failed, or ""."""
    if sys.platform == "win32":
        return ""
    found = []
    for option, (name, least, unit) in _LIMITS.items():
        limit = resource.getrlimit(getattr(resource, name))[0]
        if limit != resource.RLIM_INFINITY and limit < least:
            found.append(f"ulimit {option} {limit // unit}")
    return f"a limit of this shell may be why: {', '.join(found)}" if found else ""


def refusal(error: OSError, where: Path | str, done: str = "read") -> str:
    """Say that ``where``, or the path that the error names, cannot be ``done``, and why."""
    path = error.filename if isinstance(error.filename, str) else str(where)
    return f"{visible_line(path)} cannot be {done}: {error.strerror or error}."


def listed(names: Sequence[str], most: int = 10) -> str:
    """Return the names on one line, only the first of them if there are many."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return visible_line(", ".join(names[:most])) + more


def not_isolated(readable: str, advice: str = "Grade only code that you trust.") -> str:
    """Return the warning that submissions run without isolation, and can read ``readable``."""
    return (
        "WARNING: submissions are NOT isolated (isolation: minimal). Each runs in a process of "
        f"its own with limits on time and memory, but it can read {readable} and use the "
        f"network. {advice}"
    )


@contextmanager
def isolated(instead: str = "--isolation minimal") -> Iterator[None]:
    """Turn errors of starting isolated processes in the block into UserErrors with advice.

    ``instead`` names what runs code without isolation.
    """
    try:
        yield
    except MissingPackage:
        raise  # it says what to do
    except SpawnerError as error:
        raise UserError(
            f"This machine cannot isolate submissions ({error}). `backprop doctor` says what to "
            f"install; {instead} runs code without isolation, for code you trust."
        ) from None


@contextmanager
def refusals(where: Path | str, done: str = "read") -> Iterator[None]:
    """Turn an OSError in the block into a UserError: ``where`` cannot be ``done``, and why."""
    try:
        yield
    except OSError as error:
        raise UserError(refusal(error, where, done)) from None
