"""A student's own file, read and ready to be checked. Nothing is run, and torch is not loaded.

It is parsed here, within the caps of `grading.confined.source`: a student checks their own work.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from grading.confined.source import CODE, Source, Unreadable, read_source
from grading.confined.zips import source_of
from grading.errors import refusal
from grading.submissions.reading import HANDED_IN, Entry, read_submission
from harness.course.assignments import NAMES
from harness.course.settings import Settings, settings_beside
from harness.errors import UserError


@dataclass(frozen=True)
class Work:
    """The code in a student's file, the name of its assignment, and the settings beside it."""

    file: Path
    source: Source
    assignment: str
    settings: Settings


def read_work(file: Path, assignment: str | None) -> Work:
    """The code in ``file``, a module, a notebook, or a zip or folder that holds exactly one.

    Raises UserError where it cannot be read, its assignment cannot be told where none is given,
    or the settings mean nothing.
    """
    if assignment is not None and assignment not in NAMES:
        raise UserError(f"There is no assignment {assignment}: there is {' and '.join(NAMES)}.")
    source = _read(file, assignment)
    name = assignment or assignment_of(file, source)
    return Work(file, source, name, settings_beside(file.resolve().parent, name))


def assignment_of(file: Path, source: Source) -> str:
    """Which assignment the code is for: by its import, else by the file's or folder's name.

    Raises UserError where neither tells, or the imports name more than one.
    """
    modules = [name.replace("-", "_") for name in NAMES]
    found = {each for cell in source.cells for each in _imported(cell.text) if each in modules}
    if not found:
        path = file.resolve()
        for text in (path.stem, path.parent.name):
            name = text.lower().replace("-", "_").replace(" ", "_")
            found = {module for module in modules if module in name}
            if found:
                break
    if len(found) == 1:
        return found.pop().replace("_", "-")
    why = "imports more than one assignment" if found else "does not say which assignment it is"
    raise UserError(f"{file} {why}: add --assignment {' or --assignment '.join(NAMES)}.")


def _imported(code: str) -> Iterator[str]:
    """The modules of the harness that lines of the code import. A line is looked at once."""
    for line in code.split("\n"):
        words = line.split(maxsplit=2)
        if len(words) > 1 and words[0] in ("from", "import"):
            package, _, rest = words[1].partition(".")
            if package == "harness":
                yield re.split(r"\W", rest, maxsplit=1)[0]


def _read(file: Path, assignment_name: str | None) -> Source:
    try:
        if not file.exists():
            raise UserError(f"{file} does not exist.")
        if not file.is_dir() and file.suffix.lower() not in HANDED_IN:
            raise UserError(
                f"{file} is not a .py file or a notebook (.ipynb), nor a zip or folder that holds "
                "one."
            )
        if file.suffix.lower() in CODE and file.is_file():
            return read_source(file.name, file.read_bytes())
        return _read_inside(file, [assignment_name] if assignment_name else NAMES)
    except Unreadable as reason:
        raise UserError(f"{file}: {reason}") from None
    except OSError as error:
        raise UserError(refusal(error, file)) from None


def _read_inside(file: Path, assignments: Sequence[str]) -> Source:
    """The one file in a zip or folder, which may have a folder for each assignment."""
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
