"""What a student may see of a report, by the assignment's level of feedback."""

from __future__ import annotations

from dataclasses import replace

from harness.course.report import Check, Report
from harness.course.settings import Settings


def for_student(report: Report, settings: Settings) -> Report:
    """Return the report without staff texts, and without what its level of feedback withholds.

    Messages are written for that level already.
    """
    return replace(report, checks=tuple(_shown(check, settings) for check in report.checks))


def _shown(check: Check, settings: Settings) -> Check:
    diagnosis = check.diagnosis if settings.shows("formula") else None
    if diagnosis and not settings.shows("solution"):
        diagnosis = replace(diagnosis, expected="")
    return replace(check, staff="", case=None, diagnosis=diagnosis)
