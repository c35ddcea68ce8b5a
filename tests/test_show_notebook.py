"""A report in a notebook: verdict, wrong edges and next step, and text that stays text."""

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass, replace
from html import unescape

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import Function

from harness.candidate.workbench import Workbench
from harness.course.report import Advice, Check, Diagnosis, Flag, Report
from harness.drawing.visible import visible
from harness.judging.judge import judge
from harness.many_neurons import MANY_NEURONS
from harness.one_neuron import ONE_NEURON
from harness.show import chain_picture, report_html

HOSTILE = (
    "<script>", "</div>", "</style>", "</svg>", "<img src=x onerror=y>", "]]>", "<!--", "&lt;",
    "&", '"', "'", "\x00", "\x1b[31m", "\u202e", "\ud800", "\uffff", "\n", "\r",
)  # fmt: skip
any_text = st.text(st.characters()) | st.lists(
    st.sampled_from(HOSTILE) | st.text(max_size=5), max_size=8
).map("".join)


@dataclass
class FakeRun:
    costs: tuple[float, ...]
    accuracy: float | None


class WeightedSum(Function):
    @staticmethod
    def forward(ctx, a_prev, w, b):
        ctx.save_for_backward(a_prev, w)
        return w * a_prev + b

    @staticmethod
    def backward(ctx, g):
        a_prev, w = ctx.saved_tensors
        return g * w, g * a_prev, g


class Sigmoid(Function):
    @staticmethod
    def forward(ctx, z):
        a = torch.sigmoid(z)
        ctx.save_for_backward(a)
        return a

    @staticmethod
    def backward(ctx, g):
        (a,) = ctx.saved_tensors
        return g * a * (1 - a)


class SquaredError(Function):
    @staticmethod
    def forward(ctx, a, y):
        ctx.save_for_backward(a, y)
        return (a - y) ** 2

    @staticmethod
    def backward(ctx, g):
        a, y = ctx.saved_tensors
        return g * 2 * (a - y), None


class WrongSigmoid(Sigmoid):
    @staticmethod
    def backward(ctx, g):
        (a,) = ctx.saved_tensors
        return g * (1 - a * a)


class StubSigmoid(Sigmoid):
    @staticmethod
    def backward(ctx, g):
        raise NotImplementedError


def judged(sigmoid):
    names = {"WeightedSum": WeightedSum, "Sigmoid": sigmoid, "SquaredError": SquaredError}
    return judge(ONE_NEURON, Workbench(names))


def failing(message, **more):
    check = Check("sigmoid/gradient/z", "Sigmoid", "title", "failed", 0, 1, message=message, **more)
    return Report("one-neuron", (check,), (Advice("Sigmoid", message),))


def html(report, *args):
    return report_html(report, ONE_NEURON, *args)


def body(fragment):
    """The words of a fragment that are seen, without its style and its pictures."""
    root = ET.fromstring(fragment)
    for parent in [*root.iter()]:
        for child in [*parent]:
            hidden = child.get("class") == "bph-line"
            if hidden or child.tag.rpartition("}")[2] in ("style", "svg"):
                parent.remove(child)
    return "".join(root.itertext())


def tags(fragment):
    return [(each.tag, sorted(each.attrib)) for each in ET.fromstring(fragment).iter()]


def styles(fragment):
    return "".join(each.text or "" for each in ET.fromstring(fragment).iter("style"))


def test_a_wrong_gradient_is_told_from_the_verdict_to_the_next_step():
    words = body(html(judged(WrongSigmoid).report))
    stations = (
        "6 of 10 points: 19 of 29 checks passed.",
        "Sigmoid.backward: ∂C/∂z is wrong.",
        "9 checks not made yet",
        "19 checks passed",
        "Next: get ∂C/∂z of Sigmoid right.",
    )
    places = [words.index(station) for station in stations]
    assert places == sorted(places)
    assert places[0] == 0


def test_the_chain_shows_the_wrong_edge_and_no_answer():
    fragment = html(judged(WrongSigmoid).report)
    assert "∂a/∂z: wrong." in fragment and "∂z/∂w: right." in fragment
    assert "a · (1 − a)" not in body(fragment) and "g * a" not in fragment


def test_what_was_written_is_set_as_mathematics():
    fragment = html(judged(WrongSigmoid).report)
    formula = "<i>g</i> · (1 − <i>a</i><sup>2</sup>)"
    assert f'behaves like <span class="bph-formula">{formula}</span>.' in fragment
    assert "behaves like g · (1 − a2)." in body(fragment)


def test_a_stub_says_what_is_not_written_yet():
    fragment = html(judged(StubSigmoid).report)
    assert "is not written yet" in body(fragment)
    assert "∂a/∂z: an error." in fragment


def test_full_marks_show_the_training():
    done = judged(Sigmoid)
    fragment = html(done.report, done.run, replace(done.run, accuracy=0.5))
    right = f"{done.run.accuracy:.1%}".replace("%", " %")
    assert body(fragment).startswith("All 29 checks passed: 10 of 10 points.")
    assert f"Your network gets {right} of the unseen samples right; trained with" in body(fragment)
    assert "it gets 50.0 %." in body(fragment)
    assert fragment.count("<svg") == 3
    assert "How much the cost feels each parameter, at step 1" in fragment
    assert "not made yet" not in fragment


