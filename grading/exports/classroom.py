"""Results for GitHub Classroom's reporter, and the workflow that asks for them."""

from __future__ import annotations

import base64
import math
from typing import Any

import msgspec

from grading.results.lines import OPEN, Result, checks_told
from harness.course.report import Check
from harness.show.visible import visible, visible_line

VERSION = 3
# Steps of a workflow go by this name; the reporter reads ``BACKPROP_RESULTS``.
STEP = "backprop"

WORKFLOW = """\
name: GitHub Classroom Workflow
on:
  push:
  workflow_dispatch:
permissions:
  checks: write
  actions: read
  contents: read
jobs:
  grade:
    runs-on: ubuntu-latest
    if: github.actor != 'github-classroom[bot]'
    timeout-minutes: 20
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-python@v5
        with:
          python-version: "3.11"
      - name: Install
        run: |
          sudo apt-get update && sudo apt-get install -y bubblewrap
          sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0 || true
          pip install {requirement}
      - name: Grade
        id: {step}
        run: |
          mkdir handed-in && cp -r {files} handed-in/
          backprop grade handed-in --assignment {assignment} --out results --workers 1
          echo "result=$(backprop export classroom results)" >> "$GITHUB_OUTPUT"
      - name: Report
        if: always()
        uses: classroom-resources/autograding-grading-reporter@v1
        env:
          {variable}_RESULTS: "${{{{ steps.{step}.outputs.result }}}}"
        with:
          runners: {step}
"""


def workflow(assignment: str, files: str, requirement: str) -> str:
    """The workflow for a student's repository that holds ``files`` for the assignment."""
    return WORKFLOW.format(
        assignment=assignment,
        files=files,
        requirement=requirement,
        step=STEP,
        variable=STEP.upper(),
    )


def encoded_report(result: Result) -> str:
    """What a step writes for the reporter: the report as JSON, in base64."""
    return base64.b64encode(msgspec.json.encode(classroom_report(result))).decode("ascii")


def classroom_report(result: Result) -> dict[str, Any]:
    """The report on one submission. It always has a test: the reporter fails without one."""
    tests = [_test(check) for check in checks_told(result)]
    passed = all(test["status"] == "pass" for test in tests)
    if result.status in OPEN:
        status = "error"
    else:
        status = "pass" if passed else "fail"
    return {
        "version": VERSION,
        "status": status,
        # The reporter counts in whole points.
        "max_score": math.ceil(result.max_score),
        "tests": tests,
    }


def _test(check: Check) -> dict[str, Any]:
    status = {"passed": "pass", "error": "error"}.get(check.outcome, "fail")
    if check.outcome == "not_run":
        message = f"waits for {check.waits_for}"
    else:
        message = visible(check.message)
    return {
        "name": visible_line(check.title),
        "status": status,
        "score": check.points,
        "message": message,
        "test_code": check.id,
        "task_id": 0,
        "filename": "",
        "line_no": 0,
        "duration": 0,
    }
