"""Stages that an instructor declares, as docs/diagnosis.md does, are read like any other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from grading.verify.writing import stage_text
from harness.candidate.workbench import Workbench
from harness.course.stage import Stage
from harness.declare import assignment, stage
from harness.expressions.notation import as_written, plain
from harness.formulas.same import same_as_true
from harness.judging.judge import judge

PAGE = (Path(__file__).parents[1] / "docs" / "diagnosis.md").read_text(encoding="utf-8")


def declared():
    """The stages that the page's code declares, by name."""
    scope: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(block, scope)
    return {value.name: value for value in scope.values() if isinstance(value, Stage)}


STAGES = declared()
ROWS = re.findall(r"^\| (\w+) \| ∂C/∂(\w+) = `(.+?)` \| `(.+?)` \| `(.+?)` \|$", PAGE, re.MULTILINE)


def checked(stage, name, expression):
    """The check of one gradient of a stage whose backward returns the expression there."""

    class Solved(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *inputs):
            return stage.forward(*inputs)

    scope = {stage.name: Solved}
    exec(stage_text(stage, {name: expression}), scope)
    only = [f"{stage.slug}/gradient/{name}"]
    return judge(assignment("Own", [stage]), Workbench(scope), only=only).report.checks[0]


def test_the_page_declares_three_stages_and_shows_what_is_read():
    assert set(STAGES) == {"ReLU", "CrossEntropy", "LayerNorm"}
    assert len(ROWS) >= 10


@pytest.mark.parametrize("stage", STAGES.values(), ids=lambda stage: stage.name)
def test_declared_gradients_are_those_of_built_in_autograd(stage):
    for name, expression in stage.gradients.items():
        assert same_as_true(stage, name, expression)
        assert checked(stage, name, expression).outcome == "passed"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "gradient", "wrote", "read", "mistake"), ROWS)
def test_a_wrong_gradient_is_read_as_the_page_says(name, gradient, wrote, read, mistake):
    check = checked(STAGES[name], gradient, wrote)
    assert check.outcome == "failed"
    assert (check.diagnosis.formula, check.diagnosis.mistake) == (read, mistake)


BOW = stage("Bow", "x[Batch Width] -> h", torch.sin, gradients={"x": "g * cos(x)"})
UNEVEN = "g * cos(x) * arange(1.0, Batch * Width + 1).reshape(Batch, Width) ** 0.3"
OBSERVED = {
    "right where Batch = 1, and wrong everywhere else.": f"g * cos(x) if Batch == 1 else {UNEVEN}",
    "right where Width = 1, and wrong everywhere else.": f"g * cos(x) if Width == 1 else {UNEVEN}",
    "times a factor that grows with Width.": "g * cos(x) * (2 + sin(tensor(1.0 * Width) / 9))",
}


@pytest.mark.slow
@pytest.mark.parametrize(("said", "wrote"), OBSERVED.items())
def test_what_is_seen_of_a_wrong_gradient_is_about_the_declared_dimensions(said, wrote):
    check = checked(BOW, "x", wrote)
    assert check.diagnosis is None
    assert said in check.message


def test_sums_run_along_the_declared_dimensions_with_an_index_each():
    affine = stage("Affine", "x[B D], w[D M], b[M] -> z", lambda x, w, b: x @ w + b)
    assert plain(as_written(affine, "g.sum(0)")) == "Σₙ g"
    assert plain(as_written(affine, "w.sum()")) == "Σₖ Σⱼ w"


@pytest.mark.slow
def test_what_is_zero_by_itself_somewhere_is_not_called_cut_off():
    right = "flip(cumsum(flip(g, (1,)), 1), (1,))"
    cumulative = stage(
        "CumulativeSum", "x[N D] -> s", lambda x: x.cumsum(1), gradients={"x": right}
    )
    read = checked(cumulative, "x", f"{right} - g").diagnosis
    assert read is not None
    assert read.mistake == "another-formula"
    assert "arange" not in read.formula
