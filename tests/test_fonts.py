"""Pictures are whole in a browser whatever fonts there are: nothing overlaps or is cut off."""

from __future__ import annotations

import json
import os
import re
import subprocess
from html import unescape
from pathlib import Path

import matplotlib
import pytest

from harness.candidate.workbench import Workbench
from harness.course.report import Check, Diagnosis, Report
from harness.expressions.notation import BEHAVES, as_written, plain
from harness.judging.judge import judge
from harness.many_neurons import MANY_NEURONS
from harness.one_neuron import ONE_NEURON
from harness.show import chain_picture
from harness.show.notebook import report_html
from tests.right import MANY, ONE
from tests.users import needs

pytestmark = pytest.mark.proof

MEASURE = Path(__file__).with_name("measure_pictures.js").read_text(encoding="utf-8")
FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
# Wide ones, and narrow ones: nothing else is there for the browser.
ONLY = {"wide": "DejaVu*", "narrow": "STIX*"}


def pictures():
    """Yield a picture of the chain for every known mistake, and those of training."""
    for assignment in (ONE_NEURON, MANY_NEURONS):
        yield chain_picture(assignment).svg
        yield chain_picture(assignment, derivatives=True).svg
        for stage in assignment.stages:
            for mistake in stage.mistakes:
                found = [
                    failed(stage, name, formula, mistake.name)
                    for name, formula in mistake.gradients.items()
                    if formula != "None"
                ]
                yield chain_picture(assignment, Report(assignment.name, tuple(found))).svg
    for assignment, names in ((ONE_NEURON, ONE), (MANY_NEURONS, MANY)):
        judged = judge(assignment, Workbench(names))
        yield report_html(judged.report, assignment, judged.run, judged.reference)


def failed(stage, name, formula, mistake):
    """Return the check of a gradient that the formula stands for."""
    message = f"Your ∂C/∂{name} {BEHAVES.format(plain(as_written(stage, formula)))}"
    known = Diagnosis(f"grad_{name}", mistake, formula, "", "")
    id = f"{stage.slug}/gradient/{name}"
    return Check(id, stage.name, "", "failed", 0, 1, message=message, diagnosis=known)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    body = "".join(f"<div style='width: 480px'>{svg}</div>" for svg in pictures())
    path = tmp_path_factory.mktemp("pictures") / "page.html"
    text = f"<meta charset=utf-8><body>{body}<pre id=found></pre><script>{MEASURE}</script>"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("fonts", ONLY)
def test_no_text_overlaps_another_or_leaves_its_box(page, tmp_path, fonts):
    needs("chromium")
    settings = tmp_path / "fonts.conf"
    settings.write_text(
        f"<fontconfig><dir>{FONTS}</dir><cachedir>{tmp_path}</cachedir><selectfont><rejectfont>"
        f"<glob>*</glob></rejectfont><acceptfont><glob>{FONTS}/{ONLY[fonts]}</glob></acceptfont>"
        "</selectfont></fontconfig>"
    )
    done = subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", page.as_uri()],
        env=os.environ | {"FONTCONFIG_FILE": str(settings), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    (found,) = re.findall(r"<pre id=\"found\">(.+?)</pre>", done.stdout, re.DOTALL)
    measured = json.loads(unescape(found))
    assert measured["texts"] > 5_000
    assert measured["wrong"][:20] == []
