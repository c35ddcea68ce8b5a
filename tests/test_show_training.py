"""What a training shows: progress that leaves nothing, samples, and what the cost feels."""

import io
import math
import re
import sys
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.candidate.workbench import Workbench
from harness.many_neurons import DIGITS, MANY_NEURONS, train
from harness.probes.training import first_wrong_step
from harness.show import Sample, heat_picture, report_text, samples_picture
from harness.show.live import progress, progress_html
from harness.show.trained import felt_picture, training_pictures
from harness.training import train_candidate
from harness.training.tumours import TUMOURS
from tests.right import MANY, ONE
from tests.test_show_chain import root, said

BLANK = (0.0,) * 4


@pytest.fixture(scope="module")
def trained():
    return train(*MANY.values())


def test_a_training_shows_costs_digits_and_sensitivities(trained):
    html = trained._repr_mimebundle_()["text/html"]
    titles = re.findall(r"<title>(.*?)</title>", html)
    assert titles == [
        "The cost at each step of the training",
        "Images that the network has never seen, with what it says they are",
        "How much the cost feels each parameter, at step 1",
    ]


def test_a_terminal_says_the_same_in_words(trained):
    words = re.sub(r"\s+", " ", repr(trained))
    assert f"Your network gets {trained.run.accuracy:.1%}".replace("%", " %") in words
    assert f"The cost fell from {trained.run.costs[0]:.3g} to {trained.run.costs[-1]:.3g}" in words
    assert "\x1b" not in words


def test_a_training_that_made_things_worse_says_so(trained):
    worse = replace(trained.run, costs=(1.0, 2.0))
    assert "The cost went from 1 to 2 in 2 steps." in report_text(trained.report, worse)


def test_the_digits_shown_are_read_as_the_network_reads_them(trained):
    run, (*_, labels) = trained.run, DIGITS.unseen()
    right = int((run.read == labels).sum())
    assert run.accuracy == right / len(labels)
    _, picture, _ = training_pictures(DIGITS, run, None)
    wrong = [at for at, (one, two) in enumerate(zip(run.read, labels, strict=True)) if one != two]
    assert f"{right} of {len(labels)} read right" in picture.description
    first = f"{int(run.read[wrong[0]])}, not {int(labels[wrong[0]])}"
    assert f"{len(wrong)} read wrong: {first}, " in picture.description


def test_an_answer_that_is_none_is_no_digit():
    assert DIGITS.read([None], 3).tolist() == [-1, -1, -1]
    assert DIGITS.read([torch.zeros(4, 10)], 3).tolist() == [-1, -1, -1]
    assert TUMOURS.read([None, torch.tensor(0.7), torch.zeros(2)], 3).tolist() == [-1, 1, -1]


def test_what_is_right_differs_from_what_is_wrong_without_colour():
    one = samples_picture([Sample(BLANK, 3, 3), Sample(BLANK, 3, 8)], (2, 2))
    frames = [
        each.get("stroke-dasharray") for each in root(one).iter() if each.tag.endswith("rect")
    ]
    assert len(set(frames)) == 2
    assert "3,not8" in said(one) and "1of2readright" in said(one)


def test_ink_is_drawn_where_it_is():
    inked = samples_picture([Sample((0.0, 1.0, 0.0, 0.0), 1, 1)], (2, 2))
    blank = samples_picture([Sample(BLANK, 1, 1)], (2, 2))
    ink = 'fill="currentColor" fill-opacity'
    assert inked.svg.count(ink) == 1 and blank.svg.count(ink) == 0


def test_the_sensitivities_at_step_1_are_the_gradient_of_the_first_batch():
    run = train_candidate(TUMOURS, Workbench(ONE))
    knobs = {name: value.requires_grad_() for name, value in TUMOURS.parameters().items()}
    values, labels = TUMOURS.batch(0)
    a = torch.sigmoid(knobs["w1"] * values + knobs["b1"])
    a = torch.sigmoid(knobs["w2"] * a + knobs["b2"])
    ((a - labels) ** 2).mean().backward()
    picture = felt_picture(TUMOURS, run)
    assert picture
    for name, knob in knobs.items():
        assert knob.grad is not None
        assert f"{name}: {float(knob.grad):+.3g}".replace("-", "−") in picture.description


def test_every_parameter_of_a_layer_has_its_mark():
    picture = heat_picture({"w": [[1.0, -2.0], [0.0, 4.0]], "b": [[-1.0]]})
    assert "w: 2 upright, 1 lying, up to 4" in picture.description
    assert "b: 0 upright, 1 lying, up to 1" in picture.description


def test_signs_differ_in_shape():
    up, down = (heat_picture({"w": [[value]]}) for value in (1.0, -1.0))
    marks = [re.findall(r"h([\d.]+)v([\d.]+)h", each.svg)[0] for each in (up, down)]
    (wide, high), (broad, flat) = (map(float, mark) for mark in marks)
    assert (wide, high) == (flat, broad) and high > 1.5 * wide  # the same ink


@pytest.mark.parametrize("matrices", [{}, {"w": []}, {"w": [[]]}, {"w": [[math.nan]]}])
def test_what_cannot_be_drawn_is_refused(matrices):
    with pytest.raises(ValueError, match=r"no values|not finite"):
        heat_picture(matrices)


rows = st.integers(1, 20).flatmap(
    lambda width: st.lists(
        st.lists(st.floats(-1e300, 1e300), min_size=width, max_size=width), min_size=1, max_size=20
    )
)


@given(st.dictionaries(st.sampled_from(["w1", "b1", "w2", "b2"]), rows, min_size=1))
def test_maps_stay_in_their_picture(matrices):
    svg = root(heat_picture(matrices))
    _, _, width, height = map(float, svg.get("viewBox").split())
    for path in svg.iter("{http://www.w3.org/2000/svg}path"):
        for x, y, right, down in re.findall(r"M([\d.]+) ([\d.]+)h([\d.]+)v([\d.]+)", path.get("d")):
            assert float(x) + float(right) <= width and float(y) + float(down) <= height


def test_progress_is_silent_where_nobody_looks(capsys):
    with progress() as tell:
        tell(1, 2)
    assert capsys.readouterr() == ("", "")


def test_progress_on_a_terminal_is_gone_at_the_end(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    with progress() as tell:
        tell(150, 300, 0.5)
    written = terminal.getvalue()
    assert "Training: step 150 of 300, cost 0.500" in written
    assert written.endswith("\x1b[2K") or written.rstrip("\n").endswith("\x1b[2K")


def test_progress_in_a_page_has_words_beside_its_bar():
    html = progress_html(3, 10, 0.25)
    assert 'max="10" value="3"' in html and "step 3 of 10, cost 0.250" in html


def test_watching_a_training_changes_nothing_about_it(trained):
    plain = train_candidate(DIGITS, Workbench(MANY))
    assert first_wrong_step(plain, trained.run) is None
    assert plain.costs == trained.run.costs
    assert trained.assignment is MANY_NEURONS
