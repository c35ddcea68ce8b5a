"""What a chain of numbers shows with its values, and what predictions and attempts print."""

from __future__ import annotations

from typing import Any

import pytest

from harness.many_neurons import draw_chain as draw_layers
from harness.one_neuron import draw_chain, draw_two_neurons
from harness.show import attempt, predicted

GIVEN: dict[str, Any] = {"a_prev": 0.8, "w": 1.5, "b": -1.2, "y": 1}
TWO: dict[str, Any] = {"a0": 0.8, "w1": 1.5, "b1": -1.2, "w2": 2.0, "b2": -0.5, "y": 1}


def test_values_and_gradients_follow_from_what_is_given():
    said = draw_chain(**GIVEN).description
    for each in ("z = 0;", "a = 0.5;", "C = 0.25;", "∂a = −1;", "∂z = −0.25;", "∂w = −0.2;"):
        assert each in said
    assert "∂C₀/∂a_prev = −0.375" in said and "∂y" not in said
    slope = 0.8 * 0.25 * 2.0 * 0.2350037 * 2 * (0.6224593 - 1)  # all five factors
    assert f"∂C₀/∂w1 = {slope:.3g}".replace("-", "−") in draw_two_neurons(**TWO).description


def test_the_way_back_is_drawn_edge_by_edge():
    felt = [draw_chain(**GIVEN, back=back).description.count("∂C₀/∂") for back in range(6)]
    assert felt == [1, 2, 3, 4, 5, 6]
    drawn = draw_chain(**GIVEN, back=1).svg
    assert "= −1</tspan>" in drawn and "= 0.25</tspan>" not in drawn


def test_values_that_are_missing_or_do_not_fit_are_refused():
    with pytest.raises(TypeError, match="a number for each of a_prev, y, w, b"):
        draw_chain(w=1.0)
    with pytest.raises(ValueError, match="single numbers only"):
        draw_layers(**GIVEN)


@pytest.mark.parametrize(
    ("guess", "within", "said"),
    [
        (None, 0.02, "Put your number"),
        (-0.2, 0.02, "Right"),
        (-0.203, 0.02, "Right"),
        (0.2, 0.02, "sign"),
        (0, 0.02, "sign"),
        (-2, 0.02, "too large"),
        (-0.1, 0.02, "too small"),
        (-1, None, "Right"),
        (1, None, "sign"),
        (float("nan"), 0.02, "not a number"),
        ("-0.2", 0.02, "not a number"),
    ],
)
def test_a_prediction_is_judged_without_the_answer(guess, within, said, capsys):
    predicted(guess, -0.2, within=within)
    printed = capsys.readouterr().out
    assert said in printed and "0.2" not in printed


def test_an_attempt_says_in_a_line_what_stopped_it(capsys):
    def unwritten():
        raise NotImplementedError

    assert attempt(lambda: 3) == 3
    assert attempt(unwritten) is None and attempt(lambda: 1 / 0) is None
    first, second = capsys.readouterr().out.splitlines()
    assert "still to be written" in first
    assert second == "Your code raised ZeroDivisionError: division by zero; its check says more."
