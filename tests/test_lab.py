"""A person at a real JupyterLab, and a real browser's opinion of the pictures."""

import re
import shutil

import pytest

from harness.many_neurons import MANY_NEURONS
from harness.one_neuron import ONE_NEURON
from harness.show import chain_picture
from tests.test_show_written import LONG, wrong

pytest.importorskip("selenium")

from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.support.ui import WebDriverWait

from screenshots.browser import LAPTOP, PHONE, open_html, resize
from screenshots.lab import ROOT, lab, open_notebook
from screenshots.studio import solutions, with_wrong_sigmoid

SOLVED = solutions("many-neurons")

pytestmark = pytest.mark.slow
in_jupyterlab = pytest.mark.proof


@pytest.fixture(scope="module")
def notebook(chrome, tmp_path_factory):
    """The released notebook, open, its imports run."""
    folder = tmp_path_factory.mktemp("lab")
    shutil.copytree(ROOT / "assignments" / "many-neurons", folder / "many-neurons")
    with lab(folder) as address:
        opened = open_notebook(chrome, address, "many-neurons/many-neurons.ipynb")
        opened.run("imports")
        yield opened


def shown(notebook, cell):
    """The report below a cell, its words, and its pictures' titles."""
    report = notebook.output(cell).find_element("css selector", ".bph-report")
    pictures = report.find_elements("css selector", "svg")
    assert all(each.size["width"] > 100 and each.size["height"] > 50 for each in pictures)
    return report, report.text, [each.get_attribute("aria-label") for each in pictures]


@in_jupyterlab
def test_a_stub_opens_clear_and_is_told_what_to_write(notebook):
    assert "raise NotImplementedError" in notebook.source("sigmoid")
    notebook.run("sigmoid", "check-sigmoid")
    _, words, _ = shown(notebook, "check-sigmoid")
    assert words.startswith("0 of 2.2 points") and "is not written yet" in words


@in_jupyterlab
def test_a_wrong_backward_is_shown_on_one_screen_with_what_was_written(notebook):
    notebook.paste("sigmoid", with_wrong_sigmoid(SOLVED["sigmoid"]))
    notebook.run("sigmoid", "check-sigmoid")
    report, words, titles = shown(notebook, "check-sigmoid")
    stations = ("0 of 2.2 points", "∂C/∂z is wrong", "behaves like g ⊙ z ⊙ (1 − z)", "Next:")
    assert sorted(stations, key=words.index) == list(stations)
    assert titles == [
        "Many neurons a layer: the chain from the inputs to the cost, in which ∂a/∂z is wrong"
    ]
    assert report.size["height"] < LAPTOP[1]


def first_text(notebook, cell):
    """Return the first text of a cell's picture."""

    def drawn(_chrome):
        return notebook.output(cell).find_elements("css selector", "svg text")

    wait = WebDriverWait(notebook.chrome, 60, ignored_exceptions=[StaleElementReferenceException])
    return wait.until(drawn)[0]


@in_jupyterlab
def test_pictures_take_the_colour_of_a_dark_page(notebook):
    colours = []
    for dark in (True, False):
        notebook.theme(dark=dark)
        # JupyterLab lost what stood there once, on a busy machine: the picture is made again.
        notebook.run("check-sigmoid")
        text = first_text(notebook, "check-sigmoid")
        fill = text.value_of_css_property("fill")
        colours.append(sum(map(int, re.findall(r"\d+", fill)[:3])))
    assert colours[0] > 600 and colours[1] < 200


@in_jupyterlab
def test_right_backwards_pass_and_train_and_the_progress_leaves_nothing(notebook):
    for cell in ("squared-error", "sigmoid", "weighted-sum"):
        notebook.paste(cell, SOLVED[cell])
        notebook.run(cell, f"check-{cell}")
        _, words, _ = shown(notebook, f"check-{cell}")
        assert words.startswith("All "), words
    notebook.run("train")
    _, words, titles = shown(notebook, "train")
    assert words.startswith("All 5 checks passed: 2 of 2 points.")
    assert [title.split()[0] for title in titles] == ["The", "Images", "How"]
    live, result = notebook.outputs("train")
    assert live["data"] == {"text/plain": ""}
    assert result["output_type"] == "execute_result" and result["data"]["text/plain"] == "2.0"
    assert not notebook.element("train").find_elements("css selector", "progress")


# Every text, and every frame of what was written, where it is drawn, in pixels.
BOXES = """
return [...document.querySelectorAll('svg')].map(svg => ({
  room: box(svg),
  texts: [...svg.querySelectorAll('text')].map(box),
  tags: [...svg.querySelectorAll('rect[stroke^="#"]')].map(box),
  least: Math.min(...[...svg.querySelectorAll('text')].map(
    text => parseFloat(getComputedStyle(text).fontSize) * svg.getScreenCTM().a)),
}));
function box(each) {
  const {left, top, right, bottom} = each.getBoundingClientRect();
  return [left, top, right, bottom];
}
"""


def chains():
    """Chains with wrong edges: one each, all at once, and at length."""
    for assignment in (ONE_NEURON, MANY_NEURONS):
        for stage in assignment.stages:
            for mistake in stage.mistakes:
                yield chain_picture(assignment, wrong(assignment, **mistake.gradients))
        everything = {
            name: LONG.replace("z", name) for each in assignment.stages for name in each.inputs
        }
        yield chain_picture(assignment, wrong(assignment, **everything))


def inside(one, other, slack):
    return (
        one[0] >= other[0] - slack
        and one[1] >= other[1] - slack
        and one[2] <= other[2] + slack
        and one[3] <= other[3] + slack
    )


def apart(one, other):
    return one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]


# Pictures are laid out for Times; DejaVu Serif, which Chromium brings, is wider by up to this.
WIDER = 1.25


def as_in_times(text):
    left, top, right, bottom = text
    return [left, top, left + (right - left) / WIDER, bottom]


@pytest.mark.parametrize("size", [PHONE, LAPTOP], ids=["phone", "laptop"])
def test_nothing_in_a_chain_overlaps_or_runs_out_or_gets_too_small(chrome, size, tmp_path):
    pictures = [each.svg for each in chains()]
    assert len(pictures) > 100
    open_html(chrome, "".join(pictures), tmp_path)
    resize(chrome, size)
    for drawn, svg in zip(chrome.execute_script(BOXES), pictures, strict=True):
        assert drawn["least"] > 6  # subscripts, where every edge is wrong at length
        assert inside(drawn["room"], [0, 0, size[0], 1e9], 1)
        for text in drawn["texts"]:
            said = as_in_times(text)
            assert inside(said, drawn["room"], 1), svg
            for tag in drawn["tags"]:
                assert inside(said, tag, 1) or apart(said, tag), svg
        for at, tag in enumerate(drawn["tags"]):
            assert all(apart(tag, other) for other in drawn["tags"][at + 1 :]), svg
