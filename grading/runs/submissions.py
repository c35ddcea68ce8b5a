"""The folder of submissions that a run grades: what it holds, and whether it is still there."""

import os
from collections.abc import Sequence
from pathlib import Path

from grading.errors import refusal, refusals
from grading.results.record import hint
from grading.submissions.reading import Entry, find_submissions, holds_only
from harness.errors import UserError


class Folder:
    """A folder of submissions. Raises UserError if it cannot be looked into."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with refusals(path):
            try:
                self._identity = _identity(path)
            except (FileNotFoundError, NotADirectoryError):
                raise UserError(
                    f"{path} is not a folder: give the folder that holds the submissions."
                ) from None

    def entries(self, assignment: str, out: Path) -> list[Entry]:
        """Return what the folder holds, in order. Raise UserError if that cannot be graded."""
        folder = self._path
        if Path(os.path.realpath(out)).is_relative_to(os.path.realpath(folder)):
            raise UserError(
                f"{out} is inside {folder}, where it would be taken for a submission: give --out "
                "a folder outside."
            )
        with refusals(folder):
            entries = find_submissions(folder)
        if not entries:
            raise UserError(
                f"{folder} holds no submissions: no .py, .ipynb or .zip file, and no folder."
            )
        held = [holds_only(entry) for entry in entries]
        if all(held) and not any(assignment in names for names in held):
            others = " and ".join(sorted(frozenset().union(*held)))
            raise UserError(f"{folder} holds work for {others} and none for {assignment}.")
        return entries

    def wanted(self, entries: Sequence[Entry], only: Sequence[str]) -> list[Entry]:
        """Return the entries named by ``only``, or all if it is empty."""
        names = {entry.name for entry in entries}
        for name in only:
            if name not in names:
                known = hint(name, names, "submissions are named like their files and folders.")
                raise UserError(f"{self._path} has no submission called {name!r}: {known}")
        return [entry for entry in entries if not only or entry.name in only]

    def require(self) -> None:
        """Raise UserError if the folder has gone away, which is not a student's fault."""
        try:
            if _identity(self._path) == self._identity:
                return
            why = f"{self._path} is not the same folder any more: it was moved or unmounted."
        except OSError as error:
            why = refusal(error, self._path)
        raise UserError(
            f"{why} Nothing was published, and what has been graded is kept: bring the folder "
            "back and run the same command again, without --fresh."
        )


def _identity(folder: Path) -> tuple[int, int]:
    with os.scandir(folder):
        # Only who may search a folder may ask about the dot in it.
        found = os.stat(os.path.join(folder, "."))  # noqa: PTH116, PTH118 - a path drops the dot
    return found.st_dev, found.st_ino
