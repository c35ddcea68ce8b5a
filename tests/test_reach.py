"""Samples reach as far as a right answer can be told from 0, and no further."""

from __future__ import annotations

import pytest
import torch

from harness.candidate.workbench import Workbench
from harness.cases.cases import extreme_cases, make_case
from harness.course.assignments import load_assignment
from harness.declare import assignment as declared
from harness.declare import labels, stage
from harness.judging.judge import judge
from tests.right import Sigmoid, WeightedSum, with_backward, with_forward

ASSIGNMENTS = [load_assignment("one-neuron"), load_assignment("many-neurons")]
IDS = [assignment.name for assignment in ASSIGNMENTS]
# A few each time, and the others among the proofs.
SEEDS = [*range(3), *(pytest.param(seed, marks=pytest.mark.proof) for seed in range(3, 8))]


def outcomes(assignment, sigmoid, seed):
    """The checks of Sigmoid that are not passed."""
    report = judge(assignment, Workbench({"Sigmoid": sigmoid}), seed=seed).report
    return {
        check.id.removeprefix("sigmoid/"): check
        for check in report.checks
        if check.stage == "Sigmoid" and check.outcome != "passed"
    }


def numbers_of(cases, at=0):
    """The numbers that the cases have for an input."""
    values = (case.inputs[at] for case in cases)
    return torch.cat([value.flatten() for value in values if isinstance(value, torch.Tensor)])


def saving_z(backward):
    def forward(ctx, z):
        ctx.save_for_backward(z)
        return torch.sigmoid(z)

    def on_z(ctx, g):
        (z,) = ctx.saved_tensors
        return backward(g, z)

    return with_forward(with_backward(Sigmoid, on_z), forward)


def slope(z):
    return torch.sigmoid(z) * torch.sigmoid(-z)


def zero_between(least, most):
    return saving_z(lambda g, z: g * slope(z) * ((z.abs() < least) | (z.abs() > most)))


@pytest.mark.parametrize("assignment", ASSIGNMENTS, ids=IDS)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_slope_that_is_zero_in_between_is_a_wrong_gradient_that_is_shown(assignment, seed):
    missed = outcomes(assignment, zero_between(8, 14), seed)
    message = missed["gradient/z"].message
    assert missed["gradient/z"].outcome == "failed"
    assert "came back as 0" in message and "overflow" not in message
    assert missed["stability"].outcome == "not_run"


@pytest.mark.parametrize("assignment", ASSIGNMENTS, ids=IDS)
@pytest.mark.parametrize(("least", "most"), [(13, 20), (20, 30)])
@pytest.mark.parametrize("seed", SEEDS[:4])
def test_a_slope_that_is_zero_further_out_costs_stability_with_a_word_on_the_zero(
    assignment, least, most, seed
):
    missed = outcomes(assignment, zero_between(least, most), seed)
    assert list(missed) == ["stability"]
    message = missed["stability"].message
    assert "The right value there is not 0" in message and "overflow" not in message


@pytest.mark.parametrize("assignment", ASSIGNMENTS, ids=IDS)
@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_not_finite_is_asked_about_overflow(assignment, seed):
    overflowing = saving_z(lambda g, z: g * torch.exp(z) / (1 + torch.exp(z)) ** 2)
    missed = outcomes(assignment, overflowing, seed)
    assert list(missed) == ["stability"]
    assert "Does an exponential overflow" in missed["stability"].message


def tanh_forward(ctx, z):
    a = 0.5 * (1 + torch.tanh(z / 2))
    ctx.save_for_backward(a)
    return a


RIGHT = {
    "a * (1 - a)": Sigmoid,
    "more exact than the reference": saving_z(lambda g, z: g * slope(z)),
    "a from tanh, which is 0 far to the left": with_forward(Sigmoid, tanh_forward),
    "a parabola": with_backward(
        Sigmoid, lambda ctx, g: g * (0.25 - (ctx.saved_tensors[0] - 0.5) ** 2)
    ),
}


