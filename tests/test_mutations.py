"""Mutants made by rule: the rules do what they say, and what is right all the same is known."""

from __future__ import annotations

import ast
import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from grading.verify.behaviour import same_behaviour
from grading.verify.controls import controls_for
from grading.verify.equivalents import equivalents_for
from grading.verify.rewrites import rewrites_of
from grading.verify.styles import Style, catalogue, styles, written
from grading.verify.writing import stage_text
from harness.candidate.workbench import Workbench
from harness.course.assignments import SHIPPED, load_assignment
from harness.declare import stage as declare_stage
from harness.expressions.variants import variants_of
from harness.formulas.same import same_as_true
from tests.right import RIGHT, Sigmoid, WeightedSum, with_backward, with_forward

MANY_NEURONS = load_assignment("many-neurons")
SUM, SIGMOID, COST = MANY_NEURONS.stages
STAGES = [
    pytest.param(name, stage, id=f"{name}/{stage.name}")
    for name in SHIPPED
    for stage in load_assignment(name).stages
]


def expressions(stage, name):
    return {variant.expression for variant in variants_of(stage, name)}


@pytest.mark.parametrize(
    ("stage", "name", "expected"),
    [
        (SUM, "w", {"g @ a_prev", "a_prev @ g.T", "g.T * a_prev", "g.T @ a_prev.T", "g.T"}),
        (SUM, "w", {"-(g.T @ a_prev)", "(g.T @ a_prev) ** 2", "g.T @ a_prev / K"}),
        (SUM, "w", {"g.T @ w", "z.T @ a_prev", "2 * (g.T @ a_prev)", "(g.T @ a_prev).T"}),
        (SUM, "w", {"ones_like(g).T @ a_prev", "(g ** 2).T @ a_prev", "g.T @ a_prev / N"}),
        (SUM, "b", {"g", "g.sum(1)", "g.sum()", "g.mean(0)", "g.sum(0, keepdim=True)"}),
        (SIGMOID, "z", {"g * z * (1 - a)", "g * a * (1 - z)", "g * (1 - a)", "g * a"}),
        (SIGMOID, "z", {"g * a * (1 + a)", "g * a * (a - 1)", "abs(g) * a * (1 - a)"}),
        (COST, "a", {"g * 2 * (a - y)", "g * (a - y) / N", "g * 2 * (y - a) / N", "g * 2 * a / N"}),
        (COST, "a", {"g * 2 * (a - y) / K", "g * 2 * (a - y) * N", "g * 3 * (a - y) / N"}),
        (COST, "y", {"g * 2 * (a - y) / N", "-g * 2 * (a + y) / N"}),
    ],
)  # fmt: skip
def test_the_rules_make_what_students_write(stage, name, expected):
    assert expected <= expressions(stage, name)


def formulas():
    """Formulas over one number x, of some depth."""
    leaves = st.sampled_from(["g", "x", "h", "2", "1", "3"])
    pairs = st.sampled_from(["+", "-", "*", "/"])
    return st.recursive(
        leaves,
        lambda part: (
            st.tuples(part, pairs, part).map(lambda t: f"({t[0]} {t[1]} {t[2]})")
            | part.map(lambda text: f"exp({text})")
            | part.map(lambda text: f"(-{text})")
        ),
        max_leaves=5,
    )


@pytest.mark.slow
@given(formula=formulas())
def test_variants_are_expressions_that_differ(formula):
    some = declare_stage("Some", "x[] -> h", lambda x: x, gradients={"x": formula})
    found = [variant.expression for variant in variants_of(some, "x")]
    assert len(set(found)) == len(found)
    true = ast.unparse(ast.parse(formula, mode="eval"))
    for text in found:
        ast.parse(text, mode="eval")
        assert text != true


@given(
    factors=st.permutations(["g", "a", "(1 - a)"]),
    scale=st.sampled_from(["", " * 2 / 2", " + 0 * z"]),
)
def test_the_same_value_in_another_order_is_the_same(factors, scale):
    assert same_as_true(SIGMOID, "z", " * ".join(factors) + scale)


