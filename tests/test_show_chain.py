"""The chain and the teaching figures: what they say, to eyes with and without colour."""

import math
import re
import xml.etree.ElementTree as ET

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from harness.course.report import Check, Diagnosis, Report
from harness.declare import assignment, stage
from harness.drawing.expressions import local_derivative
from harness.expressions.notation import as_written, plain, symbol
from harness.many_neurons import MANY_NEURONS
from harness.one_neuron import ONE_NEURON
from harness.show import (
    DOWN,
    UP,
    chain_picture,
    costs_picture,
    layer_sum_picture,
    sensitivity_picture,
)

ASSIGNMENTS = (ONE_NEURON, MANY_NEURONS)
EDGES = ("∂z/∂a_prev", "∂z/∂w", "∂z/∂b", "∂a/∂z", "∂C/∂a", "∂C/∂y")
SVG = "{http://www.w3.org/2000/svg}"
both = pytest.mark.parametrize("assignment", ASSIGNMENTS, ids=lambda each: each.name)


def report(**outcomes):
    ids = {
        "a_prev": "weighted-sum/gradient/a_prev",
        "w": "weighted-sum/gradient/w",
        "z": "sigmoid/gradient/z",
        "a": "squared-error/gradient/a",
    }
    checks = (Check(ids[name], "S", "t", out, 0, 1) for name, out in outcomes.items())
    return Report("one-neuron", tuple(checks))


def root(picture):
    return ET.fromstring(picture.svg)


def said(picture):
    """All that is written in the picture, apart from its title and description."""
    texts = root(picture).iter(f"{SVG}text")
    return re.sub(r"\s+", "", "|".join("".join(text.itertext()) for text in texts))


def dashes(picture):
    return {
        each.get("stroke-dasharray") for each in root(picture).iter() if "stroke" in each.attrib
    }


@both
def test_every_edge_carries_its_local_derivative(assignment):
    written = said(chain_picture(assignment))
    cost = "C0" if assignment is ONE_NEURON else "C"
    for edge in EDGES:
        above, below = edge.replace("_", "").replace("C", cost).split("/")
        assert f"{above}|{below}" in written


@both
def test_the_plain_picture_gives_no_formula_away(assignment):
    assert "=" not in said(chain_picture(assignment))
    assert "=" not in said(chain_picture(assignment, report(w="passed", z="failed")))


def test_derivatives_of_one_neuron_are_written_out():
    written = said(chain_picture(ONE_NEURON, derivatives=True))
    for right_side in ("|=|w|", "|=|aprev|", "|=|1|", "|=|a(1−a)|", "|=|2(a−y)|"):
        assert right_side in f"{written}|"
    assert "Σ" not in written


def test_derivatives_of_a_layer_have_indices_and_sums():
    written = said(chain_picture(MANY_NEURONS, derivatives=True))
    for right_side in ("|=|wjk|", "|=|aprev,k|", "|=|1|", "|=|aj(1−aj)|", "|=|2(aj−yj)/N|"):
        assert right_side in written
    for sum_and_code in (r"Σ\|j.*\|g@w\|", r"Σ\|n.*\|g\.T@a_prev\|", r"Σ\|n.*\|g\.sum\(0\)\|"):
        assert re.search(sum_and_code, written)


def test_a_report_is_never_shown_with_the_derivatives():
    with pytest.raises(ValueError, match="derivatives cannot be combined"):
        chain_picture(ONE_NEURON, report(w="failed"), derivatives=True)


@both
def test_outcomes_differ_without_colour(assignment):
    outcomes = ("passed", "failed", "error", "not_run")
    pictures = [chain_picture(assignment, report(z=outcome)) for outcome in outcomes]
    words = ("right", "wrong", "anerror", "notyet")
    for word, picture in zip(words, pictures, strict=True):
        assert word in said(picture)
    assert len({frozenset(dashes(picture)) for picture in pictures}) == 4


@both
def test_the_description_says_which_edge_is_wrong(assignment):
    picture = chain_picture(assignment, report(w="passed", z="failed", a="not_run"))
    cost = "C₀" if assignment is ONE_NEURON else "C"
    assert f"∂z/∂w: right. ∂a/∂z: wrong. ∂{cost}/∂a: not yet." in picture.description
    assert root(picture).find(f"{SVG}desc").text == picture.description


def test_edges_that_a_report_does_not_judge_bear_no_mark():
    alone = chain_picture(ONE_NEURON, report(z="failed"))
    everything = chain_picture(ONE_NEURON, report(z="failed", w="failed", a="failed"))
    assert len(dashes(alone)) == len(dashes(everything))
    assert alone.svg.count("8 4") < everything.svg.count("8 4")


