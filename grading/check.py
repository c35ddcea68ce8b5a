"""A student's own check: one file, judged in a child process with deadlines."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from grading.grader import definition_advice
from grading.sandbox import Nursery
from grading.sandbox.far import Far
from grading.source import Source, Unreadable, read_source
from harness.assignments import NAMES, load_assignment
from harness.judge import judge
from harness.probes import plan
from harness.report import Advice, Report
from harness.settings import SettingsError, settings_beside


class CheckError(Exception):
    """The file or the call cannot be used; the text says what, where and what to do."""


def check_file(
    file: Path, assignment_name: str | None, stages: Sequence[str], nursery: Nursery
) -> Report:
    """The report on the code in ``file``, all of it or the given stages only.

    Raises CheckError for a file that cannot be read, an assignment that cannot be told, or a
    stage that the assignment does not have.
    """
    source = _read(file)
    name = assignment_name or assignment_of(file, source)
    assignment = load_assignment(name)
    known = [stage.name for stage in assignment.stages]
    strange = [stage for stage in stages if stage not in known]
    if strange:
        raise CheckError(f"{name} has no stage {strange[0]}; its stages are {', '.join(known)}.")
    try:
        settings = settings_beside(file.resolve().parent, name)
        planned = plan(assignment, settings)
    except SettingsError as error:
        raise CheckError(f"{error}.") from None
    only = {check.id for check in planned if not stages or check.stage in stages}
    with Far(nursery, source, settings.limits) as far:
        if far.definition.unusable:
            raise CheckError(f"{file}: {far.definition.unusable}")
        report = judge(assignment, far, settings=settings, only=only).report
        advice = tuple(Advice(None, text) for text in definition_advice(far.definition))
    return replace(report, advice=advice + report.advice)


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


def _read(file: Path) -> Source:
    if not file.exists():
        raise CheckError(f"{file} does not exist.")
    if not file.is_file() or file.suffix.lower() not in (".py", ".ipynb"):
        raise CheckError(f"{file} is not a .py file or a notebook (.ipynb).")
    try:
        return read_source(file.name, file.read_bytes())
    except Unreadable as reason:
        raise CheckError(f"{file}: {reason}") from None
    except OSError as error:
        raise CheckError(f"{file} cannot be read: {error.strerror}.") from None
