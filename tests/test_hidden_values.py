"""What a student reads holds no hidden value, whatever their code does to get one there."""

from __future__ import annotations

import math
import re

import pytest
import torch
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from harness.assignments import NAMES, load_assignment
from harness.judge import judge
from harness.mistakes.everywhere import mistakes_in
from harness.probes import plan
from harness.probes.cases import PUBLIC_SEED, make_case
from harness.settings import FEEDBACK_LEVELS, Settings
from harness.workbench import Workbench
from tests.right import MANY, ONE, Sigmoid, with_backward, with_forward

RIGHT = {"one-neuron": ONE, "many-neurons": MANY}
MISTAKES = [
    (name, stage, mistake)
    for name in NAMES
    for stage in load_assignment(name).stages
    for mistake in mistakes_in(stage)
    if not mistake.code
]
# Those with a point or an exponent: the others are sizes, places, or too short to tell anything.
NUMBER = re.compile(r"[-−]?\d+(?:\.\d+(?:e[-+−]?\d+)?|e[-+−]?\d+)")


class Kept(Exception):
    """Raised by code that puts what it has seen into its words."""


def messages(assignment, names, *, seed=0, feedback="solution", stage="sigmoid"):
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


def public_numbers(assignment, stage, function):
    """Every number that has to do with the public example, and those that stages declare."""
    case = make_case(stage, PUBLIC_SEED, assignment.sizes[0], 0)
    tensors = [*case.inputs, *case.upstreams, case.output, *sum(case.gradients, ())]
    leaves = [value.clone().requires_grad_() for value in case.inputs]
    output = function.apply(*leaves)
    for upstream in case.upstreams:
        try:
            returned = output.grad_fn.apply(upstream)
        except Exception:
            continue  # nothing came
        returned = returned if isinstance(returned, tuple) else (returned,)
        tensors += [each for each in returned if isinstance(each, torch.Tensor)]
    declared = [value for values in stage.extremes.values() for value in values]
    numbers = torch.cat([value.detach().double().flatten() for value in (*tensors, output)])
    return {*numbers.tolist(), *declared}


def is_of(text, numbers):
    """Whether a number as it is printed is one of those, rounded as much."""
    value = float(text.replace("−", "-"))
    digits = len(re.sub(r"e.*|\D", "", text).lstrip("0")) or 1
    return any(math.isclose(value, each, rel_tol=10.0 ** (1 - digits)) for each in numbers)


@pytest.mark.slow
@hypothesis_settings(max_examples=60)
@given(st.sampled_from(MISTAKES), st.sampled_from(FEEDBACK_LEVELS), st.integers(0, 9))
def test_the_numbers_that_a_student_reads_are_those_of_the_example(which, feedback, seed):
    name, stage, mistake = which
    assignment, function = load_assignment(name), mistaken(stage, mistake)
    names = {**RIGHT[name], stage.name: function}
    said, _ = messages(assignment, names, seed=seed, feedback=feedback, stage=stage.slug)
    numbers = public_numbers(assignment, stage, function)
    for text in said.values():
        for number in NUMBER.findall(text.replace(stage.formula, "")):
            assert is_of(number, numbers), (mistake.name, text)


def spy(channel, after, seen):
    """A Sigmoid that keeps all it is given, and gives it away once it was called so often."""

    def told():
        values = torch.cat([each.flatten() for each in seen])
        return float(values[values.abs() > 1e-9][:-1].abs().max())

    def leak(result, given):
        seen.append(given.detach().clone())
        if len(seen) <= after or len(seen) < 2:
            return result
        secret = told()
        match channel:
            case "value":
                return torch.full_like(result, secret)
            case "text":
                raise Kept(f"it was {secret}")
            case "shape":
                return result.new_zeros(int(secret * 1000) % 10_000)
            case "count":
                return (result, *[torch.zeros(())] * (int(secret * 1000) % 1000))
            case _:
                return type(f"Secret{int(secret * 1000)}", (), {})()

    def forward(ctx, z):
        a = Sigmoid.forward(ctx, z)
        return leak(a, z) if channel == "value" else a

    def backward(ctx, g):
        return leak(Sigmoid.backward(ctx, g), g)

    return with_forward(with_backward(Sigmoid, backward), forward)


CHANNELS = ("value", "text", "shape", "count", "kind")


@pytest.mark.parametrize("channel", CHANNELS)
@hypothesis_settings(max_examples=12)
@given(after=st.integers(0, 100))
@example(after=93)  # as calls are made that disturb each other
def test_code_that_gives_away_what_it_has_seen_says_the_same_for_any_seed(channel, after):
    assignment = load_assignment("many-neurons")
    one, other = (
        messages(assignment, {**MANY, "Sigmoid": spy(channel, after, [])}, seed=seed)
        for seed in (1, 2)
    )
    assert one == other
