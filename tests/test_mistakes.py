"""The mistakes that teachers know are mistakes, and what is said about them can be read."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch

from grading.verify.mutants import claims_of
from harness.course.assignments import NAMES, load_assignment
from harness.course.mistake import Mistake
from harness.course.settings import Settings
from harness.course.stage import Stage
from harness.formulas.same import generic_points, same_as_true, value_of
from harness.mistakes import mistakes_in
from harness.probes import plan

STAGES = [
    pytest.param(name, stage, id=f"{name}/{stage.name}")
    for name in NAMES
    for stage in load_assignment(name).stages
]
# Rejected at other points than generic ones: right in value, but not to the last digit, or not
# everywhere.
ELSEWHERE = {"stability", "precision", "special"}


def as_received(stage, mistake):
    """The stage with the mistake's forward, whose output its expressions are about."""
    if not mistake.forward:
        return stage

    def forward(*inputs):
        return stage.evaluate(mistake.forward, inputs, torch.zeros(()))

    return replace(stage, forward=forward, mistakes=())


def test_there_are_more_than_120_without_those_of_every_stage():
    assert sum(len(s.mistakes) for name in NAMES for s in load_assignment(name).stages) > 240


@pytest.mark.parametrize(("assignment", "stage"), STAGES)
def test_names_are_unique_and_kebab_case(assignment, stage):
    names = [mistake.name for mistake in mistakes_in(stage)]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) for name in names)


@pytest.mark.parametrize(("assignment", "stage"), STAGES)
def test_hints_are_sentences_that_do_not_give_the_answer(assignment, stage):
    for mistake in mistakes_in(stage):
        hint = mistake.hint
        assert re.search(r"[.?!]$", hint), hint
        assert 25 <= len(hint) <= 200, hint
        assert "  " not in hint and "\n" not in hint
        assert "wrong" not in hint.lower(), hint
        bare = hint.replace(" ", "")
        for true in stage.gradients.values():
            assert len(true) == 1 or true.replace(" ", "") not in bare, hint


@pytest.mark.parametrize(("assignment", "stage"), STAGES)
def test_every_expression_differs_from_the_truth_at_generic_points(assignment, stage):
    for mistake in mistakes_in(stage):
        if set(mistake.rejected_by) <= ELSEWHERE:
            continue
        received = as_received(stage, mistake)
        for name, expression in mistake.gradients.items():
            assert differs(stage, received, name, expression), (mistake.name, name)
        if mistake.forward:
            inputs, _ = next(generic_points(stage))
            right, wrong = stage.forward(*inputs), value_of(received, stage.output, inputs, right_g)
            assert wrong is None or wrong.shape != right.shape or not torch.allclose(wrong, right)


right_g = torch.ones((), dtype=torch.float64)


def differs(stage, received, name, expression):
    """Whether the expression, over the output as received, is not the stage's true gradient."""
    if received is stage:
        return same_as_true(stage, name, expression) is None
    at = tuple(stage.inputs).index(name)
    for inputs, upstream in generic_points(stage):
        value = value_of(received, expression, inputs, upstream)
        true = stage.true_gradients(inputs, upstream)[at]
        if value is None or value.shape != true.shape or not torch.allclose(value, true):
            return True
    return False


@pytest.mark.parametrize(("assignment", "stage"), STAGES)
def test_no_two_mistakes_in_one_gradient_have_the_same_value(assignment, stage):
    """A diagnosis would not know which of the two to name."""
    points = list(generic_points(stage))
    seen: dict[tuple[object, ...], str] = {}
    for mistake in mistakes_in(stage):
        if mistake.forward or mistake.code or set(mistake.rejected_by) <= ELSEWHERE:
            continue
        key: tuple[object, ...] = ()
        for name, expression in mistake.gradients.items():
            values = [value_of(stage, expression, *point) for point in points]
            if all(value is not None for value in values):
                rounded = [[f"{x:.9g}" for x in v.flatten().tolist()] for v in values]  # type: ignore[union-attr]
                key += (name, str(rounded), str([tuple(v.shape) for v in values]))  # type: ignore[union-attr]
            else:
                key += (name, expression)
        other = seen.setdefault(key, mistake.name)
        assert other == mistake.name, f"{other} is {mistake.name}"


@pytest.mark.parametrize(("assignment", "stage"), STAGES)
def test_every_mistake_names_checks_that_there_are(assignment, stage):
    known = {check.id for check in plan(load_assignment(assignment), Settings())}
    for mistake in mistakes_in(stage):
        assert set(claims_of(stage, mistake)) <= known, mistake.name


def test_a_mistake_says_which_checks_reject_it():
    both = Mistake("half", {"a": "g", "y": "-g"}, forward="a - y", hint="Is it squared?")
    assert both.rejected_by == ("forward", "gradient/a", "gradient/y")
    with pytest.raises(ValueError, match="the mistake odd does not say"):
        Mistake("odd", hint="Where?", code="pass")


def test_a_mistake_in_an_input_that_a_stage_does_not_have_is_refused():
    odd = Mistake("odd", {"q": "g"}, hint="Which input?")
    with pytest.raises(ValueError, match="Negative has no input q"):
        Stage("Negative", "y = −x", {"x": ""}, "y", torch.neg, {"x": "-g"}, mistakes=(odd,))


def test_a_stage_of_an_instructors_own_has_the_mistakes_of_every_stage():
    stage = Stage("Negative", "y = −x", {"x": ""}, "y", torch.neg, {"x": "-g"})
    mistakes = {mistake.name: mistake for mistake in mistakes_in(stage)}
    assert mistakes["upstream-missing"].gradients == {"x": "-ones_like(g)"}
    assert {"last-forward-wins", "float32-inside"} <= set(mistakes)
    assert "contiguous-only" not in mistakes
    assert "one-gradient-too-few" not in mistakes
