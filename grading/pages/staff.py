"""A submission's page for staff: all that is on record, expected answers and hidden inputs too."""

import shlex
from functools import lru_cache, partial
from pathlib import Path

from markupsafe import Markup

from grading.pages.mathematics import set_formula
from grading.pages.names import page_address
from grading.pages.render import asset, render
from grading.results.lines import Result, report_of
from harness.course.assignments import load_assignment
from harness.course.report import Report
from harness.course.settings import Settings, for_student
from harness.drawing.marks import LOOKS
from harness.drawing.visible import visible_line
from harness.show import chain_picture
from harness.show.outline import MARKS, verdict


def staff_page(result: Result, out: Path) -> str:
    """Return the page as HTML that needs no other file; ``out`` is where the run wrote.

    Its links lead to pages of the same report. Loads torch.
    """
    assignment = load_assignment(result.assignment)
    report = for_student(report_of(result), Settings(feedback="solution"))
    trouble = [check for check in result.checks if check.outcome in ("failed", "error")]
    return render(
        "staff.html",
        style=asset("page.css") + asset("staff.css"),
        result=result,
        title=assignment.title,
        verdict=verdict(report) if result.checks else "",
        chain=_chain(result.assignment, report) if result.checks else "",
        trouble=trouble,
        formula=partial(set_formula, result.assignment),
        marks=MARKS,
        words={outcome: look.word for outcome, look in LOOKS.items()},
        replay=_replay(result, out) if trouble else "",
        student=f"page.html#student/{page_address(result.submission)}",
    )


# Many submissions of a class are judged alike.
@lru_cache(maxsize=256)
def _chain(assignment: str, report: Report) -> Markup:
    declared = load_assignment(assignment)
    return Markup(chain_picture(declared, report).svg if declared.stages else "")


def _replay(result: Result, out: Path) -> str:
    """Return the command that shows the failures again; empty where a name cannot be typed."""
    name = result.submission
    if any(visible_line(each) != each for each in (name, str(out))) or name.startswith("-"):
        return ""
    words = ["backprop", "replay", str(out), name, "--submissions"]
    return f"{shlex.join(words)} FOLDER"
