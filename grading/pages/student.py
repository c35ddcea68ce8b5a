"""A student's page: the verdict, the chain with its wrong edges, what they wrote, what to do next.

It shows no more than the assignment's level of feedback allows, and needs no other file, so that it
can be handed out alone.
"""

from dataclasses import replace
from functools import lru_cache

from markupsafe import Markup

from grading.pages.render import asset, render
from grading.results.lines import OPEN, Result, report_of
from harness.course.assignments import load_assignment
from harness.course.report import Report
from harness.course.settings import Settings, for_student
from harness.show import report_html


def student_page(result: Result, settings: Settings) -> str:
    """Return the page of a submission for its student: HTML that needs no other file.

    ``settings`` say how much of the result a student sees. Loads torch.
    """
    assignment = load_assignment(result.assignment)
    report = replace(for_student(report_of(result), settings), flags=())
    return render(
        "student.html",
        style=asset("page.css"),
        name=result.submission,
        title=assignment.title,
        open=result.status in OPEN,
        reason=result.reason or "",
        max_score=result.max_score,
        given=result.override.score if result.override else None,
        advice=[str(each) for each in report.advice],
        report=_judged(result.assignment, report) if report.checks else "",
    )


# Many submissions of a class are judged alike, to the letter.
@lru_cache(maxsize=256)
def _judged(assignment: str, report: Report) -> Markup:
    return Markup(report_html(report, load_assignment(assignment)))
