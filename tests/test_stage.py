"""A stage is declared once, and what it says of itself is true."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.candidate.workbench import Workbench
from harness.course.assignments import SHIPPED, load_assignment
from harness.course.settings import Settings
from harness.declare import labels, mask, stage
from harness.errors import DeclarationError
from harness.formulas.same import value_of
from harness.judging.judge import judge
from harness.probes import plan

STAGES = [
    pytest.param(stage, id=f"{name}/{stage.name}")
    for name in SHIPPED
    for stage in load_assignment(name).stages
]
sizes = st.fixed_dictionaries({name: st.integers(1, 6) for name in ("N", "n_in", "K")})


@pytest.mark.parametrize("stage", STAGES)
@given(sizes=sizes, seed=st.integers(0, 2**31))
def test_gradient_expressions_equal_built_in_autograd(stage, sizes, seed):
    generator = torch.Generator().manual_seed(seed)
    inputs = stage.sample(generator, sizes)
    shape = stage.forward(*inputs).shape
    upstream = (torch.randn(shape, generator=generator, dtype=torch.float64),)
    true = stage.true_gradients(inputs, upstream)
    for name, gradient in zip(stage.inputs, true, strict=True):
        if name not in stage.differentiable:
            assert gradient is None
            continue
        value = stage.evaluate(stage.gradients[name], inputs, upstream)
        assert value.shape == gradient.shape
        torch.testing.assert_close(value, gradient, rtol=1e-10, atol=1e-12)


def test_expressions_see_no_python_builtins():
    stage = load_assignment("one-neuron").stage("Sigmoid")
    zero = torch.zeros((), dtype=torch.float64)
    with pytest.raises(NameError):
        stage.evaluate("__import__('os')", (zero,), (zero,))


def test_expressions_can_compare_with_a_fraction():
    stage = load_assignment("one-neuron").stage("Sigmoid")
    one = torch.ones((), dtype=torch.float64)
    assert stage.evaluate("g * (z > 0.5)", (one,), (one,)) == 1


SIZES = {"N": 4, "K": 3}


def test_expressions_are_as_exact_as_the_inputs():
    leaky = stage(
        "Leaky",
        "z[N K], keep[N K], y[N] -> a",
        lambda z, keep, y: torch.where(z > 0, z, z / 3) * keep,
        inputs={"keep": mask(), "y": labels("K")},
        where={"slope": "where(z > 0, 1.0, 1 / 3)"},
    )
    z, keep, y = map(torch.as_tensor, leaky.sample(torch.Generator().manual_seed(0), SIZES))
    one_hot = torch.nn.functional.one_hot(y, z.shape[1])
    exact = {"slope": (1 + 2 * (z > 0).double()) / 3, "keep / 3": keep.double() / 3}
    exact["one_hot(y, K) / 3"] = one_hot.double() / 3
    for dtype in (torch.float64, torch.float32):
        inputs = (z.to(dtype), keep, y)
        for expression, value in exact.items():
            found = leaky.evaluate(expression, inputs, inputs[:1])
            torch.testing.assert_close(found, value.to(dtype), rtol=1e-15, atol=0)
            other = value_of(leaky, expression, inputs, inputs[:1])
            assert other is not None and torch.equal(found, other)
    with pytest.raises(RuntimeError):
        leaky.evaluate("z @ z", (z, keep, y), (z,))
    assert torch.get_default_dtype() == torch.float32


def test_a_gradient_for_what_is_no_input_is_refused_with_file_and_line():
    with pytest.raises(DeclarationError, match=r"test_stage.py, line \d+: Scale: v is not an"):
        stage("Scale", "c[], x[] -> y", torch.mul, gradients={"v": "g * c"})


def test_slugs_are_kebab_case():
    slugs = [stage.slug for stage in load_assignment("many-neurons").stages]
    assert slugs == ["weighted-sum", "sigmoid", "squared-error"]


@pytest.mark.parametrize("name", SHIPPED)
def test_points_are_ten_and_training_at_most_fifteen_percent(name):
    planned = plan(load_assignment(name), Settings())
    total = sum(check.max_points for check in planned)
    assert total == pytest.approx(10.0, abs=1e-9)
    training = sum(check.max_points for check in planned if check.id.endswith("training"))
    assert training <= 0.15 * total + 1e-9
    assert all(check.max_points > 0 for check in planned)


class ReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z):
        ctx.save_for_backward(z)
        return z.clamp(min=0)

    @staticmethod
    def backward(ctx, g):
        (z,) = ctx.saved_tensors
        return g * (z > 0)


class LeakyByMistake(ReLU):
    @staticmethod
    def backward(ctx, g):
        (z,) = ctx.saved_tensors
        return torch.where(z > 0, g, 0.01 * g)


def test_every_probe_works_for_a_stage_that_an_instructor_declares():
    """Declared as CONTRIBUTING.md shows, in a few lines."""
    from dataclasses import replace

    relu = stage(
        "ReLU",
        "z[N K] -> a",
        lambda z: z.clamp(min=0),
        gradients={"z": "g * (z > 0)"},
        points={"z": 2.0},
    )
    many = load_assignment("many-neurons")
    declared = replace(many, stages=(*many.stages, relu))
    ids = [check.id for check in plan(declared, Settings()) if check.stage == "ReLU"]
    right = judge(declared, Workbench({"ReLU": ReLU}), only=ids).report
    assert right.passed and right.score == 2.6
    wrong = judge(declared, Workbench({"ReLU": LeakyByMistake}), only=ids).report
    assert wrong.score == 0
    assert {c.id: c.outcome for c in wrong.checks}["relu/gradient/z"] == "failed"
