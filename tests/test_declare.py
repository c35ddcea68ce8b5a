"""What a signature says is what a stage has, and its sizes are derived from it."""

from __future__ import annotations

from contextlib import suppress
from itertools import combinations, product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from harness.course.settings import Settings
from harness.course.signature import SignatureError, read_signature
from harness.course.sizes import MOST, fits, fresh_sizes, gradcheck_sizes
from harness.declare import (
    assignment,
    buffer,
    constant,
    indices,
    labels,
    mask,
    positive,
    real,
    simplex,
    stage,
    target,
)
from harness.errors import DeclarationError
from harness.probes import plan
from harness.probes.points import shared_out

names = st.from_regex(r"[a-z][a-z0-9_]{0,6}", fullmatch=True)
sides = st.from_regex(r"[A-Z][a-z0-9]{0,2}|[1-9]|\([A-Z] [+*-] [1-9]\)", fullmatch=True)


@st.composite
def signatures(draw):
    """A signature, and what it should be read as."""
    found = draw(st.lists(names, min_size=2, max_size=6, unique=True))
    *inputs, output = found
    parts: list[str] = []
    wanted: list[tuple[str, tuple[str, ...] | None, bool]] = []
    for name in inputs:
        mark = draw(st.sampled_from(["", "", "?"]))
        dimensions = draw(st.none() | st.lists(sides, max_size=4))
        if dimensions is None:
            parts.append(name)
            wanted.append((name, None, False))
        else:
            gap = draw(st.sampled_from([" ", "  "]))
            parts.append(f"{name}{mark}[{gap.join(dimensions)}]")
            bare = tuple(each.strip("()") for each in dimensions)
            wanted.append((name, bare, mark == "?"))
    comma = draw(st.sampled_from([", ", ",", " , "]))
    return f"{comma.join(parts)} -> {output}", wanted, output


@given(signatures())
def test_a_signature_is_read_as_it_is_written(case):
    text, wanted, output = case
    inputs, outputs = read_signature(text)
    read = [(name, each.dimensions, each.optional) for name, each in inputs.items()]
    assert read == wanted and outputs == (output,)


@given(st.text(alphabet="xw[]()*?, ->NK42+", max_size=30))
def test_any_other_text_is_read_or_refused_with_a_sentence(text):
    with suppress(SignatureError):
        inputs, outputs = read_signature(text)
        assert inputs and outputs


@pytest.mark.parametrize(
    ("signature", "said"),
    [
        ("x[N D]", 'has no "->"'),
        ("x[N D] -> 2z", "is not a name of an output"),
        ("x[N D], x[N] -> z", "x stands twice"),
        ("x[N (4 * H] -> z", "close every bracket"),
        ("b? -> z", "has no dimensions"),
        ("x[0] -> z", "is not a dimension of x"),
        ("x[(N;1)] -> z", "is not an expression over dimensions"),
    ],
)
def test_a_signature_that_cannot_be_read_says_where_and_why(signature, said):
    with pytest.raises(DeclarationError, match=r"tests/test_declare.py, line \d+: Op: ") as refused:
        stage("Op", signature, torch.relu)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("declare", "said"),
    [
        (lambda: stage("Op", "x[N] -> z", torch.relu, inputs={"y": mask()}), "y is not an input"),
        (lambda: stage("Op", "x[N], p -> z", torch.add), "p is a given value: list those"),
        (lambda: stage("Op", "x[N], p -> z", torch.add, inputs={"p": mask()}), "p is a given"),
        (lambda: stage("Op", "x[N] -> z", torch.relu, inputs={"x": [1]}), "x is a tensor"),
        (lambda: stage("Op", "x[N] -> x", torch.relu), "x means two things"),
        (lambda: stage("Op", "g[N] -> z", torch.relu), "g means two things"),
        (lambda: stage("Op", "y[N] -> z", torch.relu, inputs={"y": mask()}), "no input has a grad"),
        (
            lambda: stage("Op", "x[N], y[N] -> z", torch.add, extremes={"p": (1,)}),
            "p is not a real input",
        ),
        (lambda: stage("Op", "xs*[N], y[N] -> z", torch.add), "must come last"),
        (
            lambda: stage("Op", "xs*[N] -> z", torch.add, gradients={"xs": "g"}),
            "xs stands for several tensors: omit its gradient",
        ),
        (lambda: stage("Op", "x[N] -> z", torch.relu, sizes="N > 99"), "no sizes up to 13 meet"),
        (
            lambda: stage("Op", "x[N], y[N] -> z", torch.add, inputs={"y": labels("K")}),
            "y counts up to K, which is not a dimension",
        ),
        (
            lambda: stage("Op", "x[N] -> z", torch.relu, sizes="H <= N"),
            "H, in H <= N, is neither a dimension nor a given value",
        ),
        (lambda: stage("Op", "x[x D] -> z", torch.relu), "x means two things"),
        (lambda: stage("an op", "x[N] -> z", torch.relu), "'an op' cannot be a name in Python"),
        (lambda: stage("Op", "lambda[N] -> z", torch.relu), "'lambda' cannot be a name in Python"),
        (lambda: stage("Op", "x[N] -> z", torch.relu, points={"x": -1.0}), "x is worth -1.0 poi"),
        (
            lambda: stage("Op", "x[N] -> z", torch.relu, ties="ref"),  # type: ignore[arg-type]
            "ties is 'ref': say any or ref",
        ),
        (lambda: assignment("Empty", []), "needs at least one stage"),
        (
            lambda: assignment("Own", [own_stage("x[N] -> z", {}, "")], handout="signature"),  # type: ignore[arg-type]
            "handout is 'signature': say mistakes or signatures",
        ),
    ],
)
def test_a_declaration_that_means_nothing_says_where_and_why(declare, said):
    with pytest.raises(DeclarationError, match=r"tests/test_declare.py, line \d+: ") as refused:
        declare()
    assert said in str(refused.value)


