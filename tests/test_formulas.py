"""What formulas are read with: expressions in a table, factors, limits, mathematics as text."""

from __future__ import annotations

import ast
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.cases.cases import cases_for
from harness.course.assignments import load_assignment
from harness.expressions.notation import as_written, plain
from harness.formulas.cuts import plain_number_between
from harness.formulas.factors import Factor, constant_text
from harness.formulas.known import hint_for, known_formulas
from harness.formulas.point import Point
from tests.diagnosing import STAGES

MANY_NEURONS = load_assignment("many-neurons")
by_stage = pytest.mark.parametrize(
    ("assignment", "stage"), STAGES, ids=[f"{name}/{stage.name}" for name, stage in STAGES]
)


class Nudge(ast.NodeTransformer):
    """Changes the value of one step of an expression, in the order of its text, by a little."""

    def __init__(self, step):
        self.left = step

    def generic_visit(self, node):
        if not isinstance(node, ast.BinOp | ast.Call):
            return super().generic_visit(node)
        self.left -= 1
        if self.left == -1:
            return ast.BinOp(node, ast.Mult(), ast.Constant(1 + NUDGE))
        return super().generic_visit(node)


NUDGE = 1e-11


def rounding_of(point, text, value):
    """How far a few units in the last place of each step move the value of an expression."""
    tree = ast.parse(text, mode="eval")
    steps = sum(isinstance(node, ast.BinOp | ast.Call) for node in ast.walk(tree))
    room = np.zeros_like(value)
    for step in range(steps):
        nudged = Nudge(step).visit(ast.parse(text, mode="eval"))
        moved = point.value(f"({ast.unparse(nudged)}) * 1.0")
        if moved is not None and moved.shape == value.shape:
            room += np.nan_to_num(abs(moved - value))
    return 4 * np.finfo(float).eps / NUDGE * room


@pytest.mark.slow
@by_stage
def test_the_table_has_the_values_that_torch_gives_its_expressions(assignment, stage):
    cases = cases_for(stage, 3, stage.sizes)
    chosen = cases if stage.is_scalar else cases[:1]
    point = Point(stage, [(case.inputs, case.upstreams[0]) for case in chosen])
    generator = np.random.default_rng(0)
    shapes = {value.shape for value in point.names.values()}
    for shape in shapes:
        rows = point.table.rows(shape)
        assert len(rows) > 20 or not shape
        for row in generator.choice(len(rows), size=min(150, len(rows)), replace=False):
            term = rows.term(int(row))
            if any(sign in term.text for sign in ("> 0", "< 1", "==")):
                # Torch adds conditions as such, and does not subtract them.
                continue
            value = point.value(f"({term.text}) * 1.0")
            if value is None and "one_hot" in term.text:
                # Torch has no mean and no softmax of whole numbers.
                continue
            assert value is not None, term
            wide = np.broadcast_to(value, shape).reshape(-1)
            room = np.broadcast_to(rounding_of(point, term.text, value), shape).reshape(-1)
            close = np.isclose(rows.values[row], wide, rtol=1e-9, atol=1e-12, equal_nan=True)
            assert np.all(close | (abs(rows.values[row] - wide) <= room)), (term, wide)


@by_stage
def test_a_row_is_found_by_any_multiple_of_its_values(assignment, stage):
    cases = cases_for(stage, 3, stage.sizes)
    chosen = cases if stage.is_scalar else cases[:1]
    point = Point(stage, [(case.inputs, case.upstreams[0]) for case in chosen])
    shape = point.names[next(iter(stage.inputs))].shape
    rows = point.table.rows(shape)
    for row in np.random.default_rng(1).integers(0, len(rows), size=50):
        assert row in rows.find(-3.7 * rows.values[row][None])[1]


numbers = st.floats(min_value=1e-3, max_value=1e3) | st.fractions(
    min_value=-20, max_value=20, max_denominator=64
).map(float)


@given(numbers.filter(bool))
def test_a_constant_is_written_so_that_it_has_its_value(value):
    above, below = constant_text(value)
    assert math.isclose(float(above or 1) / float(below or 1), value, rel_tol=1e-9)


def test_constants_are_written_as_a_person_would():
    assert constant_text(1.0) == ("", "")
    assert constant_text(0.5) == ("", "2")
    assert constant_text(2 / 3) == ("2", "3")
    assert constant_text(-0.1) == ("-0.1", "")
    assert constant_text(1 / 64) == ("", "64")
    assert constant_text(2.5) == ("2.5", "")
    assert constant_text(math.pi) == ("3.1415926536", "")


