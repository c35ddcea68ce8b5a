"""A submission's page for staff: all that is on record, expected answers and hidden inputs too."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from markupsafe import Markup

from grading.pages.mathematics import set_formula
from grading.pages.names import page_name
from grading.pages.render import asset, render
from grading.results.lines import CheckLine, Given, Result, report_of
from harness.course.assignments import load_assignment
from harness.course.report import Report
from harness.course.settings import Settings
from harness.course.visibility import for_student
from harness.show import chain_picture
from harness.show.marks import WORDS
from harness.show.outline import MARKS, check_label, verdict
from harness.show.visible import visible_line


@dataclass(frozen=True)
class Diagnosed:
    """A formula that a student wrote beside the right one, as mathematics and as code."""

    formula: Markup
    code: str
    expected: Markup
    expected_code: str
    mistake: str
    hint: str


@dataclass(frozen=True)
class Shown:
    """A check, ready to be shown."""

    line: CheckLine
    label: str
    mark: str
    word: str
    case: str
    diagnosed: Diagnosed | None


def staff_page(result: Result, out: Path) -> str:
    """The page as HTML that needs no other file. ``out`` is where the run wrote. Loads torch."""
    assignment = load_assignment(result.assignment)
    report = for_student(report_of(result), Settings(feedback="solution"))
    shown = [_shown(result.assignment, check) for check in result.checks]
    trouble = [each for each in shown if each.line.outcome in ("failed", "error")]
    chain = _chain(result.assignment, report) if shown and assignment.chain else ""
    return render(
        "staff.html",
        style=asset("page.css") + asset("staff.css"),
        result=result,
        overrides=_overrides(result),
        title=assignment.title,
        verdict=verdict(report) if shown else "",
        chain=chain,
        trouble=trouble,
        shown=shown,
        replay=_replay(result, out) if trouble else "",
        student=f"../students/{page_name(result.submission)}",
    )


# Many submissions of a class are judged alike.
@lru_cache(maxsize=256)
def _chain(assignment: str, report: Report) -> Markup:
    return Markup(chain_picture(load_assignment(assignment), report).svg)


def _overrides(result: Result) -> list[tuple[str, Given]]:
    """What an instructor gave in place of automatic points, and for what."""
    if not result.override:
        return []
    whole = [("the whole", result.override.whole)] if result.override.whole else []
    return [*whole, *result.override.checks.items()]


def _shown(assignment: str, check: CheckLine) -> Shown:
    case = ", ".join(f"{name} = {value}" for name, value in (check.case or {}).items())
    found = check.diagnosis
    diagnosed = found and Diagnosed(
        set_formula(assignment, check.stage, found["formula"]),
        found["formula"],
        set_formula(assignment, check.stage, found["expected"]),
        found["expected"],
        found["mistake"],
        found["hint"],
    )
    return Shown(
        check,
        f"{check.stage} {check_label(check.id)}" if check.stage else check.id,
        MARKS[check.outcome],
        WORDS[check.outcome],
        case,
        diagnosed or None,
    )


def _replay(result: Result, out: Path) -> str:
    """The command that shows the failures again; empty where a name cannot be typed."""
    name = result.submission
    if any(visible_line(each) != each for each in (name, str(out))) or name.startswith("-"):
        return ""
    words = ["backprop", "replay", str(out), name, "--submissions"]
    return f"{shlex.join(words)} FOLDER"
