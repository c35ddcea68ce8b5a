"""What Python and torch raise is explained in the student's names, with a way on."""

from __future__ import annotations

import linecache
import tomllib
import warnings
from pathlib import Path
from typing import Any

import pytest

from harness.many_neurons import check

ERRORS = tomllib.loads(Path(__file__).with_name("student_errors.toml").read_text(encoding="utf-8"))


def checked(case):
    """Return the report on a stage in which the old text is replaced by the new."""
    text = ERRORS["right"][case["stage"]]
    assert text.count(case["old"]) == 1
    text, name = text.replace(case["old"], case["new"]), f"<{case['stage']} {hash(case['new'])}>"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    scope: dict[str, Any] = {"__name__": "submission"}
    exec(compile(text, name, "exec"), scope)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return check(scope[case["stage"]])


@pytest.mark.parametrize("case", ERRORS["error"].values(), ids=ERRORS["error"])
def test_an_error_is_explained_in_the_students_names_and_leads_on(case):
    said = [each.message for each in checked(case).report.checks if each.message]
    assert any(all(each in message for each in case["told"]) for message in said), said


def test_what_a_gradient_too_few_costs_is_told_once():
    text = repr(checked(ERRORS["error"]["a-gradient-too-few"]))
    assert text.count("missing") == 1 and "∂C/∂a_prev, ∂C/∂w, ∂C/∂b" in text


def test_an_error_that_nobody_knows_is_quoted_with_its_line():
    unknown = ERRORS["error"]["a-list-returned"] | {"new": "raise KeyError('odd')"}
    report = checked(unknown).report
    (message,) = {each.message for each in report.checks if each.message}
    assert message.endswith("The line is `raise KeyError('odd')`.")