@pytest.mark.parametrize("assignment", ASSIGNMENTS, ids=IDS)
@pytest.mark.parametrize("style", RIGHT)
@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_as_exact_as_the_reference_is_right(assignment, style, seed):
    assert not outcomes(assignment, RIGHT[style], seed)


def in_float32(forward):
    """The slope computed in float32: a matter of precision, not of the formula."""

    def backward(ctx, g):
        a = forward(ctx.saved_tensors[0].float())
        return (g.float() * a * (1 - a)).double()

    def save(ctx, z):
        ctx.save_for_backward(z)
        return torch.sigmoid(z)

    return with_forward(with_backward(Sigmoid, backward), save)


@pytest.mark.parametrize("assignment", ASSIGNMENTS, ids=IDS)
@pytest.mark.parametrize("forward", [torch.sigmoid, lambda z: (1 + torch.tanh(z / 2)) / 2])
@pytest.mark.parametrize("seed", SEEDS)
def test_arithmetic_in_float32_costs_precision_however_far_the_samples_reach(
    assignment, forward, seed
):
    missed = {
        id: check.outcome for id, check in outcomes(assignment, in_float32(forward), seed).items()
    }
    assert missed == {"precision": "failed", "stability": "not_run"}


@pytest.mark.parametrize("assignment", ASSIGNMENTS, ids=IDS)
@pytest.mark.parametrize("seed", SEEDS)
def test_samples_lie_near_zero_and_far_from_it_on_both_sides(assignment, seed):
    stage = assignment.stage("Sigmoid")
    cases = [make_case(stage, seed, each, at) for at, each in enumerate(stage.sizes)]
    values = numbers_of(cases)
    for z in (values, -values):
        assert ((z > 0) & (z < 2)).any() and ((z > 4) & (z < 8)).any()
        assert ((z > 8) & (z < 12)).any() and not (z > 12).any()


@pytest.mark.parametrize("assignment", ASSIGNMENTS, ids=IDS)
@pytest.mark.parametrize("seed", SEEDS)
def test_extremes_come_near_each_that_is_declared(assignment, seed):
    stage = assignment.stage("Sigmoid")
    cases = extreme_cases(stage, seed, stage.sizes[0])
    values = numbers_of(cases)
    for extreme in stage.extremes["z"]:
        near = values / extreme
        assert ((near > (0.9 if abs(extreme) == 800 else 0.75)) & (near <= 1)).any()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_sigmoid_that_is_cut_off_far_out_is_not_stable(seed):
    def forward(ctx, z):
        a = torch.sigmoid(z.clamp(-30, 30))
        ctx.save_for_backward(a)
        return a

    cut = with_forward(Sigmoid, forward)
    assert outcomes(ASSIGNMENTS[1], cut, seed).keys() == {"stability"}


SHIFTS = {
    "the maximum of all": lambda z: z.max(),
    "the maximum of another axis": lambda z: z.max(0, keepdim=True).values,
    "the least": lambda z: z.min(1, keepdim=True).values,
    "the maximum with another sign": lambda z: (-z).max(1, keepdim=True).values,
    "the mean": lambda z: z.mean(1, keepdim=True),
    "the maximum of the row and 0": lambda z: z.max(1, keepdim=True).values.clamp(min=0),
    "the first": lambda z: z[:, :1],
    "the last": lambda z: z[:, -1:],
}


def cross_entropy_from(softmax, classes=lambda z: z.shape[1]):
    """Cross-entropy whose backward has a softmax, and one-hot labels of so many classes."""

    class CrossEntropy(torch.autograd.Function):
        @staticmethod
        def forward(ctx, z, y):
            ctx.save_for_backward(z, y)
            return torch.nn.functional.cross_entropy(z, y)

        @staticmethod
        def backward(ctx, g):
            z, y = ctx.saved_tensors
            one_hot = torch.nn.functional.one_hot(y, classes(z))
            return g * (softmax(z) - one_hot) / len(y), None

    return CrossEntropy