def test_every_kind_draws_what_it_says():
    kinds = {
        "free": real(),
        "unit": real(0, 1),
        "low": real(low=2),
        "high": real(high=-1),
        "positive": positive(),
        "rows": simplex(),
    }
    generator = torch.Generator().manual_seed(0)
    for name, kind in kinds.items():
        for shape in ((), (1,), (4, 3), (2, 3, 4)):
            if shape or name != "rows":
                value = kind.draw(generator, shape, {}, 0)
                assert value.dtype == torch.float64 and value.shape == shape
                assert kind.allows(value), name
    assert not real(0, 1).allows(torch.tensor([1.5])) and not positive().allows(torch.zeros(1))


@given(st.integers(1, 8), st.lists(st.integers(1, 5), max_size=3), st.integers(0, 9))
def test_labels_hold_the_first_the_last_and_a_repeated_one(count, shape, variant):
    for kind in (labels("K"), indices(count)):
        generator = torch.Generator().manual_seed(variant)
        drawn = kind.draw(generator, tuple(shape), {"K": count}, variant)
        found = drawn.flatten().tolist()
        assert drawn.dtype == torch.int64 and list(drawn.shape) == shape
        # Every third variant leaves out the last.
        last = max(0, count - 2) if variant % 3 == 2 else count - 1
        assert all(0 <= each <= last for each in found)
        assert last in found or (len(found) == 1 and found == [0])
        assert len(found) < 2 or 0 in found
        assert len(found) < 3 or len(set(found)) < len(found)


@given(st.lists(st.integers(1, 5), max_size=3), st.integers(0, 9))
def test_masks_are_mixed_wherever_they_can_be(shape, variant):
    drawn = mask().draw(torch.Generator().manual_seed(variant), tuple(shape), {}, variant)
    assert drawn.dtype == torch.bool
    assert drawn.numel() < 2 or (drawn.any() and not drawn.all())


def test_roles_decide_who_has_a_gradient():
    own = stage(
        "Op",
        "x[N], y[N], c[N], r[N], m[N], p -> z",
        lambda x, y, c, r, m, p: x * y * c * r * m * p,
        inputs={"y": target(), "c": constant(), "r": buffer(positive()), "m": mask(), "p": [2]},
    )
    assert own.differentiable == ("x", "y") and own.required == ("x",)


DERIVED = [
    ("x[] -> z", {}, ""),
    ("x[N] -> z", {}, ""),
    ("x[N D], w[D K], b[K] -> z", {}, ""),
    ("x[A B C D E] -> z", {}, ""),
    ("x[N D], p, q -> z", {"p": [1, 2, 3], "q": ["a", "b"]}, ""),
    ("x[N D], p, q, r, s -> z", {key: [True, False] for key in "pqrs"}, ""),
    ("x[N C H W], w[F C R S], b?[F], stride, padding -> z",
     {"stride": [1, 2], "padding": [0, 1]},
     "R <= H + 2 * padding, S <= W + 2 * padding"),
    ("x[N D], groups -> z", {"groups": [2, 3]}, "D % groups == 0"),
    ("x[N D], heads -> z", {"heads": [1, 2, 4]}, "D % heads == 0, D >= heads"),
    ("w[(4 * H) (D + H)], h[N H], x[N D] -> z", {}, ""),
    ("x[N M], y[M N] -> z", {}, "N == M + 1"),
    ("x[N (2 * D)] -> z", {}, "N >= 2"),
    ("xs*[N D] -> z", {}, ""),
    ("x[3 4] -> z", {}, ""),
]  # fmt: skip


def own_stage(signature, inputs, conditions):
    return stage("Op", signature, lambda *x: sum(each.sum() for each in x if torch.is_tensor(each)),
                 inputs=inputs, sizes=conditions)  # fmt: skip


