"""Special values: what is right everywhere passes, what divides 0 by 0 or jumps does not."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import Function

from harness.candidate.workbench import Workbench
from harness.cases.cases import PUBLIC_SEED
from harness.cases.kinks import is_near_kink, slopes_at
from harness.cases.special_cases import special_cases
from harness.course.assignments import load_assignment
from harness.course.settings import Settings
from harness.declare import assignment as declare_assignment
from harness.declare import real
from harness.declare import stage as declare_stage
from harness.judging.judge import judge
from harness.probes import plan
from tests.right import (
    MANY,
    ONE,
    OneSquaredError,
    OneWeightedSum,
    Sigmoid,
    SquaredError,
    WeightedSum,
)

pytestmark = pytest.mark.slow

MANY_NEURONS = load_assignment("many-neurons")
ONE_NEURON = load_assignment("one-neuron")


def missed(assignment, names, seed=0):
    """The checks that a candidate does not pass, with their outcomes."""
    report = judge(assignment, Workbench(names), seed=seed).report
    return {check.id: check for check in report.checks if check.outcome != "passed"}


def saving_all(stage, backward):
    """The stage with all inputs and the output saved for this backward."""

    def forward(ctx, *inputs):
        output = stage.forward(ctx, *inputs)
        ctx.save_for_backward(*inputs, output)
        return output

    body = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    return type(stage.__name__.removeprefix("One"), (Function,), body)


def input_by_division(ctx, g):
    _, w, b, z = ctx.saved_tensors
    return g * w, g * ((z - b) / w), g


def weight_by_division(ctx, g):
    a_prev, _, b, z = ctx.saved_tensors
    return g * ((z - b) / a_prev), g * a_prev, g


def cost_by_division(ctx, g):
    a, y, _ = ctx.saved_tensors
    return g * 2 * (a - y) ** 2 / (a - y), None


def target_by_division(ctx, g):
    a, y, _ = ctx.saved_tensors
    samples = len(a) if a.dim() else 1
    return g * 2 * (a - y) / samples * (y / y), None


def sum_of_blank_pixels(ctx, g):
    a_prev, w, *_ = ctx.saved_tensors
    return g @ w, g.T @ (a_prev * a_prev / a_prev), g.sum(0)


def zero_at_zero(ctx, g):
    z, a = ctx.saved_tensors
    return g * a * (1 - a) * (z != 0)


WRONG = [
    (ONE_NEURON, ONE, OneWeightedSum, input_by_division, r"∂C/∂w is wrong where (w is 0|.* 0)"),
    (ONE_NEURON, ONE, OneWeightedSum, weight_by_division, "∂C/∂a_prev is wrong where"),
    (ONE_NEURON, ONE, OneSquaredError, cost_by_division, "∂C/∂a is wrong where"),
    (ONE_NEURON, ONE, OneSquaredError, target_by_division, "∂C/∂a is wrong where"),
    (ONE_NEURON, ONE, Sigmoid, zero_at_zero, "∂C/∂z is wrong where z is 0"),
    (MANY_NEURONS, MANY, WeightedSum, sum_of_blank_pixels, "∂C/∂w is wrong where"),
    (MANY_NEURONS, MANY, SquaredError, target_by_division, "∂C/∂a is wrong where"),
    (MANY_NEURONS, MANY, Sigmoid, zero_at_zero, "∂C/∂z is wrong where z is 0"),
]


@pytest.mark.parametrize("seed", [0, 11])
@pytest.mark.parametrize(("assignment", "names", "stage", "backward", "said"), WRONG)
def test_a_formula_that_fails_at_special_values_fails_that_check(
    assignment, names, stage, backward, said, seed
):
    wrong = saving_all(stage, backward)
    candidate = {**names, wrong.__name__: wrong}
    outcomes = missed(assignment, candidate, seed)
    own = {id: check.outcome for id, check in outcomes.items() if check.stage == wrong.__name__}
    slug = assignment.stage(wrong.__name__).slug
    assert own.pop(f"{slug}/special") == "failed"
    assert not own


@pytest.mark.parametrize(("assignment", "names", "stage", "backward", "said"), WRONG)
def test_the_message_of_a_public_case_names_the_kind_of_value(
    assignment, names, stage, backward, said
):
    wrong = saving_all(stage, backward)
    candidate = {**names, wrong.__name__: wrong}
    slug = assignment.stage(wrong.__name__).slug
    (check,) = [
        check
        for id, check in missed(assignment, candidate, PUBLIC_SEED).items()
        if id == f"{slug}/special"
    ]
    assert re.search(said, check.message), check.message
    assert "In an example (" in check.message and "?" in check.message


def test_what_is_told_of_a_hidden_case_comes_from_a_public_one():
    candidate = {**ONE, "WeightedSum": saving_all(OneWeightedSum, input_by_division)}
    one, other = (missed(ONE_NEURON, candidate, seed)["weighted-sum/special"] for seed in (3, 4))
    assert one.message == other.message and "∂C/∂w is wrong where w is 0." in one.message
    assert "came back as nan" in one.staff and one.case["seed"] == 3
    assert one.staff != other.staff


def declared(stage):
    """An assignment in which the stage is tried as any other."""
    return replace(MANY_NEURONS, stages=(*MANY_NEURONS.stages, stage))


def function(stage, backward):
    """A student's class for a declared stage."""

    def forward(ctx, *inputs):
        ctx.save_for_backward(*inputs)
        return stage.forward(*inputs)

    body = {
        "forward": staticmethod(forward),
        "backward": staticmethod(lambda ctx, g: backward(g, *ctx.saved_tensors)),
    }
    return type(stage.name, (Function,), body)