def shifted_by(shift):
    """Softmax that subtracts a shift before it takes exponentials."""

    def softmax(z):
        powers = (z - shift(z)).exp()
        return powers / powers.sum(1, keepdim=True)

    return softmax


def outcomes_of(function, seed, *only):
    candidate = Workbench({"CrossEntropy": function})
    ids = [f"cross-entropy/{each}" for each in only]
    return judge(load_assignment("classifier"), candidate, seed=seed, only=ids).report


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", [*SHIFTS, "the maximum of each row"])
def test_a_softmax_is_stable_only_if_the_maximum_of_each_row_is_subtracted(name, seed):
    shift = SHIFTS.get(name, lambda z: z.max(1, keepdim=True).values)
    report = outcomes_of(cross_entropy_from(shifted_by(shift)), seed, "stability")
    assert report.passed == (name not in SHIFTS)


@pytest.mark.parametrize("seed", [*SEEDS, 10, 12, 18])
def test_a_softmax_in_log_space_is_stable_though_large_scores_round_it(seed):
    def softmax(z):
        return (z - z.logsumexp(1, keepdim=True)).exp()

    assert outcomes_of(cross_entropy_from(softmax), seed, "stability").passed


@pytest.mark.parametrize("seed", SEEDS)
def test_how_many_classes_there_are_is_not_to_be_read_from_the_labels(seed):
    counted = cross_entropy_from(lambda z: z.softmax(1), lambda _: -1)
    assert not outcomes_of(counted, seed, "gradient/z").passed


def cut_at(limit):
    class ReLU(torch.autograd.Function):
        @staticmethod
        def forward(ctx, z):
            ctx.save_for_backward(z)
            return torch.relu(z)

        @staticmethod
        def backward(ctx, g):
            (z,) = ctx.saved_tensors
            return g * (z > 0) * (z < limit)

    return ReLU


@pytest.mark.slow
@pytest.mark.parametrize("signature", ["z[N K] -> a", "z[] -> a", "z[K] -> a"])
@pytest.mark.parametrize("seed", SEEDS)
def test_an_activation_of_ones_own_is_tried_far_out_too(signature, seed):
    own = declared("Own", [stage("ReLU", signature, torch.relu)])
    relu = cut_at(6)
    report = judge(own, Workbench({"ReLU": relu}), seed=seed).report
    assert {each.id: each.outcome for each in report.checks}["relu/gradient/z"] == "failed"


@pytest.mark.parametrize("limit", [6, 10, 20, 100])
@pytest.mark.parametrize("seed", SEEDS[:4])
def test_the_classifiers_relu_is_not_cut_off(limit, seed):
    report = judge(load_assignment("classifier"), Workbench({"ReLU": cut_at(limit)}), seed=seed)
    found = {each.id: each.outcome for each in report.report.checks}
    caught = "relu/gradient/z" if limit <= 10 else "relu/stability"
    assert found[caught] == "failed"


def test_where_a_stage_is_not_finite_far_out_it_is_tried_near():
    steep = stage("Steep", "z[N K] -> a", lambda z: torch.exp(torch.exp(torch.exp(z.abs()))))
    numbers = numbers_of([make_case(steep, 3, {"N": 2, "K": 3}, index) for index in range(4)])
    assert numbers.isfinite().all() and numbers.abs().max() < 6


def weighted_sum_cut_at(limit, name):
    """A weighted sum, the gradient of whose other factor takes an input for at most a limit."""

    def backward(ctx, g):
        kept = dict(zip(("a_prev", "w"), ctx.saved_tensors, strict=True))
        kept[name] = kept[name].clamp(-limit, limit)
        return g @ kept["w"], g.T @ kept["a_prev"], g.sum(0)

    return with_backward(WeightedSum, backward)