def test_a_declared_stage_is_drawn_without_more_ado():
    relu = stage("ReLU", "z[N K] -> h", torch.relu, gradients={"z": "g * (z > 0)"})
    weighted_sum, _, squared_error = MANY_NEURONS.stages

    def network(a_prev, w, b, y):
        return squared_error(relu(weighted_sum(a_prev, w, b)), y)

    written = said(chain_picture(assignment("Own", network=network), derivatives=True))
    assert "|∂hj|∂zj|=|[zj>0]|" in written
    assert "|=|2(hj−yj)/N|" in written


@pytest.mark.parametrize(
    ("expression", "right_side"),
    [
        ("g", "1"),
        ("-g", "−1"),
        ("g.sum(0)", "1"),
        ("g.T @ a_prev", "aprev"),
        ("g * a * (1 - a)", "a(1 − a)"),
        ("-g * 2 * (a - y) / N", "−2(a − y) / N"),
        ("2 * (a - (b - c)) * g", "2(a − (b − c))"),
        ("g * (-z)", "−z"),
        ("g * exp(-z) / (1 + exp(-z)) ** 2", "exp(−z) / (1 + exp(−z))2"),
        ("g / z", "1 / z"),
        ("g * (z > 0)", "[z > 0]"),
    ],
)
def test_a_gradient_is_read_as_a_local_derivative(expression, right_side):
    formula = local_derivative(expression, {})
    assert formula is not None
    assert "".join(piece.text for piece in formula) == right_side


@pytest.mark.parametrize("expression", ["a * (1 - a)", "g * g", "g + a", "g * a.sum() * (g > 0)"])
def test_what_is_not_the_upstream_times_something_has_no_local_derivative(expression):
    assert local_derivative(expression, {}) is None


def test_names_have_subscripts():
    pieces = symbol("a_prev", "k")
    assert [(piece.text, piece.place) for piece in pieces] == [
        ("a", "line"),
        ("prev,", "below"),
        ("k", "below"),
    ]
    assert [piece.text for piece in symbol("w2")] == ["w", "2"]
    assert symbol("C₀") == symbol("C0")


def test_what_follows_a_subscript_stands_on_the_line_again():
    heights = set()
    for text in root(chain_picture(MANY_NEURONS, derivatives=True)).iter(f"{SVG}text"):
        height = 0.0
        for piece in text.iter(f"{SVG}tspan"):
            height += float(piece.get("dy"))
            if piece.get("font-size") == text.get("font-size"):
                heights.add(height)
    assert heights == {0.0}


def every_picture():
    yield from (chain_picture(each) for each in ASSIGNMENTS)
    yield from (chain_picture(each, derivatives=True) for each in ASSIGNMENTS)
    yield from (chain_picture(each, report(z="error")) for each in ASSIGNMENTS)
    yield sensitivity_picture({"w": 1.0, "b": -2.0})
    yield layer_sum_picture()
    yield costs_picture([3, 2, 1], [3, 1])


@pytest.mark.parametrize("picture", [*every_picture()])
def test_pictures_fit_any_page(picture):
    svg = root(picture)
    _, _, width, height = map(float, svg.get("viewBox").split())
    # At 290 pixels, a phone's cell, letters of 16 are to stay above 9 pixels.
    assert width <= 16 * 290 / 9
    assert svg.get("width") == "100%"
    for each in svg.iter():
        for name in ("x", "x1", "x2", "cx"):
            assert 0 <= float(each.get(name, 0)) <= width
        for name in ("y", "y1", "y2", "cy"):
            assert 0 <= float(each.get(name, 0)) <= height
        # Ids and classes of two pictures on one page would clash.
        assert not {"id", "class"} & set(each.attrib)


@pytest.mark.parametrize("picture", [*every_picture()])
def test_pictures_have_words_for_those_who_do_not_see_them(picture):
    svg = root(picture)
    assert svg.get("role") == "img"
    assert svg.get("aria-label") == svg.find(f"{SVG}title").text == picture.title
    assert picture.title and picture.description


@pytest.mark.parametrize("picture", [*every_picture()])
def test_text_takes_the_colour_of_the_page(picture):
    assert root(picture).get("fill") == "currentColor"
    assert not any("fill" in each.attrib for each in root(picture).iter(f"{SVG}text"))


def test_the_neurons_that_send_back_are_counted_from_0_as_in_code():
    written = said(layer_sum_picture())
    assert "|z0|" in written and "|z2|" in written and "z3" not in written


def test_a_notebook_shows_the_drawing_and_a_terminal_its_words():
    picture = layer_sum_picture()
    bundle = picture._repr_mimebundle_()
    assert bundle["text/html"] == bundle["image/svg+xml"] == picture.svg
    assert picture.title in bundle["text/plain"] and "<" not in bundle["text/plain"]


def test_a_picture_can_be_saved(tmp_path):
    picture = layer_sum_picture()
    picture.save(tmp_path / "sum.svg")
    assert ET.parse(tmp_path / "sum.svg").getroot().tag == f"{SVG}svg"
    assert (tmp_path / "sum.svg").read_text(encoding="utf-8") == picture.svg


