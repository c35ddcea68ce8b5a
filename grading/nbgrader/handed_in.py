"""The notebook that counts among what a student handed in, under the name that nbgrader looks for.

nbgrader itself takes only a file called like the handout, and gives 0 for one with another name.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from logging import Logger
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from nbformat import NotebookNode
from nbgrader.api import Gradebook, MissingEntry

from grading.nbgrader.notebooks import of_reason, of_source, read_submitted
from grading.parsing.choosing import Ambiguous, Sought, modules_for
from grading.parsing.source import Cell, Source, Unreadable, form_of
from grading.submissions.reading import Entry, read_files

if TYPE_CHECKING:
    from grading.sandbox.reader import Reader

# How `backprop grade` lets a person decide.
_HOW = re.compile(r" (?=Choose one with|Grade it as)")


@dataclass
class HandedIn:
    """What was found for each notebook that nbgrader reads, by its path, and the modules beside it.

    ``elsewhere`` holds those that have another name or form, or the reason why there
    is nothing to use.
    """

    elsewhere: dict[str, Path | Source | str] = field(default_factory=dict)
    modules: dict[tuple[str, str], tuple[Cell, ...]] = field(default_factory=dict)

    def read(self, path: Path) -> NotebookNode:
        """Return what nbgrader reads as ``path``. Raise OSError if it cannot be read."""
        found = self.elsewhere.get(str(path), path)
        if isinstance(found, str):
            return of_reason(found)
        return of_source(found) if isinstance(found, Source) else read_submitted(found)

    def with_modules(self, source: Source, where: Mapping[str, Any]) -> Source:
        """Return a notebook's code with the modules that it imports."""
        written = {each.name: each for each in modules_for(source, "notebook.ipynb", {})}
        beside = self.modules.get((where["assignment"], where["student"]), ())
        found = {each.name: each for each in beside} | written
        return msgspec.structs.replace(source, modules=tuple(found.values()))


def find_work(parent: Any, sought: Mapping[str, Sought], reader: Reader, log: Logger) -> HandedIn:
    """Find the work in each folder that nbgrader grades, and have it graded under its name.

    ``parent`` is nbgrader's command. Where a person has to decide, the submission is omitted, and
    the log says why. ``sought`` is what is read for, by the names of assignments.
    """
    found = HandedIn()
    for folder, assignment, student in _folders(parent):
        name = _notebook(parent.coursedir, assignment)
        if name is None or assignment not in sought:
            continue
        wanted = str(Path(folder, f"{name}.ipynb"))
        its = msgspec.structs.replace(sought[assignment], handout=name)
        try:
            files, reason = read_files(Entry(student, (folder,)), "")
            if reason:
                continue
            source = reader.source(files, its)
        except OSError:
            continue  # reading it again says why
        except Ambiguous as why:
            said = _HOW.split(str(why))[0]
            log.error("%s: %s Leave what counts in the folder; it has no mark.", student, said)
            parent.assignments.pop(folder, None)
            continue
        except Unreadable as why:
            if not Path(wanted).is_file():
                found.elsewhere[wanted] = str(why)
                parent.assignments[folder] = [wanted]
            continue
        found.modules[assignment, student] = source.modules
        chosen = Path(folder, source.file or files[0].name)
        if chosen != Path(wanted):
            log.info("%s: %s is graded", student, chosen.name)
            is_notebook = form_of(chosen.name) == ".ipynb" and chosen.is_file()
            found.elsewhere[wanted] = chosen if is_notebook else source
            parent.assignments[folder] = [wanted]
    return found


def _folders(parent: Any) -> Iterator[tuple[str, str, str]]:
    """Yield the folders that were handed in, with their assignments and students."""
    course = parent.coursedir
    if course.notebook_id != "*":
        return
    named = parent._format_source("(?P<assignment_id>.*)", "(?P<student_id>.*)", escape=True)
    folders = parent._format_source(course.assignment_id, course.student_id)
    for folder in sorted(glob.glob(folders)):  # noqa: PTH207 - as nbgrader finds them
        if match := re.match(named, folder):
            yield folder, match["assignment_id"], match["student_id"]


def _notebook(course: Any, assignment: str) -> str | None:
    """Return the name of an assignment's notebook; None if it has several, or none."""
    with Gradebook(course.db_url, course.course_id) as gradebook:
        try:
            names = [each.name for each in gradebook.find_assignment(assignment).notebooks]
        except MissingEntry:
            return None
    return names[0] if len(names) == 1 else None


def unmark(where: Mapping[str, Any]) -> None:
    """Take back the zero that nbgrader gives for a file of another name, until it is graded."""
    with Gradebook(where["db_url"]) as gradebook:
        found = gradebook.find_submission_notebook(
            where["notebook"], where["assignment"], where["student"]
        )
        for grade in found.grades:
            grade.auto_score, grade.needs_manual_grade = None, True
        gradebook.db.commit()
