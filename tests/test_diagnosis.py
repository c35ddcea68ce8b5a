"""Which formula a student wrote: named mistakes, formulas made by rule, fresh ones, and silence."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.course.assignments import load_assignment
from harness.course.settings import FEEDBACK_LEVELS, Settings
from harness.declare import stage as declare_stage
from harness.expressions.variants import variants_of
from harness.formulas.observed import observed
from harness.formulas.same import generic_cases, same_as_true
from harness.formulas.samples import Sample
from harness.mistakes import mistakes_in
from tests.diagnosing import (
    FRESH,
    OWN,
    STAGES,
    candidate_for,
    fresh_candidate,
    gradient_checks,
    is_named_so,
    own_candidate,
    own_checks,
    reproduces,
)
from tests.right import SquaredError, with_backward, with_forward

MANY_NEURONS = load_assignment("many-neurons")
by_stage = pytest.mark.parametrize(
    ("assignment", "stage"), STAGES, ids=[f"{name}/{stage.name}" for name, stage in STAGES]
)


@pytest.mark.slow
@by_stage
def test_every_known_mistake_is_named_and_its_formula_holds(assignment, stage):
    named = 0
    for mistake in mistakes_in(stage):
        if not mistake.gradients:
            continue
        candidate = candidate_for(
            assignment, stage, mistake.gradients, mistake.forward, mistake.code
        )
        for name, check in gradient_checks(assignment, stage, candidate).items():
            if check.outcome != "failed":
                continue
            named += 1
            assert check.diagnosis is not None, (mistake.name, name, check.message)
            assert is_named_so(check.diagnosis.mistake, mistake.name), (
                mistake.name,
                check.diagnosis,
            )
            assert check.diagnosis.hint in check.message
            assert reproduces(stage, name, candidate, check.diagnosis.formula), check.diagnosis
    assert named >= 15


@pytest.mark.proof
@by_stage
def test_every_formula_made_by_rule_gets_a_formula_that_holds(assignment, stage):
    for name in stage.inputs:
        # `python -m benchmarks.diagnoses` takes them all.
        for variant in variants_of(stage, name)[::3]:
            if same_as_true(stage, name, variant.expression):
                continue
            candidate = candidate_for(assignment, stage, {name: variant.expression})
            check = gradient_checks(assignment, stage, candidate)[name]
            if check.outcome == "failed" and "where a tensor belongs" not in check.message:
                assert check.diagnosis is not None, variant
                assert reproduces(stage, name, candidate, check.diagnosis.formula), variant


@pytest.mark.slow
def test_of_fresh_mistakes_nine_in_ten_get_a_formula_and_each_holds():
    """They were written without a look at the rules; `python -m benchmarks.diagnoses` takes all."""
    closed = found = 0
    for entry in [entry for entries in FRESH.values() for entry in entries][::8]:
        stage, candidate = fresh_candidate(entry)
        for name, check in gradient_checks(entry["assignment"], stage, candidate).items():
            if name not in entry["wrong"]:
                assert check.diagnosis is None, entry
                continue
            assert check.outcome == "failed", (entry, check)
            closed += name in entry["formula"]
            if check.diagnosis is not None:
                found += name in entry["formula"]
                assert reproduces(stage, name, candidate, check.diagnosis.formula), entry
    assert closed > 60
    assert found / closed > 0.9


def formulas(names):
    """Small expressions over names, functions and numbers, right or wrong ones."""
    leaves = st.sampled_from([*names, "2", "3", "0.5", "N", "K"])
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.tuples(inner, st.sampled_from("*+-"), inner).map(lambda each: f"({' '.join(each)})"),
            inner.map(lambda each: f"({each} ** 2)"),
            inner.map(lambda each: f"sigmoid({each} * ones_like(g))"),
            inner.map(lambda each: f"abs({each})"),
        ),
        max_leaves=5,
    )


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(formulas(["g", "z", "a"]))
def test_whatever_is_written_a_formula_that_is_given_holds(expression):
    stage = MANY_NEURONS.stage("Sigmoid")
    whole = f"({expression}) * ones_like(z)"
    candidate = candidate_for("many-neurons", stage, {"z": whole})
    check = gradient_checks("many-neurons", stage, candidate)["z"]
    assert (check.outcome == "passed") == bool(same_as_true(stage, "z", whole))
    if check.diagnosis is not None:
        assert check.outcome == "failed"
        assert reproduces(stage, "z", candidate, check.diagnosis.formula)


@by_stage
def test_a_right_gradient_gets_no_diagnosis(assignment, stage):
    candidate = candidate_for(assignment, stage, {})
    for check in gradient_checks(assignment, stage, candidate).values():
        assert check.outcome == "passed"
        assert check.diagnosis is None


def test_a_right_gradient_beside_a_wrong_one_gets_no_diagnosis():
    stage = MANY_NEURONS.stage("WeightedSum")
    candidate = candidate_for("many-neurons", stage, {"w": "g.T @ z"})
    checks = gradient_checks("many-neurons", stage, candidate)
    assert [name for name, check in checks.items() if check.diagnosis] == ["w"]


def test_a_right_formula_in_the_wrong_kind_gets_no_diagnosis():
    class Returned(SquaredError):
        @staticmethod
        def backward(ctx, g):
            values = SquaredError.backward(ctx, g)
            return values[0].tolist(), None

    Returned.__name__ = "SquaredError"
    stage = MANY_NEURONS.stage("SquaredError")
    check = gradient_checks("many-neurons", stage, Returned)["a"]
    assert check.outcome == "failed"
    assert check.diagnosis is None


@pytest.mark.parametrize("count", [1, 2, 4, 5])
def test_too_few_or_too_many_returns_are_no_formula(count):
    stage = MANY_NEURONS.stage("WeightedSum")
    right = candidate_for("many-neurons", stage, {})
    odd = with_backward(right, lambda ctx, g: (right.backward(ctx, g) * 2)[:count])
    for check in gradient_checks("many-neurons", stage, odd).values():
        assert check.outcome == "failed"
        assert check.diagnosis is None


def test_an_order_of_returns_is_named_only_where_both_stand_in_each_others_place():
    stage = MANY_NEURONS.stage("SquaredError")
    swapped = {"a": "-g * 2 * (a - y) / N", "y": "g * 2 * (a - y) / N"}
    both = gradient_checks("many-neurons", stage, candidate_for("many-neurons", stage, swapped))
    assert both["a"].diagnosis.mistake == "order-of-returns"
    alone = gradient_checks(
        "many-neurons", stage, candidate_for("many-neurons", stage, {"a": swapped["a"]})
    )
    assert alone["a"].diagnosis.mistake == "sign"


def test_an_output_stands_for_what_the_students_forward_returned():
    stage = MANY_NEURONS.stage("Sigmoid")
    candidate = candidate_for("many-neurons", stage, {"z": "g * (1 - a ** 2)"}, "tanh(z)")
    check = gradient_checks("many-neurons", stage, candidate)["z"]
    assert check.diagnosis.mistake == "tanh-forward-and-backward"
    assert reproduces(stage, "z", candidate, check.diagnosis.formula)


def test_a_mistake_of_forward_too_is_not_named_for_a_multiple_where_forward_is_right():
    stage = load_assignment("one-neuron").stage("Sigmoid")
    check = gradient_checks(
        "one-neuron", stage, candidate_for("one-neuron", stage, {"z": "0.168 * g"})
    )
    assert check["z"].diagnosis.mistake != "identity-forward-and-backward"
    assert "comes out as it was" not in check["z"].message


def test_a_formula_is_not_sought_where_it_is_right_by_chance():
    """Without smoothing, which the first inputs have, labels stand rightly for the targets."""
    formula = "g * (p - one_hot(y, K)) / N"
    (labels,) = (
        each
        for each in OWN
        if each["stage"] == "SmoothedCrossEntropy" and each["formula"] == {"s": formula}
    )
    found = own_checks(*own_candidate(labels))["s"].diagnosis
    assert found and found.formula == formula
    assert found.mistake != "another-formula"


def test_leading_axes_of_size_one_are_part_of_the_formula():
    stage = MANY_NEURONS.stage("WeightedSum")
    candidate = candidate_for("many-neurons", stage, {"b": "(2 * g.sum(0) + b)[None]"})
    check = gradient_checks("many-neurons", stage, candidate)["b"]
    assert check.diagnosis is not None
    assert reproduces(stage, "b", candidate, check.diagnosis.formula)


@pytest.mark.parametrize("decay", [1e-3, 1e-4, 3e-5, 1e-5, 1e-7])
def test_a_part_that_large_upstreams_hide_is_read_from_the_small_ones(decay):
    stage = MANY_NEURONS.stage("WeightedSum")
    candidate = candidate_for("many-neurons", stage, {"w": f"g.T @ a_prev + {decay} * w"})
    check = gradient_checks("many-neurons", stage, candidate)["w"]
    assert reproduces(stage, "w", candidate, check.diagnosis.formula)
    assert "w + w" not in check.diagnosis.formula


OBSERVED = {
    "The same question gets another answer the second time.": "g * a * (1 - a) * (1 + rand(()))",
    "It is right where N = 1, and wrong everywhere else.": (
        "g * a * (1 - a) * (1 if N == 1 else arange(1.0, N * K + 1).reshape(N, K) ** 0.3)"
    ),
    "Its first row is right, and all others are wrong.": (
        "g * a * (1 - a) * (1 + arange(N)[:, None] * arange(1, K + 1) ** 0.3)"
    ),
    "It is wrong just where z < 0.": (
        "g * a * (1 - a) * (1 + (z < 0) * arange(1, N * K + 1).reshape(N, K) ** 0.3)"
    ),
    "It is a multiple of the right gradient, each time another one.": (
        "g * a * (1 - a) * cos(z.sum() * 3 + a.mean())"
    ),
    "It agrees with the right gradient to about 2 digits, and not further.": (
        "g * a * (1 - a) + 0.0005 * g.abs().max() * sin(100 * z + arange(K))"
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("said", OBSERVED)
def test_where_no_formula_fits_it_says_what_is_plain(said):
    stage = MANY_NEURONS.stage("Sigmoid")
    text = OBSERVED[said]

    class Sigmoid(torch.autograd.Function):
        @staticmethod
        def forward(ctx, z):
            a = torch.sigmoid(z)
            ctx.save_for_backward(z, a)
            return a

        @staticmethod
        def backward(ctx, g):
            z, a = ctx.saved_tensors
            scope = {**vars(torch), "z": z, "a": a, "g": g, "N": z.shape[0], "K": z.shape[1]}
            return eval(text, scope)

    check = gradient_checks("many-neurons", stage, Sigmoid)["z"]
    assert check.outcome == "failed"
    assert check.diagnosis is None
    assert said in check.message
    assert said in check.staff


@pytest.mark.parametrize("factor", [-1, 0.3])
def test_a_factor_that_is_always_the_same_is_said(factor):
    stage = MANY_NEURONS.stage("Sigmoid")
    samples = []
    for case in generic_cases(stage):
        ((right,), *_) = case.gradients
        samples.append(Sample(case.inputs, case.outputs, case.upstreams[0], factor * right))
    said = f"It is the right gradient times {factor}.".replace("-", "−")
    assert observed(stage, "z", samples) == said


def test_nothing_is_claimed_of_sizes_that_were_not_tried():
    own = declare_stage("Op", "x[N D E] -> z", torch.sin)
    samples, generator = [], torch.Generator().manual_seed(0)
    for sizes in ({"N": 2, "D": 3, "E": 4}, {"N": 3, "D": 1, "E": 1}):
        inputs = own.sample(generator, sizes)
        upstream = own.run(inputs)
        (right,) = own.true_gradients(inputs, upstream)
        assert right is not None
        wrong = right + torch.arange(sizes["D"])[:, None] ** 2
        samples.append(Sample(inputs, upstream, upstream, wrong))
    said = "It is right where D = E = 1, and wrong in all other cases that were tried."
    assert observed(own, "x", samples) == said


def test_nothing_is_said_of_a_gradient_of_another_shape_that_no_formula_gives():
    stage = MANY_NEURONS.stage("Sigmoid")
    odd = with_backward(
        candidate_for("many-neurons", stage, {}), lambda ctx, g: g.cumsum(0).cos()[:, :1]
    )
    check = gradient_checks("many-neurons", stage, odd)["z"]
    assert check.diagnosis is None
    assert "\nBy hand: for z = " in check.message and check.message.count("\n") == 2


ODD = {
    "not a number": "g * nan",
    "infinite": "g / 0.0",
    "infinite here and there": "g / (z > 0)",
    "not a number in some": "where(z > 2, nan, g)",
    "huge": "g * 1e300",
    "tiny": "g * 1e-300",
    "whole numbers": "g.long()",
    "conditions": "g > 0",
    "complex": "g * 1j",
    "half": "(g * z).half()",
    "empty": "g[:0]",
    "a number": "g.sum()",
    "five axes": "g[None, None, None]",
    "a column": "g[:, :1]",
    "large": "zeros(300, 400)",
    "larger": "ones(1000, 1000)",
    "sparse": "g.to_sparse()",
    "seventy axes": "g.reshape([1] * 62 + [*g.shape])",
    "without numbers": "g.to('meta')",
    "zeros": "0 * g",
    "minus zeros": "-0.0 * g",
    "alike": "ones_like(g)",
    "sizes": "ones_like(g) * g.shape[0] ** 0.37",
    "noise": "randn_like(g)",
    "a list": "g.tolist()",
}


ODD_OUTPUTS = (
    "z / 0.0",
    "z * nan",
    "z * 1e300",
    "exp(100 * z)",
    "z.to_sparse()",
    "z[:0]",
    "z * 1j",
)


@pytest.mark.slow
@pytest.mark.parametrize("odd", ODD)
def test_odd_returns_are_judged_like_any_other(odd):
    for assignment in ("many-neurons", "one-neuron"):
        stage = load_assignment(assignment).stage("Sigmoid")
        scope = {**vars(torch), "nan": float("nan")}

        def backward(ctx, g, scope=scope):
            (z, *_) = ctx.saved_tensors
            try:
                return eval(ODD[odd], {**scope, "z": z, "g": g})
            except (IndexError, RuntimeError):
                return g * 7

        right = candidate_for(assignment, stage, {})
        check = gradient_checks(assignment, stage, with_backward(right, backward))["z"]
        assert check.outcome in ("failed", "error")
        if check.diagnosis:
            assert reproduces(stage, "z", with_backward(right, backward), check.diagnosis.formula)


@pytest.mark.slow
@pytest.mark.parametrize(
    "output",
    ["z / 0.0", "z * nan", "z * 1e300", "exp(100 * z)", "z.to_sparse()", "z[:0]", "z * 1j"],
)
def test_odd_outputs_are_judged_like_any_other(output):
    stage = MANY_NEURONS.stage("Sigmoid")
    odd = with_forward(
        candidate_for("many-neurons", stage, {"z": "g * a * (1 - z)"}),
        lambda ctx, z: kept(ctx, z, eval(output, {**vars(torch), "z": z, "nan": float("nan")})),
    )
    assert gradient_checks("many-neurons", stage, odd)["z"].outcome != "passed"


def kept(ctx, z, a):
    ctx.save_for_backward(z, a)
    return a


LEVELS = {
    "verdict": (False, False, False),
    "where": (False, False, False),
    "hint": (False, True, False),
    "formula": (True, True, False),
    "solution": (True, True, True),
}


@pytest.mark.parametrize("level", FEEDBACK_LEVELS)
def test_a_student_sees_what_the_level_allows(level):
    stage = MANY_NEURONS.stage("Sigmoid")
    candidate = candidate_for("many-neurons", stage, {"z": "g * z * (1 - z)"})
    check = gradient_checks("many-neurons", stage, candidate, Settings(feedback=level))["z"]
    assert check.diagnosis.formula == "g * z * (1 - z)"
    assert check.diagnosis.expected == "g * a * (1 - a)"
    shown = (
        "behaves like g ⊙ z ⊙ (1 − z)." in check.message,
        check.diagnosis.hint in check.message,
        "Right is g ⊙ a ⊙ (1 − a)." in check.message,
    )
    assert shown == LEVELS[level]