def test_a_training_that_stopped_says_after_how_many_steps():
    words = body(html(failing("m"), FakeRun((1.0, float("nan")), None)))
    assert "The training stopped after 2 steps." in words


def test_without_a_judged_edge_there_is_no_chain():
    check = Check("training", None, "t", "not_run", 0, 1, waits_for="sigmoid/gradient/z")
    fragment = html(Report("one-neuron", (check,)))
    assert "<svg" not in fragment
    assert "Training waits for ∂C/∂z of Sigmoid" in body(fragment)


def test_an_assignment_without_a_network_is_reported_as_a_list_of_its_stages():
    fragment = report_html(failing("m"), replace(ONE_NEURON, network=None))
    assert "∂C/∂z of Sigmoid: wrong." in fragment and "WeightedSum returns" not in fragment


@pytest.mark.parametrize(("points", "share"), [(0.0, "0.0%"), (2.5, "62.5%"), (4.0, "100.0%")])
def test_the_bar_is_as_long_as_the_score(points, share):
    check = Check("x", None, "t", "failed", points, 4.0)
    assert f'style="width: {share}"' in html(Report("one-neuron", (check,)))


def test_without_points_there_is_no_bar():
    fragment = html(Report("one-neuron", (Check("x", None, "t", "passed", 0, 0),)))
    assert 'style="width' not in fragment


def test_what_is_for_staff_stays_with_staff():
    diagnosis = Diagnosis("grad_z", "SECRET", "SECRET", "SECRET", "SECRET")
    report = failing("m", staff="SECRET", case={"SECRET": 4711}, diagnosis=diagnosis)
    fragment = html(replace(report, flags=(Flag("SECRET", None, "SECRET"),)))
    assert "SECRET" not in fragment and "4711" not in fragment


@given(any_text)
def test_messages_are_text_whatever_they_hold(message):
    fragment = html(failing(message))
    assert tags(fragment) == tags(html(failing("plain")))
    if message:
        assert visible(message) in body(fragment)


@given(any_text)
def test_names_and_titles_are_text_too(text):
    def named(text):
        check = Check(f"{text}/gradient/{text}", text or "S", text, "failed", 0, 1)
        waiting = Check(f"{text}/x", text or "S", text, "not_run", 0, 1, waits_for=text)
        return tags(html(Report("one-neuron", (check, waiting), (Advice(text, text),))))

    plain = named(re.sub(r"[^/]", "x", text) or "x")
    assert {tag for tag, _ in named(text)} <= {tag for tag, _ in plain}


def test_the_fragment_stands_by_itself():
    done = judged(WrongSigmoid)
    fragment = html(done.report)
    assert not re.search(r"<script|<link|@import|url\(|https?://(?!www\.w3\.org)", fragment)
    assert not re.search(r" (?:id|on\w+)=", fragment)
    assert fragment.count("<style>") == 1


def test_styles_reach_nothing_outside_the_fragment():
    style = styles(html(failing("m")))
    selectors = re.findall(r"([^{}]+)\{", style)
    parts = [part.strip() for selector in selectors for part in selector.split(",")]
    assert parts
    assert all(part.startswith(".bph-report") for part in parts)


def test_the_page_keeps_its_own_font_and_colours():
    style = styles(html(failing("m")))
    assert ".bph-report { font: inherit; color: inherit;" in style
    assert "background" not in style


def test_a_typical_failure_is_small():
    # What a student has to read at once, apart from what is folded.
    fragment = re.sub(r"<details>.*?</details>", "", html(judged(WrongSigmoid).report))
    assert len(body(fragment)) < 480


def remaining(html):
    """What is left where styles, drawings and every tag are taken away, as GitHub does."""
    unstyled = re.sub(r"<style>.*?</style>", "", html, flags=re.DOTALL)
    # A sanitizer keeps the breaks between blocks.
    apart = re.sub(r"</(p|div|li)>", " ", unstyled)
    return " ".join(unescape(re.sub(r"<[^>]+>", "", apart)).split())


def test_where_drawings_and_styles_are_taken_away_the_chain_stands_on_a_line_first():
    wrong = Check("sigmoid/gradient/z", "Sigmoid", "t", "failed", 0.0, 1.0)
    html = report_html(Report("many-neurons", (wrong,)), MANY_NEURONS)
    assert remaining(html).startswith(
        "0 of 1 points: 0 of 1 checks passed. a_prev → z → a → C. ∂a/∂z: wrong."
    )
    alone = remaining(chain_picture(MANY_NEURONS)._repr_mimebundle_()["text/html"])
    assert alone.startswith("a_prev → z → a → C. ")


@pytest.mark.parametrize("derivatives", [False, True])
def test_the_labels_of_a_drawing_that_is_taken_away_do_not_run_together(derivatives):
    picture = chain_picture(MANY_NEURONS, derivatives=derivatives)
    drawn = ET.fromstring(picture.svg).iter("{http://www.w3.org/2000/svg}text")
    texts = ["".join(each.itertext()) for each in drawn]
    words = remaining(picture.svg)
    assert words.endswith(" ".join(" ".join(texts).split()))
