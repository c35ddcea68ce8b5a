"""A student's own check: one file, judged in a child process with deadlines."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from grading.grader import definition_advice
from grading.sandbox import Nursery
from grading.sandbox.far import Far
from grading.source import Source, Unreadable, read_source
from grading.submissions import CODE, HANDED_IN, Entry, read_submission
from harness.assignment import Assignment
from harness.assignments import NAMES, load_assignment
from harness.judge import judge
from harness.probes import Planned, plan
from harness.report import Advice, Report
from harness.settings import Settings, SettingsError, settings_beside
from harness.visibility import for_student


class CheckError(Exception):
    """The file or the call cannot be used; the text says what, where and what to do."""


@dataclass(frozen=True)
class Work:
    """A student's file, ready to be checked. ``planned`` are the checks of its assignment."""

    file: Path
    source: Source
    assignment: Assignment
    settings: Settings
    planned: tuple[Planned, ...]


def check_file(
    file: Path, assignment_name: str | None, stages: Sequence[str], nursery: Nursery
) -> Report:
    """The report on the code in ``file``, all of it or the given stages only.

    Raises CheckError for a file that cannot be read, an assignment that cannot be told, or a
    stage that the assignment does not have.
    """
    work = open_work(file, assignment_name)
    known = [stage.name for stage in work.assignment.stages]
    strange = [stage for stage in stages if stage not in known]
    if strange:
        raise CheckError(
            f"{work.assignment.name} has no stage {strange[0]}; its stages are {', '.join(known)}."
        )
    only = {check.id for check in work.planned if not stages or check.stage in stages}
    return check_work(work, only, nursery)


def open_work(file: Path, assignment_name: str | None) -> Work:
    """The code in ``file``, a module, a notebook, or a zip or folder that holds exactly one.

    Nothing is run. Raises CheckError where it cannot be read, or its assignment cannot be told.
    """
    source = _read(file, assignment_name)
    name = assignment_name or assignment_of(file, source)
    assignment = load_assignment(name)
    try:
        settings = settings_beside(file.resolve().parent, name)
        return Work(file, source, assignment, settings, plan(assignment, settings))
    except SettingsError as error:
        raise CheckError(f"{error}.") from None


def check_work(work: Work, only: Iterable[str], nursery: Nursery) -> Report:
    """The report on the checks named by ``only``. Raises CheckError for code that is none."""
    with Far(nursery, work.source, work.settings.limits) as far:
        if far.definition.unusable:
            raise CheckError(f"{work.file}: {far.definition.unusable}")
        report = judge(work.assignment, far, settings=work.settings, only=only).report
        advice = tuple(Advice(None, text) for text in definition_advice(far.definition))
    return for_student(replace(report, advice=advice + report.advice), work.settings)


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
    if not file.exists():
        raise CheckError(f"{file} does not exist.")
    if not file.is_dir() and file.suffix.lower() not in HANDED_IN:
        raise CheckError(
            f"{file} is not a .py file or a notebook (.ipynb), nor a zip or folder that holds one."
        )
    try:
        if file.suffix.lower() in CODE and file.is_file():
            return read_source(file.name, file.read_bytes())
        return _read_inside(file, [assignment_name] if assignment_name else NAMES)
    except Unreadable as reason:
        raise CheckError(f"{file}: {reason}") from None
    except OSError as error:
        raise CheckError(f"{file} cannot be read: {error.strerror}.") from None


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