def one_input(name, forward, gradient, kind=None):
    return declare_stage(
        name, "x[N K] -> o", forward, inputs={"x": kind or real()}, gradients={"x": gradient}
    )


def positive(generator, shape, turn):
    return 0.2 + torch.rand(shape, generator=generator, dtype=torch.float64)


def first_of_maximum(g, x):
    return torch.zeros_like(x).scatter(1, x.argmax(1, keepdim=True), g[:, None])


def last_of_maximum(g, x):
    return first_of_maximum(g, x.flip(1)).flip(1)


def through_norm(g, x):
    out = F.layer_norm(x, x.shape[1:])
    inner = g - g.mean(1, keepdim=True) - out * (g * out).mean(1, keepdim=True)
    return inner / torch.sqrt(x.var(1, correction=0, keepdim=True) + 1e-5)


def shared_maximum(g, x):
    ties = x == x.amax(1, keepdim=True)
    return g[:, None] * ties / ties.sum(1, keepdim=True)


RELU = one_input("ReLU", lambda x: x.clamp(min=0), "g * (x > 0)")
LEAKY = one_input("LeakyReLU", lambda x: F.leaky_relu(x, 0.1), "where(x > 0, g, 0.1 * g)")
ABSOLUTE = one_input("Absolute", torch.abs, "g * sign(x)")
CLAMP = one_input("Clamp", lambda x: x.clamp(0, 1), "g * (x > 0) * (x < 1)")
MAXIMUM = one_input("Maximum", lambda x: x.amax(1), "g[:, None] * (x == x.amax(1, keepdim=True))")
ROOT = one_input("Root", torch.sqrt, "g / (2 * sqrt(x))", real(sampler=positive))
INVERSE = one_input("Inverse", torch.reciprocal, "-g / x ** 2")
STEEP = one_input("Steep", lambda x: torch.sin(50 * x), "50 * g * cos(50 * x)")
LOG_SOFTMAX = one_input(
    "LogSoftmax",
    lambda x: torch.log_softmax(x, 1),
    "g - softmax(x, 1) * g.sum(1, keepdim=True)",
)
NORM = one_input(
    "LayerNorm",
    lambda x: F.layer_norm(x, x.shape[1:]),
    "(g - g.mean(1, keepdim=True) - layer_norm(x, x.shape[1:]) "
    "* (g * layer_norm(x, x.shape[1:])).mean(1, keepdim=True)) "
    "/ sqrt(var(x, 1, correction=0, keepdim=True) + 1e-5)",
)