@pytest.mark.parametrize(
    ("stage", "name", "expression"),
    [
        (SIGMOID, "z", "g * (a - a ** 2)"),
        (SIGMOID, "z", "g * sigmoid(z) * sigmoid(-z)"),
        (SUM, "w", "(a_prev.T @ g).T"),
        (SUM, "b", "g.mean(0) * N"),
        (COST, "a", "2 / N * (g * a - g * y)"),
    ],
)
def test_another_formula_of_the_same_value_is_the_same(stage, name, expression):
    assert same_as_true(stage, name, expression) == "the same value at 12 generic points"


def test_leading_axes_of_size_one_are_the_same_and_other_axes_are_not():
    assert "size 1" in str(same_as_true(SUM, "b", "g.sum(0, keepdim=True)"))
    assert same_as_true(SUM, "b", "g.sum(0)[:, None]") is None
    assert same_as_true(SUM, "b", "g") is None


@pytest.mark.parametrize(
    "expression",
    [
        "g * a * (1 - a) * (1 + 1e-9)",
        "g.float() * a * (1 - a)",
        "abs(g) * a * (1 - a)",
        "a @ g",
        "1",
    ],
)
def test_what_is_nearly_right_or_raises_is_not_the_same(expression):
    assert same_as_true(SIGMOID, "z", expression) is None


