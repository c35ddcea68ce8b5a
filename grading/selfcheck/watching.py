"""Notice when a student saves the file they work on."""

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from grading.parsing.source import form_of

# Seconds between two looks.
PAUSE = 0.3
Stamp = tuple[tuple[str, int, int], ...]


def saves(path: Path) -> Iterator[None]:
    """Yield at once, and then after every change to the file, zip or folder, forever.

    A change counts once two looks in a row find the same, so that a file is not read while it is
    being written. A file that some editors remove while they save is waited for.
    """
    checked = _stamp(path)
    yield
    before = checked
    while True:
        time.sleep(PAUSE)
        now = _stamp(path)
        if now and now == before and now != checked:
            checked = now
            yield
        before = now


def _stamp(path: Path) -> Stamp:
    """Return what differs from one state of the files to the next; empty where there are none."""
    files = [path]
    if path.is_dir():
        files = sorted(each for each in path.rglob("*") if form_of(each.name))
    found = []
    for file in files:
        with suppress(OSError):
            state = file.stat()
            found.append((str(file), state.st_mtime_ns, state.st_size))
    return tuple(found)
