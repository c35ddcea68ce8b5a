"""Results for GitHub Classroom's reporter, and the workflow that asks for them."""

import base64
import math
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from grading.exports.files import filled, message_of
from grading.results.lines import OPEN, Result, checks_told
from harness.course.assignments import SOURCE
from harness.course.report import Check
from harness.drawing.visible import visible_line

VERSION = 3


# Where a student's repository has the course that declares an assignment.
COURSE = ".github/course"


def workflow(assignment: str, files: str, requirements: Iterable[str], settings: str = "") -> str:
    """Return the workflow for a student's repository that holds ``files`` for the assignment.

    It installs ``requirements``, and writes ``settings``, the text of ``assignment.toml``, without
    its comments, into the course in ``COURSE``.
    """
    lines = (settings or f'assignment = "{assignment}"').split("\n")
    kept = (line.rstrip() for line in lines if line.strip() and not line.lstrip().startswith("#"))
    return filled(
        "workflow.yml",
        assignment=assignment,
        files=files,
        requirements=" ".join(requirements),
        course=COURSE,
        folder=f"{COURSE}/{SOURCE}/{assignment}",
        # GitHub would replace what stands in ${{ }}.
        settings=f"\n{' ' * 10}".join(kept).replace("${{", "$ {{"),
    )


def encoded_report(result: Result) -> str:
    """Return what a step writes for the reporter: the report as JSON, in base64."""
    return base64.b64encode(msgspec.json.encode(classroom_report(result))).decode("ascii")


def classroom_report(result: Result) -> dict[str, Any]:
    """Return the report on one submission. It always has a test: the reporter fails without one."""
    checks = checks_told(result)
    tests = [_test(check, checks) for check in checks]
    passed = all(test["status"] == "pass" for test in tests)
    status = "error" if result.status in OPEN else "pass" if passed else "fail"
    return {
        "version": VERSION,
        "status": status,
        # The reporter counts in whole points.
        "max_score": math.ceil(result.max_score),
        "tests": tests,
    }


def _test(check: Check, checks: Sequence[Check]) -> dict[str, Any]:
    return {
        "name": visible_line(check.title),
        "status": {"passed": "pass", "error": "error"}.get(check.outcome, "fail"),
        "score": check.points,
        "message": message_of(check, checks),
        "test_code": check.id,
        "task_id": 0,
        "filename": "",
        "line_no": 0,
        "duration": 0,
    }