RIGHT = [
    (RELU, lambda g, x: g * (x > 0)),
    (RELU, lambda g, x: g * (x >= 0)),
    (RELU, lambda g, x: g * (torch.sign(x) + 1) / 2),
    (LEAKY, lambda g, x: torch.where(x > 0, g, 0.1 * g)),
    (LEAKY, lambda g, x: torch.where(x < 0, 0.1 * g, g)),
    (ABSOLUTE, lambda g, x: g * torch.sign(x)),
    (ABSOLUTE, lambda g, x: torch.where(x < 0, -g, g)),
    (CLAMP, lambda g, x: g * (x > 0) * (x < 1)),
    (CLAMP, lambda g, x: g * (x >= 0) * (x <= 1)),
    (MAXIMUM, first_of_maximum),
    (MAXIMUM, last_of_maximum),
    (MAXIMUM, shared_maximum),
    (ROOT, lambda g, x: g / (2 * torch.sqrt(x))),
    (ROOT, lambda g, x: torch.where(x > 0, g / (2 * torch.sqrt(x)), 0)),
    (INVERSE, lambda g, x: -g / x**2),
    (STEEP, lambda g, x: 50 * g * torch.cos(50 * x)),
    (LOG_SOFTMAX, lambda g, x: g - torch.softmax(x, 1) * g.sum(1, keepdim=True)),
    (NORM, through_norm),
]
WRONG_AT_KINKS = [
    (RELU, lambda g, x: torch.where(x == 0, 2 * g, g * (x > 0))),
    (RELU, lambda g, x: g * (x + x.abs()) / (2 * x.abs())),
    (LEAKY, lambda g, x: torch.where(x == 0, 0 * g, torch.where(x > 0, g, 0.1 * g))),
    (ABSOLUTE, lambda g, x: g * x / x.abs()),
    (CLAMP, lambda g, x: torch.where(x == 1, -g, g * (x >= 0) * (x <= 1))),
    # An entry that ties may have all of the gradient or none of it, but not less.
    (
        MAXIMUM,
        lambda g, x: (
            shared_maximum(g, x) * (1 - 3 * ((x == x.amax(1, keepdim=True)).sum() > len(x)))
        ),
    ),
    (NORM, lambda g, x: through_norm(g, x) * (x - x.mean()) / (x - x.mean())),
    (STEEP, lambda g, x: torch.where(x == 0, 0 * g, 50 * g * torch.cos(50 * x))),
    (LOG_SOFTMAX, lambda g, x: (g - torch.softmax(x, 1) * g.sum(1, keepdim=True)) * (x / x)),
]


def special_of(stage, backward, seed):
    assignment = declared(stage)
    names = {stage.name: function(stage, backward)}
    report = judge(assignment, Workbench(names), seed=seed, only=[f"{stage.slug}/special"]).report
    return report.checks[0]


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(("stage", "backward"), RIGHT)
def test_any_slope_between_those_around_a_kink_is_right(stage, backward, seed):
    check = special_of(stage, backward, seed)
    assert check.outcome == "passed", check


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(("stage", "backward"), WRONG_AT_KINKS)
def test_what_is_not_between_them_is_wrong(stage, backward, seed):
    check = special_of(stage, backward, seed)
    assert check.outcome == "failed", check


SMOOTH = {
    "square": (lambda x: x**2, -5, 5),
    "sigmoid": (torch.sigmoid, -40, 40),
    "exponential": (torch.exp, -20, 20),
    "inverse": (torch.reciprocal, 0.001, 5),
    "root": (torch.sqrt, 1e-4, 5),
    "steep": (lambda x: torch.sin(100 * x), -5, 5),
    "bell": (lambda x: 1 / (1e-4 + x**2), -1, 1),
    "log-softmax": (lambda x: torch.log_softmax(x, 0), -50, 50),
    "layer norm": (lambda x: F.layer_norm(x, x.shape), -5, 5),
    "cube": (lambda x: (x**3).sum(), -3, 3),
}


@pytest.mark.parametrize("name", SMOOTH)
@given(data=st.data())
def test_a_smooth_reference_is_never_taken_for_a_kink(name, data):
    forward, least, most = SMOOTH[name]
    points = st.floats(least, most) | st.sampled_from([least, most, (least + most) / 2])
    x = torch.tensor(data.draw(st.lists(points, min_size=2, max_size=5)), dtype=torch.float64)
    own = declare_stage("S", "x[N] -> o", forward)
    upstream = (torch.ones_like(forward(x)),)
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    (slopes,) = slopes_at(own, (x,), upstream, generator)
    assert slopes is not None
    assert torch.equal(slopes.low, slopes.high)


@given(st.integers(1, 6), st.integers(0, 99), st.floats(1e-3, 1e3), st.data())
def test_a_kink_is_found_with_its_slopes_whatever_stands_beside_it(count, seed, scale, data):
    x = torch.tensor(data.draw(st.lists(st.floats(0.1, 9), min_size=count, max_size=count)))
    x = x.double()
    x[data.draw(st.integers(0, count - 1))] = 0
    own = declare_stage("S", "x[N] -> o", torch.relu)
    generator = torch.Generator().manual_seed(seed)
    (slopes,) = slopes_at(own, (x,), (torch.full_like(x, scale),), generator)
    assert slopes is not None
    assert slopes.high.tolist() == [scale] * count
    assert slopes.low.tolist() == [0 if value == 0 else scale for value in x.tolist()]


