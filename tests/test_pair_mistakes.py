"""Wrong and right pairs of functions for the numpy layers among the examples."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.candidate.pairs import function_of
from harness.candidate.workbench import Workbench
from harness.course.assignments import load_assignment
from harness.course.settings import Settings
from harness.judging.judge import judge
from harness.probes import plan
from tests.diagnosing import EXAMPLES, reproduces

# As of an exponential that overflows.
pytestmark = pytest.mark.filterwarnings("ignore")
HERE = Path(__file__).parent
FOLDER = EXAMPLES / "numpy-layers"
SOLUTION = (FOLDER / "numpy-layers.py").read_text(encoding="utf-8")
MISTAKES = tomllib.loads((HERE / "pair_mistakes.toml").read_text(encoding="utf-8"))["mistake"]
STYLES = tomllib.loads((HERE / "pair_styles.toml").read_text(encoding="utf-8"))["style"]


@pytest.fixture(scope="module")
def layers():
    return load_assignment("numpy-layers", FOLDER / "assignment.py")


def judged(layers, entry):
    """The stage of an entry, its functions, and the report on them."""
    names: dict[str, Any] = {"np": np, "__name__": "candidate"}
    for text in (SOLUTION, entry["code"]):
        exec(text, names)
    only = [each.id for each in plan(layers, Settings()) if each.stage == entry["stage"]]
    report = judge(layers, Workbench(names, layers.pairs), only=only).report
    return layers.stage(entry["stage"]), names, report


def read(layers, entries):
    """Of wrong gradients: how many have an expression, and how many of those get a formula."""
    closed = found = 0
    for entry in entries:
        stage, names, report = judged(layers, entry)
        failed = {
            check.id.partition("/")[2]: check
            for check in report.checks
            if check.outcome in ("failed", "error")
        }
        assert set(failed) == set(entry["fails"]), (entry, failed)
        for id, check in failed.items():
            name = id.removeprefix("gradient/")
            told = name in entry.get("formula", {})
            closed += told
            if check.diagnosis is None:
                continue
            found += told
            formula = check.diagnosis.formula
            assert len(formula) <= 80
            formula = formula if stage.has_upstream else f"({formula}) * g"
            function = function_of(layers.pairs[stage.name], names)
            assert reproduces(stage, name, function, formula), (entry, check)
    return closed, found


@pytest.mark.proof
def test_no_wrong_pair_passes_and_all_but_a_few_are_read(layers):
    assert len(MISTAKES) >= 100
    closed, found = read(layers, MISTAKES)
    assert closed >= 100
    assert found / closed >= 0.95


@pytest.mark.slow
def test_of_some_wrong_pairs_none_passes(layers):
    closed, found = read(layers, MISTAKES[::23])
    assert closed == found >= 4


@pytest.mark.proof
def test_right_pairs_in_odd_styles_get_full_marks(layers):
    assert len(STYLES) >= 40
    for entry in STYLES:
        _, _, report = judged(layers, entry)
        assert {check.outcome for check in report.checks} == {"passed"}, (entry, report)
        assert report.flags == ()


@pytest.mark.slow
@pytest.mark.parametrize("entry", STYLES[::16], ids=lambda entry: entry["stage"])
def test_a_right_pair_in_an_odd_style_gets_full_marks(layers, entry):
    _, _, report = judged(layers, entry)
    assert {check.outcome for check in report.checks} == {"passed"}
