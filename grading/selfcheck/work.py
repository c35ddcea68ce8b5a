"""A student's own file, read and ready to be checked. Nothing is run, and torch is not loaded.

It is parsed in this process: students check their own work.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from grading.errors import refusal
from grading.parsing.choosing import imported, modules_for, source_of
from grading.parsing.source import HANDED_OUT, File, Source, Unreadable, form_of
from grading.parsing.zips import last_name
from grading.submissions.reading import Entry, plain_bytes, read_submission, sought
from harness.course.assignments import assignment_names, load_assignment, module_of, settings_of
from harness.course.settings import Settings
from harness.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from harness.course.assignment import Assignment

# Modules beside a file that are looked at.
MOST_BESIDE = 1_000


@dataclass(frozen=True)
class Work:
    """The code in a student's file, the name of its assignment, and the settings for it.

    ``module`` is what was handed out beside it, where no course declares the assignment.
    """

    file: Path
    source: Source
    name: str
    settings: Settings
    module: Path | None = None

    @property
    def folder(self) -> Path:
        """The folder that the file is in, or that it is."""
        return _folder(self.file)

    def assignment(self) -> Assignment:
        """Return the assignment. This loads torch, and runs its declaration."""
        return load_assignment(self.name, self.module)


def read_work(file: Path, assignment: str | None, wanted: str = "") -> Work:
    """Return the code in ``file``: a module, a notebook, or a zip or folder that holds one.

    Of several in it, it is that in the file called ``wanted``, else the one that the rules choose.
    Raise UserError if it cannot be read, it does not say which assignment it is and none is
    given, or the settings are invalid.
    """
    beside = _handed_out(_folder(file))
    names = tuple(dict.fromkeys([*assignment_names(), *beside]))
    if assignment is not None and assignment not in names:
        choice = f"There is no assignment {assignment}; choose {' or '.join(names)}."
        raise UserError(choice + did_you_mean(assignment, names))
    source = _read(file, [assignment] if assignment else names, wanted)
    name = assignment or assignment_of(file, source, names)
    settings = settings_of(name, _folder(file))
    module = None if name in assignment_names() else beside[name]
    return Work(file, source, name, settings, module)


def assignment_of(file: Path, source: Source, names: Sequence[str]) -> str:
    """Return which of ``names`` the code is for: by its import, else its file's or folder's name.

    Raise UserError if neither says it, or the imports name more than one.
    """
    used = set(imported("\n".join(cell.text for cell in source.cells)))
    found = {name for name in names if module_of(name) in used}
    if not found:
        path = file.resolve()
        for part in (path.stem, path.parent.name):
            said = re.sub("[_ ]", "-", part.lower())
            inside = {name for name in names if name in said}
            found = {each for each in inside if not any(each in more for more in inside - {each})}
            if found:
                break
    if len(found) == 1:
        return found.pop()
    why = "imports more than one assignment" if found else "does not say which assignment it is"
    raise UserError(f"{file} {why}: add --assignment {' or --assignment '.join(names)}.")


def _folder(file: Path) -> Path:
    return file if file.is_dir() else file.resolve().parent


def _handed_out(folder: Path) -> Mapping[str, Path]:
    """Return the modules in a folder that `backprop release` wrote, by their assignments."""
    found: dict[str, Path] = {}
    for path in sorted(folder.glob("*.py")):
        try:
            with path.open(encoding="utf-8") as file:
                first = file.readline(200)
        except (OSError, UnicodeDecodeError):
            continue
        if first.startswith(HANDED_OUT):
            found[first.removeprefix(HANDED_OUT).partition(" for ")[2].strip()] = path
    return found


def _read(file: Path, names: Sequence[str], wanted: str) -> Source:
    try:
        if not file.exists():
            raise UserError(f"{file} does not exist.")
        if not file.is_dir() and not form_of(file.name):
            raise UserError(
                f"{file} is not a .py file or a notebook (.ipynb), or a zip or folder that has one."
            )
        if form_of(file.name) != ".zip" and file.is_file():
            return _read_alone(file, names[0] if len(names) == 1 else "")
        return _read_inside(file, names, wanted)
    except Unreadable as reason:
        raise UserError(f"{file}: {reason}") from None
    except OSError as error:
        raise UserError(refusal(error, file)) from None


def _read_alone(file: Path, assignment: str) -> Source:
    """Return the code in a file, with the modules beside it that it imports."""
    source = source_of([File(file.name, file.read_bytes())], sought(assignment))
    folder = file.resolve().parent
    paths = islice(chain(folder.glob("*.py"), folder.glob("*/*.py")), MOST_BESIDE)
    beside = {
        path.relative_to(folder).as_posix(): partial(plain_bytes, path, path.name) for path in paths
    }
    modules = modules_for(source, file.resolve().name, beside)
    return msgspec.structs.replace(source, modules=modules)


def _read_inside(file: Path, assignments: Sequence[str], wanted: str) -> Source:
    """Return the work in a zip or folder, which may have a folder for each assignment.

    ``wanted`` names the file that it is in, if there are several.
    """
    entry = Entry(file.stem, (str(file),), file=wanted)
    found = [read_submission(entry, name, source_of) for name in assignments]
    sources = [each.source for each in found if each.source is not None]
    if not sources:
        raise Unreadable(found[0].reason)
    if wanted and not any(wanted in (each.file, last_name(each.file)) for each in sources):
        raise UserError(f"{file} holds no file called {wanted}.")
    if len({(source.file, source.cells) for source in sources}) > 1:
        raise UserError(
            f"{file} holds work for more than one assignment: add --assignment "
            f"{' or --assignment '.join(assignments)}."
        )
    return sources[0]
