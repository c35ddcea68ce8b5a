"""The folder of submissions that a run grades: what it holds, and whether it is still there."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from grading.errors import refusal, refusals
from grading.results.record import hint
from grading.sandbox.temporary import room
from grading.submissions.intake import Intake, take_in
from grading.submissions.opening import opened
from grading.submissions.people import Roster
from grading.submissions.reading import Entry, holds_only
from harness.errors import UserError


@contextmanager
def open_folder(path: Path) -> Iterator[Folder]:
    """Yield a folder of submissions, or a zip as one. Raise UserError if it is neither."""
    with opened(path, room()) as (folder, was_zip):
        yield Folder(path, folder, was_zip=was_zip)


class Folder:
    """A folder of submissions, which the user calls ``called``.

    Raises UserError if it cannot be looked into.
    """

    def __init__(self, called: Path, path: Path, *, was_zip: bool = False) -> None:
        self._called = called
        self.path = path
        self._was_zip = was_zip
        with refusals(path):
            try:
                self._identity = _identity(path)
            except (FileNotFoundError, NotADirectoryError):
                raise UserError(
                    f"{called} is not a folder or zip: give the one that holds the submissions."
                ) from None

    def take_in(self, assignment: str, out: Path, roster: Roster | None, platform: str) -> Intake:
        """Return what the folder holds. Raise UserError if that cannot be graded."""
        folder = self._called
        if Path(os.path.realpath(out)).is_relative_to(os.path.realpath(folder)):
            raise UserError(
                f"{out} is inside {folder}, where it would be taken for a submission: give --out "
                "a folder outside."
            )
        with refusals(folder):
            found = take_in(self.path, assignment, roster, platform, was_zip=self._was_zip)
        if not found.entries:
            raise UserError(
                f"{folder} holds no submissions: no .py, .ipynb or .zip file, and no folder."
            )
        held = [holds_only(entry) for entry in found.entries]
        if all(held) and not any(assignment in names for names in held):
            others = " and ".join(sorted(frozenset().union(*held)))
            raise UserError(f"{folder} holds work for {others} and none for {assignment}.")
        return found

    def wanted(self, entries: Sequence[Entry], only: Sequence[str]) -> list[Entry]:
        """Return the entries named by ``only``, or all if it is empty."""
        names = {entry.name for entry in entries}
        for name in only:
            if name not in names:
                known = hint(name, names, "submissions are named like their files and folders.")
                raise UserError(f"{self._called} has no submission called {name!r}: {known}")
        return [entry for entry in entries if not only or entry.name in only]

    def require(self) -> None:
        """Raise UserError if the folder has gone away, which is not a student's fault."""
        try:
            if _identity(self.path) == self._identity:
                return
            why = f"{self._called} is not the same folder any more: it was moved or unmounted."
        except OSError as error:
            why = refusal(error, self._called)
        raise UserError(
            f"{why} Nothing was published, and what has been graded is kept: bring the folder "
            "back and run the same command again, without --fresh."
        )


def _identity(folder: Path) -> tuple[int, int]:
    with os.scandir(folder):
        # Only who may search a folder may ask about the dot in it.
        found = os.stat(os.path.join(folder, "."))  # noqa: PTH116, PTH118 - a path drops the dot
    return found.st_dev, found.st_ino
