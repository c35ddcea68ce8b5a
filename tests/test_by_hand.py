"""Examples to compute by hand: they show the mistake, with values that can be, and can be run."""

from __future__ import annotations

import ast
import re
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from grading.verify.case import read_solution
from grading.verify.pairs import around
from grading.verify.writing import stage_text
from harness.candidate.workbench import Workbench
from harness.cases.by_hand import cases_by_hand, domains_in
from harness.cases.cases import PUBLIC_SEED
from harness.course.assignments import SHIPPED, load_assignment
from harness.course.inputs import Real, spread, spread_far
from harness.course.sizes import small_sizes
from harness.judging.by_hand import examples_by_hand
from harness.judging.judge import judge
from harness.many_neurons import MANY_NEURONS
from harness.mistakes import mistakes_in
from harness.probes.context import StageContext
from tests.diagnosing import candidate_for
from tests.right import MANY, RIGHT, Sigmoid, with_backward

EXAMPLES = Path(__file__).resolve().parent.parent / "examples" / "solutions"
DECLARED = [
    load_assignment(path.parent.name, path) for path in sorted(EXAMPLES.glob("*/assignment.py"))
]
OWN = [each for each in DECLARED if each.name in ("activation-functions", "numpy-layers")]
STAGES = [
    pytest.param(each, stage, id=f"{each.name}/{stage.name}")
    for each in (*map(load_assignment, SHIPPED), *DECLARED)
    for stage in each.stages
]
KNOWN = [
    (each, stage, mistake)
    for each in (*map(load_assignment, SHIPPED), *OWN)
    for stage in each.stages
    for mistake in mistakes_in(stage)
    # Products of matrices that cannot be formed raise; the others are wrong near 0.
    if {f"gradient/{name}" for name in mistake.gradients} & {*mistake.rejected_by}
]


def names_with(assignment, stage, mistake) -> dict[str, Any]:
    """What a submission with the mistake defines."""
    if assignment.name in RIGHT:
        made = candidate_for(assignment.name, stage, mistake.gradients, mistake.forward)
        return {**RIGHT[assignment.name], stage.name: made}
    scope: dict[str, Any] = {"__name__": "submission"}
    text = read_solution(EXAMPLES / assignment.name).followed_by(
        around(stage, stage_text(stage, mistake.gradients))
    )
    body = [each for each in ast.parse(text).body if "assignment import" not in ast.unparse(each)]
    for node in body:
        if not isinstance(node, ast.ImportFrom) or node.module in ("torch", "torch.autograd"):
            exec(compile(ast.Module([node], []), "submission", "exec"), scope)
    return scope


def numbers_in(text):
    return [
        float(each)
        for each in re.findall(r"-?(?:\d[\d.]*(?:e-?\d+)?|inf|nan)", text.replace("−", "-"))
    ]


def shows(assignment, stage, mistake):
    names = names_with(assignment, stage, mistake)
    candidate = Workbench(names, assignment.pairs)
    context = StageContext(stage, candidate, PUBLIC_SEED)
    wanted = [*mistake.gradients]
    found = examples_by_hand(context, assignment.stages, wanted)
    for name in wanted:
        calls = context.ask(cases_by_hand(stage, domains_in(assignment.stages, stage), 5))
        raises = any(not hasattr(call.backward, "values") for call in calls)
        assert name in found or raises, (mistake.name, name)
    return names, found


def show(at):
    """Find the examples for the known mistake number ``at``, run their lines, and compare."""
    assignment, stage, mistake = KNOWN[at]
    names, found = shows(assignment, stage, mistake)
    for text in found.values():
        said, line = text.split(" To run it:\n")
        right, got = said.removesuffix(".").split(", and yours is ")
        assert not right.endswith(f" is {got}")
        with redirect_stdout(StringIO()) as printed:
            exec(line, {**names, "torch": torch, "np": np})
        ran = numbers_in(re.sub(r"grad_fn=\S+|dtype=\S+|float\d+", "", printed.getvalue()))
        for x in numbers_in(got):
            assert any(x == y or abs(x - y) <= 2e-3 * abs(x) + 5e-5 for y in ran), (
                text,
                printed.getvalue(),
            )


@settings(max_examples=25, deadline=None)
@given(st.integers(0, len(KNOWN) - 1))
def test_an_example_shows_a_known_mistake_and_its_line_prints_what_it_says(at):
    show(at)


@pytest.mark.proof
def test_an_example_shows_each_known_mistake():
    for at in range(len(KNOWN)):
        show(at)


@pytest.mark.parametrize(("assignment", "stage"), STAGES)
def test_examples_have_small_numbers_that_the_quantities_can_be(assignment, stage):
    domains = domains_in(assignment.stages, stage)
    limits = {name: (low, high) for name, low, high in domains}
    cases = [each for at in range(3) for each in cases_by_hand(stage, domains, at)]
    assert cases
    for case in cases:
        assert all(size <= 3 for size in case.sizes.values() if type(size) is int)
        for name, value in zip(stage.names_of(case.inputs), case.inputs, strict=True):
            kind = stage.inputs[name].kind
            if not isinstance(kind, Real) or not isinstance(value, torch.Tensor):
                continue
            assert kind.allows(value), (name, value)
            low, high = limits.get(name, (-torch.inf, torch.inf))
            assert bool(((low <= value) & (value <= high)).all()), (name, value)
            if kind.sampler in (spread, spread_far) and not kind.on_simplex:
                assert bool((2 * value == (2 * value).round()).all()), (name, value)


def test_an_activation_is_known_by_its_name():
    weighted, sigmoid, cost = MANY_NEURONS.stages
    assert domains_in(MANY_NEURONS.stages, weighted) == (("a_prev", 0.0, 1.0),)
    assert domains_in(MANY_NEURONS.stages, cost)[0] == ("a", 0.0, 1.0)
    assert small_sizes(sigmoid)[0] == {"N": 1, "K": 1}


def test_it_is_asked_in_a_process_that_has_seen_nothing_hidden():
    """One that returns something else after hidden inputs shows its first answers."""
    seen: list[float] = []

    def backward(ctx, g):
        (a,) = ctx.saved_tensors
        seen.append(float(g.sum()))
        return g * a

    names = {**MANY, "Sigmoid": with_backward(Sigmoid, backward)}
    check = judge(
        MANY_NEURONS, Workbench(names), seed=7, only=["sigmoid/gradient/z"]
    ).report.checks[0]
    assert (
        "By hand: for z = [[0]], g = [[1]], ∂C/∂z is [[0.25]], and yours is [[0.5]]."
        in check.message
    )