@pytest.mark.slow
@pytest.mark.parametrize(("assignment", "stage"), STAGES)
def test_few_variants_are_the_same_as_the_true_gradient(assignment, stage):
    for name in stage.differentiable:
        variants = variants_of(stage, name)
        same = [each for each in variants if same_as_true(stage, name, each.expression)]
        assert len(variants) >= 25
        # Operands are swapped, |a| is a, z³ > 0 where z > 0, and a label's axis 1 is −1, too.
        assert len(same) <= max(4, len(variants) // 10)


SOLVED = '''
class Sigmoid(Function):
    """a = σ(z)"""

    @staticmethod
    def forward(ctx, z):
        a = torch.sigmoid(z)
        ctx.save_for_backward(a)
        return a

    @staticmethod
    def backward(ctx, g):
        """Returns ∂C/∂z."""
        (a,) = ctx.saved_tensors
        return g * a * (1 - a)
'''


def rewritten(source, *, shaped=True):
    solved = ast.parse(source).body[0]
    assert isinstance(solved, ast.ClassDef)
    return rewrites_of(solved, shaped=shaped)


def test_rewrites_change_one_place_and_compile():
    found = rewritten(SOLVED)
    assert len({rewrite.code for rewrite in found}) == len(found) > 60
    for rewrite in found:
        compile(rewrite.code, "<mutant>", "exec")
        assert '"""a = σ(z)"""' in rewrite.code


@pytest.mark.parametrize(
    "part",
    [
        "return g * a * (1 + a)",
        "return g * (1 - a)",
        "return a * a * (1 - a)",
        "return g.mul_(a) * (1 - a)",
        "return (g * a * (1 - a)).float()",
        "return [g * a * (1 - a)]",
        "return None",
        "a = torch.tanh(z)",
        "a = z\n",
        "return z",
        "return g.T * a * (1 - a)",
    ],
)
def test_rewrites_hold_what_students_write(part):
    assert any(part in rewrite.code for rewrite in rewritten(SOLVED))


def test_rewrites_swap_what_is_returned_and_what_is_saved():
    source = (
        "class S(Function):\n"
        "    def backward(ctx, g):\n"
        "        a, w = ctx.saved_tensors\n"
        "        return g @ w, g.T @ a\n"
    )
    code = "\n".join(rewrite.code for rewrite in rewritten(source))
    for part in (
        "return (g.T @ a, g @ w)",
        "w, a = ctx.saved",
        "(None, g.T @ a)",
        "return g @ w\n",
    ):
        assert part in code + "\n"


def test_numbers_have_no_axes_to_change():
    assert not any(".T" in rewrite.code for rewrite in rewritten(SOLVED, shaped=False))


def candidate_of(stage, function):
    return Workbench({stage.name: function})


@pytest.mark.parametrize(("assignment", "stage"), STAGES)
def test_the_right_classes_behave(assignment, stage):
    assert same_behaviour(stage, candidate_of(stage, RIGHT[assignment][stage.name]))


def test_what_differs_in_values_or_manners_does_not_behave():
    def in_place(ctx, g):
        (a,) = ctx.saved_tensors
        return g.mul_(a * (1 - a))

    def half(ctx, g):
        (a,) = ctx.saved_tensors
        return (g * a * (1 - a)).float()

    def when_all(ctx, g):
        a_prev, w = ctx.saved_tensors
        every = all(ctx.needs_input_grad)
        return (g @ w, g.T @ a_prev, g.sum(0)) if every else (None, None, None)

    kept = {}

    def forward(ctx, z):
        kept["a"] = torch.sigmoid(z)
        return kept["a"].clone()

    def last(ctx, g):
        return g * kept["a"] * (1 - kept["a"])

    for backward in (in_place, half):
        assert not same_behaviour(SIGMOID, candidate_of(SIGMOID, with_backward(Sigmoid, backward)))
    last_wins = with_forward(with_backward(Sigmoid, last), forward)
    assert not same_behaviour(SIGMOID, candidate_of(SIGMOID, last_wins))
    assert not same_behaviour(SUM, candidate_of(SUM, with_backward(WeightedSum, when_all)))


def defined(code, right):
    scope = {**right}
    exec(compile(code, "<class>", "exec"), scope)
    return scope


@pytest.mark.parametrize(("assignment", "stage"), STAGES)
def test_a_stage_written_from_its_own_formulas_is_right(assignment, stage):
    scope = defined(stage_text(stage, {}), RIGHT[assignment])
    assert same_behaviour(stage, Workbench(scope))


def behaves(assignment, stage, way, style):
    """Whether the control's class is right, whatever the judge says of it."""
    code = catalogue().head + f"Solved{stage.name} = {stage.name}\n" + written(stage, way, style)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return same_behaviour(stage, Workbench(defined(code, RIGHT[assignment])))


@pytest.mark.parametrize(("assignment", "stage"), STAGES)
def test_every_equivalent_is_right(assignment, stage):
    for name, way in equivalents_for(assignment, stage).items():
        assert behaves(assignment, stage, way, "plain"), name


@pytest.mark.slow
@pytest.mark.parametrize(("assignment", "stage"), STAGES)
def test_every_style_is_right(assignment, stage):
    ways = list(equivalents_for(assignment, stage).values())
    for turn, style in enumerate(styles()):
        assert behaves(assignment, stage, ways[turn % len(ways)], style), style


def test_a_style_that_does_not_fit_its_base_is_refused():
    with pytest.raises(ValueError, match="twice replaces 'def forwards', which its base"):
        Style(replace=[("def forwards", "def forward")]).filled("twice", styles())


@pytest.mark.parametrize("name", sorted({name for name in SHIPPED if load_assignment(name).stages}))
def test_controls_bring_every_style_to_every_stage(name):
    controls = list(controls_for(load_assignment(name)))
    assert len(controls) >= 60
    assert len({code for _, code in controls}) == len(controls)
    said = [text for text, _ in controls]
    for stage in load_assignment(name).stages:
        used = {part for text in said for part in text.split("; ") if part.startswith(stage.name)}
        assert all(any(part.endswith(f", {style}") for part in used) for style in styles())
        ways = equivalents_for(name, stage)
        assert all(any(part.startswith(f"{stage.name}: {way},") for part in used) for way in ways)
    assert all(any(text.endswith(frame) for text in said) for frame in catalogue().frame)
    for _, code in controls:
        compile(code, "<control>", "exec")
