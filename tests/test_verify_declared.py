"""Whatever kinds of inputs and outputs a stage declares, verify writes right and wrong classes."""

from __future__ import annotations

import ast
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from grading.verify.behaviour import same_behaviour
from grading.verify.case import read_solution, unsolved
from grading.verify.equivalents import equivalents_for
from grading.verify.mutants import claimable, formulas_of, mistakes_of
from grading.verify.pairs import around, frame_of
from grading.verify.styles import catalogue, styles_for, written
from grading.verify.writing import stage_text
from harness.candidate.workbench import Workbench
from harness.course.assignments import DECLARATION, load_assignment
from harness.declare import stage as declare_stage
from harness.formulas.same import same_as_true

COURSE = Path(__file__).resolve().parent.parent / "examples" / "solutions"
NAMES = sorted(path.parent.name for path in COURSE.glob(f"*/{DECLARATION}"))


def example(name):
    return load_assignment(name, COURSE / name / DECLARATION), read_solution(COURSE / name)


def every_stage():
    for name in NAMES:
        assignment, solution = example(name)
        for stage in assignment.stages:
            yield pytest.param(stage, solution, id=f"{name}/{stage.name}")


def run(data, stage=None):
    """The classes or functions of a submission, of which each statement runs by itself."""
    scope: dict[str, object] = {}
    for statement in ast.parse(data).body:
        with suppress(ImportError):
            exec(compile(ast.Module([statement], []), "submission", "exec"), scope)
    return Workbench(scope, {stage.name: stage.pair} if stage and stage.pair else {})


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "solution"), [*every_stage()])
def test_the_class_that_mutants_are_made_from_is_right(stage, solution):
    assert same_behaviour(stage, run(solution.data, stage))
    text = around(stage, stage_text(stage, {}))
    assert same_behaviour(stage, run(solution.followed_by(text), stage))
    for name, expression in stage.gradients.items():
        assert same_as_true(stage, name, expression)


@pytest.mark.parametrize(
    ("steps", "long"), [(150, {"Affine"}), (300, {"Affine", "ReLU", "CrossEntropy"})]
)
def test_only_a_long_training_sees_that_a_stage_tires(steps, long):
    assignment, _ = example("relu-network")
    own = replace(assignment, task=replace(assignment.task, steps=steps))
    assert long == {each.name for each in own.stages if "training" in claimable(own, each)}


@pytest.mark.proof
@pytest.mark.parametrize(("stage", "solution"), [*every_stage()])
def test_mistakes_are_mutants_of_every_stage_and_formulas_where_gradients_are_declared(
    stage, solution
):
    mistakes = {case.name.rpartition("/")[2] for case in mistakes_of(stage, solution)}
    assert {"float32-inside", "noise", "return-forgotten"} <= mistakes
    formulas = [
        case.name.partition("/")[2].partition("/")[0] for case in formulas_of(stage, solution)
    ]
    assert set(formulas) == set(stage.gradients)
    wrong = next(each for each in mistakes_of(stage, solution) if each.name.endswith("noise"))
    assert not same_behaviour(stage, run(wrong.data, stage))


@pytest.mark.parametrize(("stage", "solution"), [*every_stage()])
@pytest.mark.proof
@pytest.mark.filterwarnings("ignore")
def test_every_style_that_a_stage_can_have_is_right(stage, solution):
    name = stage.name
    (equivalent,) = equivalents_for("own", stage).values()
    for style in styles_for(stage):
        above, below = frame_of(stage)
        head = f"{catalogue().head}{above}Solved{name} = {name}\n"
        code = head + written(stage, equivalent, style) + below
        assert same_behaviour(stage, run(solution.followed_by(code), stage)), f"{style}\n{code}"


def test_a_style_that_means_nothing_for_a_stage_is_skipped():
    every = set(catalogue().style)
    by_name = {stage.values[0].name: stage.values[0] for stage in every_stage()}
    assert set(styles_for(by_name["Tanh"])) == every
    assert "setup_context" not in styles_for(by_name["LeakyReLU"])
    assert "grad_output" not in styles_for(by_name["LSTMCell"])
    assert "extra axes" in styles_for(by_name["Conv2d"])
    assert "a named tuple" not in styles_for(by_name["Concat"])


def test_a_module_without_its_backwards_is_a_handout():
    assignment, solution = example("relu-network")
    handout = unsolved(solution, assignment)
    assert b"g @ w.T" in solution.data and b"g @ w.T" not in handout.data
    assert set(handout.defined()) == set(solution.defined())


def test_a_gradient_with_fewer_digits_in_a_students_file_is_not_written_there():
    for third, way in (("(z / z) / 3", "as declared"), ("1 / 3", "as solved")):
        leaky = declare_stage(
            "Leaky",
            "z[N K] -> a",
            lambda z: torch.where(z > 0, z, z / 3),
            gradients={"z": f"g * where(z > 0, 1.0, {third})"},
        )
        assert way in equivalents_for("own", leaky)
