"""A small private folder for the files of one child at a time."""

from __future__ import annotations

import itertools
import os
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

MIB = 2**20
BLOCK = 512  # what a file takes up is told in these
MOST_MIB = 32
MOST_ENTRIES = 1_000
# Of one file. Open files without a name any more are not counted; this and the number of files that
# can be open bound those.
FILE_MIB = 4
# The same for every child, so that messages with a path in them are the same too.
NAME = "tmp"
TRIES, REST_SECONDS = 50, 0.01


def made(root: Path, owner: str, user: int | None) -> Path:
    """Make the folder of ``owner`` in ``root``, and give it to ``user`` if that is another."""
    above = root / owner
    above.mkdir(mode=0o711)
    folder = above / NAME
    folder.mkdir(mode=0o700)
    if user is not None:
        os.chown(folder, user, user)
    return folder


def excess(folder: Path) -> str:
    """Return what is too much in the folder, as text that completes "Sigmoid.backward …"."""
    count, size, waiting = 0, 0, [folder]
    while waiting:
        try:
            for path, told in _inside(waiting.pop()):
                count, size = count + 1, size + told.st_blocks * BLOCK
                if stat.S_ISDIR(told.st_mode):
                    waiting.append(path)
                if count > MOST_ENTRIES:
                    return f"made more than {MOST_ENTRIES:,} temporary files"
        except OSError:
            return "made temporary folders that are too deep"
    return f"wrote more than {MOST_MIB} MiB of temporary files" if size > MOST_MIB * MIB else ""


def _inside(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield the entries of a folder while a child may add and remove some."""
    with suppress(FileNotFoundError):
        folder.chmod(0o700)
        with os.scandir(folder) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    yield Path(entry.path), entry.stat(follow_symlinks=False)


def empty(folder: Path) -> None:
    """Remove all that is in the folder, however deep and whatever its modes."""
    numbers = itertools.count()
    while paths := list(folder.iterdir()):
        for path in paths:
            if not _is_folder(path):
                path.unlink()
                continue
            path.chmod(0o700)
            # Folders are moved up to the top one by one: paths do not grow with their depth.
            for inner in list(path.iterdir()):
                if _is_folder(inner):
                    inner.chmod(0o700)
                    _move_up(inner, folder, numbers)
                else:
                    inner.unlink()
            path.rmdir()


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def remove(folder: Path) -> None:
    """Remove a folder with all that is in it, while a child in it may still be ending."""
    for _ in range(TRIES):
        try:
            empty(folder)
            folder.rmdir()
            return
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(REST_SECONDS)


def _move_up(path: Path, folder: Path, numbers: itertools.count[int]) -> None:
    while (target := folder / f".{next(numbers)}").exists():
        pass
    path.rename(target)
