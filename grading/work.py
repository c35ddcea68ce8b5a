"""A student's own file, read and ready to be checked. Nothing is run, and torch is not loaded."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from grading.faults import refusal
from grading.source import Source, Unreadable, read_source
from grading.submissions import CODE, HANDED_IN, Entry, read_submission
from harness.assignments import NAMES
from harness.settings import Settings, SettingsError, settings_beside


class CheckError(Exception):
    """The file or the call cannot be used; the text says what, where and what to do."""


@dataclass(frozen=True)
class Work:
    """The code in a student's file, the name of its assignment, and the settings beside it."""

    file: Path
    source: Source
    assignment: str
    settings: Settings


def read_work(file: Path, assignment: str | None) -> Work:
    """The code in ``file``, a module, a notebook, or a zip or folder that holds exactly one.

    Raises CheckError where it cannot be read, its assignment cannot be told where none is given,
    or the settings mean nothing.
    """
    if assignment is not None and assignment not in NAMES:
        raise CheckError(f"There is no assignment {assignment}: there is {' and '.join(NAMES)}.")
    source = _read(file, assignment)
    name = assignment or assignment_of(file, source)
    try:
        return Work(file, source, name, settings_beside(file.resolve().parent, name))
    except SettingsError as error:
        raise CheckError(f"{error}.") from None


def assignment_of(file: Path, source: Source) -> str:
    """Which assignment the code is for: by its import, else by the file's or folder's name.

    Raises CheckError where neither tells, or the imports name more than one.
    """
    code = "\n".join(cell.text for cell in source.cells)
    modules = "|".join(name.replace("-", "_") for name in NAMES)
    found: set[str] = set(
        re.findall(rf"^\s*(?:from|import)\s+harness\.({modules})\b", code, re.MULTILINE)
    )
    if not found:
        path = file.resolve()
        for text in (path.stem, path.parent.name):
            found = set(re.findall(modules, text.lower().replace("-", "_").replace(" ", "_")))
            if found:
                break
    if len(found) == 1:
        return found.pop().replace("_", "-")
    why = "imports more than one assignment" if found else "does not say which assignment it is"
    raise CheckError(f"{file} {why}: add --assignment {' or --assignment '.join(NAMES)}.")


def _read(file: Path, assignment_name: str | None) -> Source:
    try:
        if not file.exists():
            raise CheckError(f"{file} does not exist.")
        if not file.is_dir() and file.suffix.lower() not in HANDED_IN:
            raise CheckError(
                f"{file} is not a .py file or a notebook (.ipynb), nor a zip or folder that holds "
                "one."
            )
        if file.suffix.lower() in CODE and file.is_file():
            return read_source(file.name, file.read_bytes())
        return _read_inside(file, [assignment_name] if assignment_name else NAMES)
    except Unreadable as reason:
        raise CheckError(f"{file}: {reason}") from None
    except OSError as error:
        raise CheckError(refusal(error, file)) from None


def _read_inside(file: Path, assignments: Sequence[str]) -> Source:
    """The one file in a zip or folder, which may have a folder for each assignment."""
    entry = Entry(file.stem, (str(file),))
    found = [read_submission(entry, name) for name in assignments]
    sources = {each.digest: each.source for each in found if each.source is not None}
    if not sources:
        raise Unreadable(found[0].reason)
    if len(sources) > 1:
        raise CheckError(
            f"{file} holds work for more than one assignment: add --assignment "
            f"{' or --assignment '.join(assignments)}."
        )
    return sources.popitem()[1]
