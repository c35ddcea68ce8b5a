"""What a student wrote stands beside its wrong edge, in full sight, and no further than it may."""

import re
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harness.candidate.workbench import Workbench
from harness.course.report import Check, Diagnosis, Report
from harness.course.settings import Settings, for_student
from harness.drawing.mathematics import width_of
from harness.drawing.written import MOST_LINES, WIDEST, broken
from harness.expressions.notation import Piece, as_written, plain
from harness.judging.judge import judge
from harness.many_neurons import MANY_NEURONS
from harness.one_neuron import ONE_NEURON
from harness.show import chain_picture
from tests.diagnosing import candidate_for
from tests.right import MANY
from tests.test_show_chain import ASSIGNMENTS, both, root, said

MESSAGE = "Your ∂C/∂{name} behaves like {formula}."


def wrong(assignment, **formulas):
    """A report in which these gradients are wrong, and say so with their formulas."""
    checks = []
    for stage in assignment.stages:
        for name in stage.inputs:
            formula = formulas.get(name)
            told = plain(as_written(stage, formula)) if formula else ""
            checks.append(
                Check(
                    f"{stage.slug}/gradient/{name}",
                    stage.name,
                    "t",
                    "failed" if formula else "passed",
                    0,
                    1,
                    message=MESSAGE.format(name=name, formula=told),
                    diagnosis=Diagnosis(f"grad_{name}", "m", formula, "e", "h")
                    if formula
                    else None,
                )
            )
    return Report(assignment.name, tuple(checks))


def judged(level):
    sigmoid = candidate_for("many-neurons", MANY_NEURONS.stage("Sigmoid"), {"z": "g * z * (1 - z)"})
    settings = Settings(feedback=level)
    report = judge(
        MANY_NEURONS,
        Workbench({**MANY, "Sigmoid": sigmoid}),
        settings=settings,
        only=["sigmoid/gradient/z"],
    ).report
    return for_student(report, settings)


@both
def test_what_was_written_stands_beside_the_wrong_edge_and_in_the_words(assignment):
    picture = chain_picture(assignment, wrong(assignment, z="g * z"))
    times = "·" if assignment is ONE_NEURON else "⊙"
    assert f"your∂C/∂z|g{times}z|" in f"{said(picture)}|"
    assert f"Your ∂C/∂z behaves like g {times} z." in picture.description
    assert picture.title.endswith("in which ∂a/∂z is wrong")


def test_each_wrong_edge_has_its_own_formula():
    written = said(chain_picture(ONE_NEURON, wrong(ONE_NEURON, w="g * w", b="g * b", a="g * a")))
    assert all(f"your∂C/∂{name}|g·{name}" in written for name in "wba")


@pytest.mark.parametrize(
    ("level", "shown"),
    [("verdict", False), ("where", False), ("hint", False), ("formula", True), ("solution", True)],
)
def test_the_formula_is_shown_at_the_levels_that_tell_it_and_the_mark_at_all(level, shown):
    picture = chain_picture(MANY_NEURONS, judged(level))
    assert ("g⊙z⊙(1−z)" in said(picture)) is shown
    assert ("g ⊙ z ⊙ (1 − z)" in picture.description) is shown
    assert "∂a/∂z: wrong." in picture.description


def test_a_formula_that_the_message_keeps_back_stays_there():
    report = wrong(MANY_NEURONS, z="g * z")
    silent = replace(report, checks=tuple(replace(each, message="m") for each in report.checks))
    assert "your" not in said(chain_picture(MANY_NEURONS, silent))


def test_layers_say_over_what_a_gradient_adds_up():
    picture = chain_picture(MANY_NEURONS, wrong(MANY_NEURONS, z="g"))
    for part in ("Σ|j|∂zj|∂aprev,k", "Σ|n|∂zj|∂wjk", "Σ|n|∂zj|∂bj", "|∂aj|∂zj"):
        assert part in said(picture)
    assert "Σ" not in said(chain_picture(ONE_NEURON, wrong(ONE_NEURON, z="g")))


def test_right_edges_are_as_quiet_as_those_that_are_not_judged():
    lines = [
        line.get("stroke")
        for line in root(chain_picture(ONE_NEURON, wrong(ONE_NEURON))).iter()
        if line.tag.endswith("line") and float(line.get("stroke-width", 0)) < 2
    ]
    assert set(lines) == {"currentColor"}


def test_a_long_formula_is_broken_before_its_signs_and_outside_brackets():
    stage = MANY_NEURONS.stage("SquaredError")
    lines = broken(as_written(stage, "g * 2 * (a - y) / (N * K) + a * y"), WIDEST, MOST_LINES)
    assert [plain(line) for line in lines] == ["g · 2 · (a − y)", "/ (N · K) + a ⊙ y"]


pieces = st.builds(
    Piece,
    st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=40),
    st.booleans(),
    st.sampled_from(["line", "above", "below"]),
)


@example([Piece("00000\U000e0100", False, "line")])  # the last one is escaped: 10 letters
@given(st.lists(pieces, min_size=1, max_size=20))
def test_any_formula_keeps_to_its_lines_and_their_width(formula):
    lines = broken(tuple(formula), WIDEST, MOST_LINES)
    assert 1 <= len(lines) <= MOST_LINES
    assert all(width_of(line) <= WIDEST for line in lines)


@given(st.lists(pieces, min_size=1, max_size=20))
def test_breaking_loses_nothing_but_spaces(formula):
    lines = broken(tuple(formula), WIDEST, 10_000)
    whole, parts = (
        re.sub(" ", "", "".join(piece.text for piece in each))
        for each in (formula, [piece for line in lines for piece in line])
    )
    assert whole == parts


LONG = (
    "g * exp(-z) / (1 + exp(-z)) ** 2 * relu(z) + tanh(z) * sigmoid(z) * a * a * a * a - z * z * z"
)


@pytest.mark.parametrize("assignment", ASSIGNMENTS, ids=lambda each: each.name)
def test_every_edge_wrong_at_length_still_fits_a_phone(assignment):
    long = {"z": LONG, "w": "g * w * w * w * w * w * w", "b": "g * b * b * b * b * b * b * b * b"}
    long |= {
        "a_prev": "g * a_prev * a_prev * a_prev",
        "a": LONG.replace("z", "y"),
        "y": "g * y * a",
    }
    report = wrong(assignment, **long)
    _, _, width, _ = map(float, root(chain_picture(assignment, report)).get("viewBox").split())
    assert width <= 16 * 290 / 9
    assert "…" in said(chain_picture(assignment, report))