def test_a_factor_stands_before_and_below():
    assert Factor("2", "N").times("g * a") == "((2) * (g * a)) / (N)"
    assert Factor("").times("g") == "g"


@given(st.floats(-50, 50), st.floats(1e-6, 5))
def test_the_number_between_two_lies_between_them(low, width):
    number = plain_number_between(low, low + width)
    assert number is None or low <= number <= low + width


def test_a_limit_is_named_only_where_one_number_is_plainer_than_all_others():
    assert plain_number_between(2.31, 2.74) is None
    assert plain_number_between(2.46, 2.52) == 2.5
    assert plain_number_between(-0.2, 0.4) == 0
    assert plain_number_between(3.8, 4.3) == 4
    assert plain_number_between(3.8, 5.3) is None


WRITTEN = {
    "WeightedSum": {
        "g.T @ z": "gᵀ z",
        "g @ w.T": "g wᵀ",
        "(g * b).sum(0)": "Σₙ (g ⊙ b)",
        "g.mean(0)": "Σₙ g / N",
        "g.sum(1)": "Σⱼ g",
        "w.sum(1)": "Σₖ w",
        "ones_like(g).T @ a_prev": "1ᵀ a_prev",
        "g.T @ a_prev + 1e-06 * w": "gᵀ a_prev + 10⁻⁶ · w",
        "g / g.norm() @ w": "(g / ‖g‖) w",
        "-0.1 * g.T @ a_prev": "(−0.1 · gᵀ) a_prev",
        "(a_prev.T @ g).reshape(w.shape)": "(a_prevᵀ g).reshape(w.shape)",
        "g.sum()": "Σₙ Σⱼ g",
    },
    "Sigmoid": {
        "g * z * (1 - z)": "g ⊙ z ⊙ (1 − z)",
        "g * (1 - a ** 2)": "g ⊙ (1 − a²)",
        "g * (z > 0)": "g ⊙ [z > 0]",
        "g * exp(-z)": "g ⊙ exp(−z)",
        "g.clamp(-1, 1) * a": "clip(g, −1, 1) ⊙ a",
        "sqrt(abs(g)) * a": "√(|g|) ⊙ a",
        "g / 4": "g / 4",
        "g * 2.5e-12": "g · (2.5 · 10⁻¹²)",
        "g * 1e20": "g · (10²⁰)",
        "-g": "−g",
        "-(-g * a)": "−(−g ⊙ a)",
        "ones_like(g).sum(1, keepdim=True)": "ones_like(g).sum(1, keepdim=True)",
        "g * a - (z - a)": "g ⊙ a − (z − a)",
    },
    "SquaredError": {
        "g * 2 * (a - y) / (N * K)": "g · 2 · (a − y) / (N · K)",
        "g * (a - y) / N ** 0.5": "g · (a − y) / √N",
        "g * (a - y) / (N * sqrt(C))": "g · (a − y) / (N · √(C))",
    },
}


@pytest.mark.parametrize("name", WRITTEN)
def test_formulas_are_written_as_mathematics(name):
    stage = MANY_NEURONS.stage(name)
    for expression, text in WRITTEN[name].items():
        assert plain(as_written(stage, expression)) == text


@by_stage
def test_every_known_formula_can_be_written(assignment, stage):
    for name in stage.inputs:
        for known in known_formulas(stage, name):
            text = plain(as_written(stage, known.expression))
            assert text and "ast" not in text and text.count("(") == text.count(")"), known


def test_the_hint_for_swapped_arguments_speaks_of_no_product():
    assert "wrong places" in hint_for("arguments swapped")
    assert "product" in hint_for("operands swapped")


def test_single_numbers_are_multiplied_with_a_dot():
    stage = load_assignment("one-neuron").stage("Sigmoid")
    assert plain(as_written(stage, "g * z * (1 - z)")) == "g · z · (1 − z)"


def test_an_expression_may_use_the_output_that_a_student_returned():
    stage = MANY_NEURONS.stage("Sigmoid")
    z, output = torch.zeros(2, 3), torch.full((2, 3), 5.0)
    assert stage.evaluate("a * g", (z,), (torch.ones(2, 3),), (output,)).eq(5).all()
    assert stage.evaluate("a * g", (z,), (torch.ones(2, 3),)).eq(0.5).all()
