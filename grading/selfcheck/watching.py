"""When a student saves the file they work on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from grading.confined.source import CODE

# Seconds between two looks.
PAUSE = 0.3
Stamp = tuple[tuple[str, int, int], ...]


def saves(path: Path, pause: float = PAUSE) -> Iterator[None]:
    """One item at once, and one after each change to the file, zip or folder, without end.

    A change counts when two looks in a row find the same, so that a file is not read while it is
    written. A file that is gone for a while, as some editors save, is waited for.
    """
    checked = _stamp(path)
    yield
    before = checked
    while True:
        time.sleep(pause)
        now = _stamp(path)
        if now and now == before and now != checked:
            checked = now
            yield
        before = now


def _stamp(path: Path) -> Stamp:
    """What tells one state of a file from the next; empty where there is none."""
    files = [path]
    if path.is_dir():
        files = sorted(each for each in path.rglob("*") if each.suffix.lower() in CODE)
    found = []
    for file in files:
        try:
            state = file.stat()
        except OSError:
            continue
        found.append((str(file), state.st_mtime_ns, state.st_size))
    return tuple(found)