@pytest.mark.parametrize(("signature", "inputs", "conditions"), DERIVED)
def test_derived_sizes_meet_the_conditions_and_bring_all_choices_together(
    signature, inputs, conditions
):
    own = own_stage(signature, inputs, conditions)
    assert all(fits(own, each) for each in own.sizes)
    assert 6 <= len(own.sizes) <= 40 or not own.dimensions
    options = dict(inputs)
    options |= {f"{name}?": [True, False] for name, each in own.inputs.items() if each.optional}
    options |= {f"{name}*": [1, 2, 3] for name, each in own.inputs.items() if each.several}
    for one, other in combinations(options, 2):
        together = {(each[one], each[other]) for each in own.sizes}
        assert together == set(product(options[one], options[other])), (one, other)
    for name, choices in options.items():
        assert {each[name] for each in own.sizes} == set(choices)
    assert all(own.sizes[0][name] == choices[0] for name, choices in inputs.items())


@pytest.mark.parametrize(("signature", "inputs", "conditions"), DERIVED)
def test_derived_sizes_differ_in_some_cases_and_are_single_in_others(signature, inputs, conditions):
    own = own_stage(signature, inputs, conditions)
    sizes = [[each[name] for name in own.dimensions] for each in own.sizes]
    if own.dimensions and "==" not in conditions:
        assert sum(len(set(each)) == len(each) for each in sizes) >= 4
        assert any(len(set(each)) == 1 for each in sizes)
        assert any(1 in each for each in sizes) or ">=" in conditions or "%" in conditions
    for each in own.sizes:
        drawn = own.sample(torch.Generator().manual_seed(0), each)
        assert sum(value.numel() for value in drawn if torch.is_tensor(value)) <= 3 * MOST


@pytest.mark.parametrize(("signature", "inputs", "conditions"), DERIVED)
def test_gradcheck_has_few_questions_and_fresh_sizes_are_new(signature, inputs, conditions):
    own = own_stage(signature, inputs, conditions)
    small = gradcheck_sizes(own, own.sizes)
    drawn = own.sample(torch.Generator().manual_seed(0), small)
    assert sum(value.numel() for value in drawn if torch.is_tensor(value)) <= 128
    assert fits(own, small)
    fresh = fresh_sizes(own, own.sizes[0])
    assert fits(own, fresh)
    if len(own.dimensions) > 1 and not conditions:
        assert fresh not in own.sizes


def test_sizes_that_no_condition_allows_are_refused():
    with pytest.raises(DeclarationError, match="Op: no sizes up to 13 meet N > K, K > N"):
        own_stage("x[N K] -> z", {}, "N > K, K > N")


ids = st.lists(
    st.builds("{}/{}".format, st.sampled_from("abcdefg"), st.sampled_from("pqrstu")),
    max_size=40, unique=True,
)  # fmt: skip


@given(ids, st.integers(1, 60), st.integers(0, 9), st.booleans())
@settings(max_examples=200)
def test_points_are_ten_in_all_and_none_is_zero(small, gradients, links, trains):
    required = [f"op/gradient/{at}" for at in range(gradients)]
    chain = [f"chain/{at}" for at in range(links)]
    every = [*small, *required, *chain, *(["training"] if trains else [])]
    points = shared_out(every, required)
    assert sum(points.values()) == pytest.approx(10, abs=1e-9)
    assert list(points) == every and all(each > 0 for each in points.values())
    assert not trains or points["training"] == 1.5
    own = [points[id] for id in required]
    assert max(own) - min(own) <= 0.05 + 1e-9
    if len(every) <= 60:
        assert all(each * 20 == pytest.approx(round(each * 20)) for each in points.values())


def test_an_assignment_that_declares_no_points_has_ten():
    affine = stage("Affine", "x[N D], w[D K], b[K] -> z", lambda x, w, b: x @ w + b)
    loss = stage("Loss", "s[N K], y[N] -> C", F.cross_entropy, inputs={"y": labels("K")})
    planned = plan(assignment("Own", [affine, loss]), Settings())
    assert sum(each.max_points for each in planned) == pytest.approx(10)
    assert all(each.max_points > 0 for each in planned)


def test_dimensions_of_one_size_are_told_apart():
    """Even where an instructor's sizes never differ, and the output has a number of its own."""
    product = stage(
        "Product",
        "x[N D], v[M], w[D K] -> z, r",
        lambda x, v, w: (x @ w + v.sum(), torch.cat([v, v])[None, :2]),
    )
    (alike,) = assignment("Own", [product], sizes=[dict.fromkeys("NDMK", 4)]).stages
    assert product.output_axes == alike.output_axes == (("N", "K"), ("1", "2"))


def test_a_stage_that_declared_sizes_alone_suit_is_not_run_at_others():
    square = stage("Square", "x[N D] -> z", lambda x: x.reshape(5, 3) * x)
    (own,) = assignment("Own", [square], sizes=[{"N": 5, "D": 3}]).stages
    assert own.output_axes == (("N", "D"),)


def test_formulas_may_use_pi():
    own = stage("Turn", "x[] -> z", lambda x: torch.pi * x, gradients={"x": "pi * g"})
    one = torch.ones((), dtype=torch.float64)
    assert own.evaluate("pi * g", (one,), (one,)) == torch.pi
