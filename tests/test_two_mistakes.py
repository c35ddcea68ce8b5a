"""Two mistakes at once, returns without the upstream, and formulas in their simplest form."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.cases.cases import cases_for
from harness.course.assignments import load_assignment
from harness.expressions.notation import as_written, plain
from harness.formulas.known import known_formulas
from harness.formulas.observed import observed
from harness.formulas.same import generic_cases, value_of
from harness.formulas.samples import Sample
from harness.formulas.simple import length, shortened, simplest
from tests.diagnosing import candidate_for, gradient_checks, reproduces

ONE, MANY = "one-neuron", "many-neurons"


def read(assignment, stage, gradients):
    """The diagnoses of a backward that returns these expressions, by input; each formula holds."""
    stage = load_assignment(assignment).stage(stage)
    candidate = candidate_for(assignment, stage, gradients)
    checks = gradient_checks(assignment, stage, candidate)
    found = {name: check.diagnosis for name, check in checks.items() if name in gradients}
    for name, known in found.items():
        assert known is not None, checks[name].message
        assert known.hint in checks[name].message
        assert reproduces(stage, name, candidate, known.formula), known
    return found


# What is returned for an input, what is shown, and the mistakes that are named, the graver first.
PAIRS = [
    (ONE, "Sigmoid", "z", "z * (1 - z)", "z · (1 − z)", ("upstream-missing", "z-for-a")),
    (ONE, "SquaredError", "a", "a - y", "a − y", ("upstream-missing", "lost-factor-two")),
    (ONE, "SquaredError", "a", "C", "C", ("upstream-missing", "not-differentiated")),
    (MANY, "Sigmoid", "z", "-g * z * (1 - z)", "g ⊙ z ⊙ (z − 1)", ("z-for-a", "sign-of-the-slope")),
    (
        MANY,
        "Sigmoid",
        "z",
        "1 - tanh(z) ** 2",
        "1 − tanh(z)²",
        ("upstream-missing", "tanh-slope-of-z"),
    ),
    (MANY, "SquaredError", "a", "2 * (a - y)", "2 · (a − y)", ("upstream-missing", "not-averaged")),
    (MANY, "SquaredError", "a", "a - y", "a − y", ("upstream-missing", "lost-two-and-n")),
    (
        *(MANY, "SquaredError", "a", "2 * (a - y) / (g * 0 + N * K)"),
        *("2 · (a − y) / (N · K)", ("upstream-missing", "averaged-over-everything")),
    ),
    (MANY, "SquaredError", "a", "g * (y - a) / N", "g · (y − a) / N", ("sign", "lost-factor-two")),
    (
        *(MANY, "SquaredError", "a", "g * 2 * (a ** 2 - y ** 2)"),
        *("g · 2 · (a² − y²)", ("squares-subtracted", "not-averaged")),
    ),
    (
        *(MANY, "SquaredError", "a", "2 * (y - a) / K * ones_like(a)"),
        *("2 · (y − a) / K", ("upstream-missing", "sign", "averaged-over-outputs")),
    ),
    (
        *(MANY, "WeightedSum", "w", "2 * g.T @ z"),
        *("2 · (gᵀ z)", ("output-for-input", "off-by-a-factor")),
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("assignment", "stage", "name", "wrong", "shown", "mistakes"), PAIRS, ids=[p[3] for p in PAIRS]
)
def test_two_mistakes_are_two_and_the_graver_comes_first(
    assignment, stage, name, wrong, shown, mistakes
):
    known = read(assignment, stage, {name: wrong})[name]
    assert (known.mistake, *known.also) == mistakes
    assert plain(as_written(load_assignment(assignment).stage(stage), known.formula)) == shown
    counts = {2: "Two", 3: "Three"}
    assert known.hint.startswith(f"{counts[len(mistakes)]} things are wrong. 1. ")
    assert f" {len(mistakes)}. " in known.hint


SINGLE = tomllib.loads((Path(__file__).parent / "single_slips.toml").read_text(encoding="utf-8"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "wrong", SINGLE["wrong"], ids=lambda each: " ".join(each["gradients"].values())
)
def test_a_slip_is_told_once_in_its_simplest_form(wrong):
    known = read(wrong["assignment"], wrong["stage"], wrong["gradients"])
    first = known[next(iter(wrong["gradients"]))]
    stage = load_assignment(wrong["assignment"]).stage(wrong["stage"])
    assert plain(as_written(stage, first.formula)) == wrong["shown"]
    assert [first.mistake, *first.also] == wrong["mistakes"]
    assert wrong["asks"] in first.hint
    assert wrong["never"] not in first.hint


def test_a_wrong_sign_that_may_be_swapped_returns_asks_about_both():
    for wrong in (
        {"a": "-g * 2 * (a - y)", "y": "g * 2 * (a - y)"},
        {"a": "g * (y - a)", "y": "g * (a - y)"},
    ):
        for known in read(ONE, "SquaredError", wrong).values():
            assert known.mistake == "order-of-returns"
            assert "If the returns are in order, look at the sign." in known.hint
    alone = read(ONE, "SquaredError", {"a": "-g * 2 * (a - y)"})["a"]
    assert "order" not in alone.hint


def test_a_hint_speaks_of_the_input_that_it_stands_under():
    swapped = read(ONE, "WeightedSum", {"a_prev": "g * a_prev", "w": "g * w"})
    assert "held still when a_prev moves?" in swapped["a_prev"].hint
    assert "held still when w moves?" in swapped["w"].hint


FACTORS = {
    "g * a * (1 - a) * 0.3": "off-by-a-factor",
    "g * a * (1 - a) / K ** 2": "off-by-a-factor",
    "4 * g * a * (1 - a)": "off-by-a-factor",
    "g * a * (1 - a) / (g * a).norm()": "normalised",
    "g * a * (1 - a) * z.mean()": "times-a-quantity",
}


@pytest.mark.parametrize("wrong", FACTORS)
def test_only_a_number_or_a_size_is_called_a_factor(wrong):
    assert read(MANY, "Sigmoid", {"z": wrong})["z"].mistake == FACTORS[wrong]


GAINS = {
    "2 * g * sigmoid(2 * z) * (1 - sigmoid(2 * z))": "2 · g · σ(2 · z) · (1 − σ(2 · z))",
    "0.7 * sigmoid(0.7 * z) * (1 - sigmoid(0.7 * z))": "0.7 · σ(0.7 · z) · (1 − σ(0.7 · z))",
    "g * 3 * (1 - tanh(3 * z) ** 2)": "3 · g · (1 − tanh(3 · z)²)",
    "g / (1 + abs(2 * z)) ** 2": "g / (1 + |2 · z|)²",
    "g * a ** z": "g · a^z",
}


@pytest.mark.parametrize("wrong", GAINS)
def test_a_slope_with_a_gain_is_read(wrong):
    stage = load_assignment(ONE).stage("Sigmoid")
    known = read(ONE, "Sigmoid", {"z": wrong})["z"]
    assert plain(as_written(stage, known.formula)) == GAINS[wrong]


@pytest.mark.slow
def test_an_inverse_is_read():
    wrong = {"a_prev": "g @ pinverse(w).T", "w": "pinverse(g) @ a_prev"}
    found = read(MANY, "WeightedSum", wrong)
    assert {name: known.formula for name, known in found.items()} == wrong


def test_where_a_power_is_no_number_is_said():
    stage = load_assignment(MANY).stage("SquaredError")
    candidate = candidate_for(MANY, stage, {"a": "g * 2 * (a - y) ** y / N"})
    check = gradient_checks(MANY, stage, candidate)["a"]
    assert "It is not a finite number just where a − y < 0." in check.message


def test_right_for_one_sample_is_not_said_where_the_gradient_is_zero():
    stage = load_assignment(MANY).stage("Sigmoid")
    samples = []
    for case in generic_cases(stage):
        ((right,), *_) = case.gradients
        assert right is not None
        zero = case.sizes["N"] == 1
        upstream = tuple(
            torch.zeros_like(g) if zero else g for g in case.upstreams[0] if g is not None
        )
        wrong = torch.zeros_like(right) if zero else right * torch.rand(right.shape).double()
        samples.append(Sample(case.inputs, case.outputs, upstream, wrong))
    assert "N = 1" not in observed(stage, "z", samples)


def same_as(stage, expression):
    """A test whether another expression has the values of this one at generic points."""
    places = [
        (case.inputs, g)
        for case in (*generic_cases(stage), *cases_for(stage, 3, stage.sizes))
        for g in case.upstreams
    ]
    values = [value_of(stage, expression, *place) for place in places]

    def same(text):
        for place, value in zip(places, values, strict=True):
            other = value_of(stage, text, *place)
            if value is None or other is None or other.shape != value.shape:
                return False
            if not torch.allclose(other.double(), value.double(), rtol=1e-8, atol=1e-12):
                return False
        return True

    return same


SIMPLE = {
    "-(g * 2 * (a - y) / N) / 2": "g * (y - a) / N",
    "g * 2 * (a - y) / (2 * g)": "a - y",
    "N * (g * 2 * (a ** 2 - y ** 2) / N)": "2 * g * (a ** 2 - y ** 2)",
    "g * ((C > 0) + 0.01 * (C <= 0))": "g",
    "(g * (a - y).T.T) * 1.0": "g * (a - y)",
    "g * (a <= a)": "g * ones_like(a)",
    "-(a * a) / N + a / N": "a * (1 - a) / N",
    "g * 2 * (a - y) / N": "g * 2 * (a - y) / N",
}


@pytest.mark.parametrize("expression", SIMPLE)
def test_what_cancels_or_is_never_reached_is_not_shown(expression):
    stage = load_assignment(MANY).stage("SquaredError")
    assert simplest(stage, expression, same_as(stage, expression)) == SIMPLE[expression]


@st.composite
def two_edits(draw):
    """A stage, one of its inputs, and a wrong formula that two rules, or one, have made."""
    assignment = draw(st.sampled_from((ONE, MANY)))
    stage = draw(st.sampled_from(load_assignment(assignment).stages))
    name = draw(st.sampled_from(tuple(stage.gradients)))
    alone = [each for each in known_formulas(stage, name) if each.is_alone]
    outer = draw(st.sampled_from(("{}", "-({})", "2 * ({})", "({}) / 3", "({}) * ones_like(g)")))
    return assignment, stage, name, outer.format(draw(st.sampled_from(alone)).expression)


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(two_edits())
def test_no_formula_is_longer_than_another_one_with_its_values(drawn):
    assignment, stage, name, wrong = drawn
    candidate = candidate_for(assignment, stage, {name: wrong})
    known = gradient_checks(assignment, stage, candidate)[name].diagnosis
    if known is None or known.formula == "None":
        return
    assert reproduces(stage, name, candidate, known.formula)
    same, size = same_as(stage, known.formula), length(stage, known.formula)[0]
    others = {wrong, *shortened(stage, known.formula)}
    others |= {each.expression for each in known_formulas(stage, name)}
    for other in others:
        assert length(stage, other)[0] >= size or not same(other), (known.formula, other)
