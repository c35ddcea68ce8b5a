"""What Python and torch raise is explained in the student's names, with a way on."""

from __future__ import annotations

import linecache
import re
import tomllib
import warnings
from pathlib import Path
from typing import Any

import pytest

from harness.candidate.workbench import Workbench
from harness.course.settings import Settings
from harness.judging.judge import judge
from harness.many_neurons import MANY_NEURONS, check
from harness.probes import plan
from tests.right import MANY

ERRORS = tomllib.loads(Path(__file__).with_name("student_errors.toml").read_text(encoding="utf-8"))


def written(case):
    """Return a stage in which the old text is replaced by the new."""
    text = ERRORS["right"][case["stage"]]
    assert text.count(case["old"]) == 1
    text, name = text.replace(case["old"], case["new"]), f"<{case['stage']} {hash(case['new'])}>"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    scope: dict[str, Any] = {"__name__": "submission"}
    exec(compile(text, name, "exec"), scope)
    return scope[case["stage"]]


def checked(case):
    """Return the report on a stage in which the old text is replaced by the new."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return check(written(case))


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


def test_float32_that_a_right_formula_makes_costs_its_precision_only():
    names = MANY | {"WeightedSum": written(ERRORS["error"]["float32-from-torch-ones"])}
    every = {each.id for each in plan(MANY_NEURONS, Settings())} - {"training"}
    report = judge(MANY_NEURONS, Workbench(names), seed=5, only=every).report
    assert [each.id for each in report.checks if each.outcome != "passed"] == [
        "weighted-sum/precision"
    ]


def test_an_old_class_is_not_checked_when_the_cell_with_the_new_one_is_no_python():
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell.instance()
    right, wrong = (
        ERRORS["right"]["Sigmoid"],
        ERRORS["right"]["Sigmoid"].replace("(ctx, dz):", "(ctx, dz)"),
    )
    try:
        for text in (right, "from harness.many_neurons import check", wrong):
            shell.run_cell(text, store_history=True)
        old = shell.run_cell("check(Sigmoid)", store_history=True)
        shell.run_cell(right.replace("return dz", "return 1 / 0 * dz"), store_history=True)
        raising = shell.run_cell("check(Sigmoid)", store_history=True)
        shell.run_cell(f"%%time\n{right}", store_history=True)
        new = shell.run_cell("check(Sigmoid)", store_history=True)
    finally:
        InteractiveShell.clear_instance()
    assert "cell 3, which should define it, has a syntax error in line 14" in str(old.error_in_exec)
    assert new.result.report.passed
    assert "ZeroDivisionError at cell 5, line 16" in str(raising.result.report)


def printing(text):
    sigmoid = ERRORS["error"]["a-list-returned"]
    return written(sigmoid | {"new": f"print({text})\n        {sigmoid['old']}"})


def test_what_the_example_prints_is_told_and_the_rest_is_counted(capsys):
    text = repr(check(printing("'slope of', tuple(a.shape), a.numel() == 35")))
    assert text.count("slope of (5, 7) True") == 1
    assert re.search(r"\(\d\d+ more lines for other\s+inputs\)", text)
    assert capsys.readouterr().out == ""


def test_prints_stay_short():
    text = repr(check(printing("*range(5000), sep='\\n'")))
    assert len(text.splitlines()) < 30


def test_a_training_prints_nothing_by_itself(capsys):
    names = MANY | {"Sigmoid": printing("'slope'")}
    report = judge(MANY_NEURONS, Workbench(names), only=["training"]).report
    assert report.passed and capsys.readouterr().out == ""


def test_an_object_or_another_name_is_refused_with_what_to_pass():
    sigmoid = written(ERRORS["error"]["a-list-returned"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(TypeError, match=r"pass the class: check\(Sigmoid\)"):
            check(sigmoid())
    sigmoid.__name__ = "Sigmod"
    with pytest.raises(TypeError, match=r"Did you mean Sigmoid\?"):
        check(sigmoid)