def test_sensitivities_stand_in_the_order_of_their_size():
    picture = sensitivity_picture({"w1": 0.5, "b1": -2.0, "w2": 0.0})
    assert picture.description == "b1: −2; w1: +0.5; w2: 0"


def test_the_sign_of_a_sensitivity_is_told_by_side_colour_and_label():
    bars = [root(sensitivity_picture({"w": w})).find(f"{SVG}rect") for w in (1.0, -1.0)]
    assert [bar.get("fill") for bar in bars] == [UP, DOWN]
    assert bars[0].get("width") == bars[1].get("width")
    one, other = (sensitivity_picture({"w": 1.0, "b": b}) for b in (0.5, -0.5))
    assert "−0.5" in said(other) and "+0.5" in said(one)


def test_many_sensitivities_are_cut_off_and_counted():
    picture = sensitivity_picture({f"w{at}": at + 1.0 for at in range(20)})
    assert "4smallerones" in said(picture)
    assert "w0:" not in picture.description


@pytest.mark.parametrize("values", [{}, {"w": math.nan}, {"w": 1.0, "b": math.inf}])
def test_sensitivities_that_cannot_be_drawn_are_refused(values):
    with pytest.raises(ValueError, match=r"no values|not finite"):
        sensitivity_picture(values)


finite = st.floats(allow_nan=False, allow_infinity=False)


@example({"w": 5e-324}, "the least")
@example({"w": 1.79e308, "b": -1.79e308}, "the most")
@given(st.dictionaries(st.text(st.characters()), finite, min_size=1, max_size=20), st.text())
def test_any_sensitivities_make_a_picture(values, title):
    numbers = re.findall(r' (?:x|y|width|x1|x2)="([^"]*)"', sensitivity_picture(values, title).svg)
    root(sensitivity_picture(values, title))
    assert all(math.isfinite(float(number)) for number in numbers if "%" not in number)


@given(st.lists(st.floats(), max_size=8), st.lists(st.floats(), max_size=8))
def test_any_costs_make_a_picture(costs, reference):
    for curve in root(costs_picture(costs, reference)).iter(f"{SVG}polyline"):
        points = [tuple(map(float, pair.split(","))) for pair in curve.get("points").split()]
        assert all(0 <= x <= 370 and 0 <= y <= 180 for x, y in points)


def test_costs_leave_a_gap_where_they_are_not_finite():
    curves = [*root(costs_picture([3.0, math.nan, 2.0, 1.0])).iter(f"{SVG}polyline")]
    assert [len(curve.get("points").split()) for curve in curves] == [1, 2]


def test_costs_beyond_the_reference_do_not_flatten_it():
    (reference, _) = root(costs_picture([1.0, 1e9], [1.0, 0.5])).iter(f"{SVG}polyline")
    heights = [float(pair.split(",")[1]) for pair in reference.get("points").split()]
    assert abs(heights[0] - heights[1]) > 10


def test_a_high_start_of_a_long_training_is_told_and_does_not_flatten_the_rest():
    costs = [4.0, *[1.0 - step / 300 for step in range(300)]]
    picture = costs_picture(costs, costs)
    assert "from4atstep1" in said(picture)
    curve = [*root(picture).iter(f"{SVG}polyline")][-1]
    heights = [float(pair.split(",")[1]) for pair in curve.get("points").split()]
    assert heights[-1] - heights[10] > 100
    assert "atstep1" not in said(costs_picture(costs[1:], costs[1:]))


def lacking(formula, mistake):
    message = (
        f"Your ∂C/∂z behaves like {plain(as_written(MANY_NEURONS.stage('Sigmoid'), formula))}."
    )
    known = Diagnosis("grad_z", mistake, formula, "", "where is g?")
    check = Check("sigmoid/gradient/z", "S", "t", "failed", 0, 1, message=message, diagnosis=known)
    return chain_picture(MANY_NEURONS, Report("many-neurons", (check,)))


def test_a_missing_upstream_is_drawn_at_g_and_not_as_a_wrong_local_derivative():
    picture = lacking("ones_like(g) * a * (1 - a)", "upstream-missing")
    assert "g,theupstream,ismissing" in said(picture)
    assert "wrong" not in said(picture) and "8 4" not in dashes(picture)
    assert picture.title.endswith("in which the upstream is missing in ∂C/∂z")
    assert "g, which is ∂C/∂a, is missing in your ∂C/∂z." in picture.description


def test_a_second_slip_beside_a_missing_upstream_is_drawn_at_its_edge_too():
    picture = lacking("a * (1 + a)", "wrong-sign")
    assert "g,theupstream,ismissing" in said(picture) and "wrong" in said(picture)
    assert "8 4" in dashes(picture)


@pytest.mark.parametrize("formula", ["g * z * (1 - z)", "g", "zeros_like(g)"])
def test_an_upstream_that_is_used_is_not_missing(formula):
    assert "missing" not in said(lacking(formula, "other"))
