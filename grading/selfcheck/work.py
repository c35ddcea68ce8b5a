"""A student's own file, read and ready to be checked. Nothing is run, and torch is not loaded.

It is parsed in this process: students check their own work.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from grading.confined.source import CODE, Source, Unreadable, read_source
from grading.confined.zips import source_of
from grading.errors import refusal
from grading.submissions.reading import HANDED_IN, Entry, read_submission
from harness.course.assignments import NAMES
from harness.course.settings import Settings, settings_beside
from harness.errors import UserError

# Linear, however many blank lines there are.
_IMPORT = re.compile(r"^[ \t]*(?:from|import)[ \t]+harness\.(\w+)", re.MULTILINE)


@dataclass(frozen=True)
class Work:
    """The code in a student's file, the name of its assignment, and the settings beside it."""

    file: Path
    source: Source
    assignment: str
    settings: Settings


def read_work(file: Path, assignment: str | None) -> Work:
    """Return the code in ``file``: a module, a notebook, or a zip or folder that holds one.

    Raise UserError if it cannot be read, it does not say which assignment it is and none is
    given, or the settings are invalid.
    """
    if assignment is not None and assignment not in NAMES:
        raise UserError(f"There is no assignment {assignment}; choose {' or '.join(NAMES)}.")
    source = _read(file, assignment)
    name = assignment or assignment_of(file, source)
    return Work(file, source, name, settings_beside(file.resolve().parent, name))


def assignment_of(file: Path, source: Source) -> str:
    """Return the assignment of the code: by its import, else by the file's or folder's name.

    Raise UserError if neither says it, or the imports name more than one.
    """
    modules = [name.replace("-", "_") for name in NAMES]
    text = "\n".join(cell.text for cell in source.cells)
    found = {each for each in modules if each in _IMPORT.findall(text)}
    if not found:
        path = file.resolve()
        for part in (path.stem, path.parent.name):
            name = part.lower().replace("-", "_").replace(" ", "_")
            found = {module for module in modules if module in name}
            if found:
                break
    if len(found) == 1:
        return found.pop().replace("_", "-")
    why = "imports more than one assignment" if found else "does not say which assignment it is"
    raise UserError(f"{file} {why}: add --assignment {' or --assignment '.join(NAMES)}.")


def _read(file: Path, assignment_name: str | None) -> Source:
    try:
        if not file.exists():
            raise UserError(f"{file} does not exist.")
        if not file.is_dir() and file.suffix.lower() not in HANDED_IN:
            raise UserError(
                f"{file} is not a .py file or a notebook (.ipynb), or a zip or folder that has one."
            )
        if file.suffix.lower() in CODE and file.is_file():
            return read_source(file.name, file.read_bytes())
        return _read_inside(file, [assignment_name] if assignment_name else NAMES)
    except Unreadable as reason:
        raise UserError(f"{file}: {reason}") from None
    except OSError as error:
        raise UserError(refusal(error, file)) from None


def _read_inside(file: Path, assignments: Sequence[str]) -> Source:
    """Return the one file in a zip or folder, which may have a folder for each assignment."""
    entry = Entry(file.stem, (str(file),))
    found = [read_submission(entry, name, source_of) for name in assignments]
    sources = {each.digest: each.source for each in found if each.source is not None}
    if not sources:
        raise Unreadable(found[0].reason)
    if len(sources) > 1:
        raise UserError(
            f"{file} holds work for more than one assignment: add --assignment "
            f"{' or --assignment '.join(assignments)}."
        )
    return sources.popitem()[1]
