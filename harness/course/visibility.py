"""What a student may see of a report, by the assignment's level of feedback."""

from __future__ import annotations

from dataclasses import replace

from harness.course.report import Check, Diagnosis, Report
from harness.course.settings import Settings


def for_student(report: Report, settings: Settings) -> Report:
    """The report without what is for staff, and without what its level of feedback holds back.

    Messages are written for that level already.
    """
    return replace(report, checks=tuple(_shown(check, settings) for check in report.checks))


def _shown(check: Check, settings: Settings) -> Check:
    return replace(check, staff="", case=None, diagnosis=_diagnosis(check.diagnosis, settings))


def _diagnosis(diagnosis: Diagnosis | None, settings: Settings) -> Diagnosis | None:
    if diagnosis is None or not settings.shows("formula"):
        return None
    return diagnosis if settings.shows("solution") else replace(diagnosis, expected="")