@given(st.integers(0, 99), st.floats(-4e-5, 4e-5))
def test_a_point_beside_a_kink_is_seen_as_near_it(seed, away):
    own = declare_stage("S", "x[N] -> o", torch.abs)
    x = torch.tensor([1.5, away, -2], dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    assert is_near_kink(own, (x,), (torch.ones_like(x),), generator)
    x[1] = 0.5
    assert not is_near_kink(own, (x,), (torch.ones_like(x),), generator)


@pytest.mark.parametrize("assignment", [ONE_NEURON, MANY_NEURONS])
def test_every_kind_of_special_value_is_there_for_every_input(assignment):
    for stage in assignment.stages:
        cases = special_cases(stage, 5, stage.sizes[0])
        kinds = {case.kind for case in cases}
        assert {f"{name} is 0" for name in stage.inputs} <= kinds
        assert {f"{name} is 1" for name in stage.inputs} <= {
            kind.replace("0 or 1", "1") for kind in kinds
        }
        if len(stage.inputs) > 1:
            first, second = list(stage.inputs)[:2]
            assert {f"{first} equals {second}", f"{first} is −{second}"} <= kinds
            assert {"all inputs are 0", "all inputs are 0 or 1"} <= kinds
        # Whole tensors of zeros, and some of their entries.
        for name, at in zip(stage.inputs, range(9), strict=False):
            found = [case.inputs[at] for case in cases if case.kind == f"{name} is 0"]
            values = [value for value in found if isinstance(value, torch.Tensor)]
            whole = [bool((value == 0).all()) for value in values]
            assert any(whole) and all((value == 0).any() for value in values)
            assert stage.is_scalar or not all(whole)


def test_points_for_special_values_leave_the_totals_as_they_were():
    for assignment in (ONE_NEURON, MANY_NEURONS):
        for stage in assignment.stages:
            points = worth(assignment, {}, stage.name)
            assert points[f"{stage.slug}/special"] == 0.1
            rest = sum(points[f"{stage.slug}/{each}"] for each in ("precision", "purity"))
            assert rest == 0.1


def worth(assignment, points, stage):
    planned = plan(assignment, Settings(points=points))
    return {check.id: check.max_points for check in planned if check.stage == stage}


@given(
    st.dictionaries(
        st.sampled_from(
            [f"sigmoid/{each}" for each in ("precision", "purity", "stability", "gradient/z")]
        ),
        st.floats(0, 5),
    )
)
def test_settings_that_gave_points_before_come_to_the_same_total(points):
    """Before there was this check, precision and purity were worth 0.1 each."""
    before = {**worth(MANY_NEURONS, {}, "Sigmoid"), "sigmoid/special": 0.0}
    before |= {"sigmoid/precision": 0.1, "sigmoid/purity": 0.1} | points
    now = worth(MANY_NEURONS, points, "Sigmoid")
    assert math.isclose(sum(now.values()), sum(before.values()))
    assert now["sigmoid/special"] >= 0


def test_settings_can_name_special_values_themselves():
    points = {"sigmoid/special": 1.0, "sigmoid/purity": 0.3}
    now = worth(MANY_NEURONS, points, "Sigmoid")
    assert now["sigmoid/special"] == 1.0 and now["sigmoid/purity"] == 0.3


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_an_extreme_of_zero_is_no_kink_to_stumble_over(seed):
    relu = replace(RELU, extremes={"x": (-1000.0, 0.0, 1000.0)})
    names = {relu.name: function(relu, lambda g, x: g * (x >= 0))}
    only = [f"{relu.slug}/stability", f"{relu.slug}/special"]
    report = judge(declared(relu), Workbench(names), seed=seed, only=only).report
    assert [check.outcome for check in report.checks] == ["passed", "passed"]


@pytest.mark.parametrize("limit", [1e-3, -1e-4])
def test_a_threshold_that_is_nearly_0_is_found(limit):
    class ReLU(Function):
        @staticmethod
        def forward(ctx, z):
            ctx.save_for_backward(z)
            return z.clamp(min=0)

        @staticmethod
        def backward(ctx, g):
            (z,) = ctx.saved_tensors
            return g * (z > limit)

    relu = declare_stage("ReLU", "z[N K] -> a", torch.relu)
    work = declare_assignment("Rectifiers", [relu], name="rectifiers")
    # With some seeds an ordinary value lies in between.
    assert all("relu/special" in missed(work, {"ReLU": ReLU}, seed) for seed in range(5))


def test_near_the_end_of_a_domain_nothing_more_is_asked():
    logs = declare_stage("Log", "p[N K] -> s", torch.log, inputs={"p": real(0, 1)})
    kinds = {each.kind for each in special_cases(logs, PUBLIC_SEED, logs.sizes[0])}
    assert not any("near 0" in kind for kind in kinds)