@pytest.mark.slow
@pytest.mark.parametrize("limit", [5, 8, 10])
@pytest.mark.parametrize(("name", "other"), [("a_prev", "w"), ("w", "a_prev")])
@pytest.mark.parametrize("seed", SEEDS)
def test_each_input_of_a_weighted_sum_reaches_far(name, other, limit, seed):
    candidate = Workbench({"WeightedSum": weighted_sum_cut_at(limit, name)})
    report = judge(load_assignment("many-neurons"), candidate, seed=seed).report
    outcomes = {each.id: each.outcome for each in report.checks}
    assert outcomes[f"weighted-sum/gradient/{other}"] == "failed"
    assert outcomes[f"weighted-sum/gradient/{name}"] == "passed"


def guarded_by(small):
    """Cross-entropy as numpy courses write it, with a small number against log(0)."""

    class CrossEntropy(torch.autograd.Function):
        @staticmethod
        def forward(ctx, s, y):
            p = s.softmax(1)
            ctx.save_for_backward(p, y)
            return -(p[torch.arange(len(y)), y] + small).log().mean()

        @staticmethod
        def backward(ctx, g):
            p, y = ctx.saved_tensors
            return g * (p - torch.nn.functional.one_hot(y, p.shape[1])) / len(y), None

    return CrossEntropy


@pytest.mark.parametrize("small", [1e-8, 1e-12])
@pytest.mark.parametrize("seed", [*SEEDS, 8, 9])
def test_scores_stay_near_where_a_guarded_logarithm_is_right(small, seed):
    own = declared(
        "Own",
        [
            stage(
                "CrossEntropy",
                "s[N K], y[N] -> C",
                torch.nn.functional.cross_entropy,
                inputs={"y": labels("K")},
            )
        ],
    )
    report = judge(own, Workbench({"CrossEntropy": guarded_by(small)}), seed=seed).report
    outcomes = {each.id.split("/", 1)[1]: each.outcome for each in report.checks}
    assert outcomes["forward"] == outcomes["gradient/s"] == "passed"


@pytest.mark.parametrize("seed", SEEDS)
def test_what_an_attention_adds_up_reaches_far_and_what_it_compares_stays_near(seed):
    attention = stage(
        "Attention",
        "q[N D], k[M D], v[M E] -> o",
        torch.nn.functional.scaled_dot_product_attention,
    )
    cases = [make_case(attention, seed, each, at) for at, each in enumerate(attention.sizes)]
    q, k, v = (numbers_of(cases, at).abs().max() for at in range(3))
    assert v > 11 > max(q, k)


@pytest.mark.parametrize("seed", SEEDS)
def test_an_input_stays_near_if_any_choice_has_more_than_products_of_it(seed):
    def forward(x, y, kind):
        return (x.exp() if kind == "exp" else x) * y

    gated = stage(
        "Gated",
        "x[N D], y[N D], kind -> z",
        forward,
        inputs={"kind": ["none", "left", "right", "both", "exp"]},
    )
    cases = [make_case(gated, seed, each, at) for at, each in enumerate(gated.sizes)]
    x, y = (numbers_of(cases, at).abs().max() for at in range(2))
    assert y > 11 > x


def guarded(x, y):
    if x.abs().max() > 9:
        raise ValueError("x is too large")
    return x * y


def particular(x, y):
    assert x.dtype == torch.float64
    return x * y


@pytest.mark.parametrize("reference", [guarded, particular])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_reference_may_refuse_what_is_far_or_not_in_float64(reference, seed):
    class Product(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, y):
            ctx.save_for_backward(x, y)
            return x * y

        @staticmethod
        def backward(ctx, g):
            x, y = ctx.saved_tensors
            return g * y, g * x

    own = declared("Own", [stage("Product", "x[N K], y[N K] -> z", reference)])
    report = judge(own, Workbench({"Product": Product}), seed=seed).report
    assert all(check.outcome == "passed" for check in report.checks if check.stage == "Product")
