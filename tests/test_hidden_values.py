"""What a student reads holds no hidden value, whatever their code does to get one there."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from harness.candidate.workbench import Workbench
from harness.cases.cases import PUBLIC_SEED
from harness.course.assignments import SHIPPED, load_assignment
from harness.course.settings import FEEDBACK_LEVELS, Settings
from harness.judging.judge import NOT_SHOWN, NOT_SHOWN_HINT, judge
from harness.mistakes import mistakes_in
from harness.probes import plan
from tests.right import MANY, RIGHT, Sigmoid, with_backward

MISTAKES = [
    (name, stage, mistake)
    for name in SHIPPED
    for stage in load_assignment(name).stages
    for mistake in mistakes_in(stage)
    if not mistake.code
]


def messages(assignment, names, *, seed, feedback, stage):
    """What a student reads about one stage, alone and in the chain."""
    settings = Settings(feedback=feedback)
    planned = (check.id for check in plan(assignment, settings))
    only = [id for id in planned if id.startswith((f"{stage}/", "chain/"))]
    report = judge(assignment, Workbench(names), seed=seed, settings=settings, only=only).report
    said = {check.id: check.message for check in report.checks}
    return said, [each.text for each in report.advice]


def mistaken(stage, mistake):
    """The stage as a student with this mistake writes it."""

    def forward(ctx, *inputs):
        ctx.save_for_backward(*inputs)
        if mistake.forward:
            return stage.evaluate(mistake.forward, inputs, torch.zeros(()))
        return stage.forward(*inputs)

    def backward(ctx, g):
        return tuple(
            None
            if (formula := mistake.gradients.get(name, right)) == "None"
            else stage.evaluate(formula, ctx.saved_tensors, g)
            for name, right in stage.gradients.items()
        )

    body = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    return type(stage.name, (torch.autograd.Function,), body)


@pytest.mark.proof
@hypothesis_settings(max_examples=60)
@given(st.sampled_from(MISTAKES), st.sampled_from(FEEDBACK_LEVELS))
def test_a_mistake_is_told_in_the_same_words_at_any_seed(which, feedback):
    name, stage, mistake = which
    assignment, function = load_assignment(name), mistaken(stage, mistake)
    names = {**RIGHT[name], stage.name: function}
    one, other = (
        messages(assignment, names, seed=seed, feedback=feedback, stage=stage.slug)
        for seed in (1, 2)
    )
    assert one == other


class TwoFaced(Workbench):
    """Right as long as it is asked about the examples, and whenever it is renewed."""

    def renew(self):
        return Workbench(MANY)


def two_faced(value):
    """A Sigmoid that answers with another value from its fifth backward on, or raises it."""
    calls: list[None] = []

    def backward(ctx, g):
        calls.append(None)
        (a,) = ctx.saved_tensors
        if len(calls) > 4:
            if isinstance(value, Exception):
                raise value
            return torch.full_like(g, value)
        return g * a * (1 - a)

    return TwoFaced({**MANY, "Sigmoid": with_backward(Sigmoid, backward)})


VALUES = {math.nan: "NaN", -math.inf: "infinity", 0.0: "zero", 3.5: None}


@pytest.mark.parametrize("value", VALUES)
def test_of_a_hidden_value_no_more_is_told_than_its_kind(value):
    check = failing(two_faced(value))
    assert check.outcome == "failed"
    kind = f" A value came back as {VALUES[value]}." if VALUES[value] else ""
    assert check.message == f"{NOT_SHOWN}{kind} {NOT_SHOWN_HINT}"
    assert check.case["seed"] == 5 and "came back as" in check.staff


@pytest.mark.parametrize("error", [ValueError("a secret"), NotImplementedError(), KeyError(3)])
def test_an_exception_over_hidden_inputs_is_for_staff(error):
    check = failing(two_faced(error))
    assert check.outcome == "error"
    assert check.message == f"{NOT_SHOWN} {NOT_SHOWN_HINT}"
    assert type(error).__name__ in check.staff


def failing(candidate):
    only = ["sigmoid/gradient/z"]
    (check,) = judge(load_assignment("many-neurons"), candidate, seed=5, only=only).report.checks
    return check


@pytest.mark.slow
def test_a_size_for_which_it_is_wrong_is_told_with_values():
    def backward(ctx, g):
        (a,) = ctx.saved_tensors
        return g * a * (1 - a) * (1 + (len(g) == 1))

    names = {**MANY, "Sigmoid": with_backward(Sigmoid, backward)}
    only = ["sigmoid/gradient/z"]
    for seed in (PUBLIC_SEED, 3):
        report = judge(
            load_assignment("many-neurons"), Workbench(names), seed=seed, only=only
        ).report
        said = (
            "It is right for the example; for other values (N = 1, n_in = 3, K = 5), the gradient"
        )
        assert said in report.checks[0].message
