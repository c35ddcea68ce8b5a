"""Text of students is readable wherever it is shown, and nothing in it hides or piles up."""

from __future__ import annotations

import csv
import html
import io
import json
import sys
import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_notebook
from rich.console import Console

from grading.exports.classroom import classroom_report
from grading.exports.gradescope import gradescope_results
from grading.exports.junit import junit
from grading.exports.marks import canvas, moodle
from grading.nbgrader.marks import Task, fill_outputs
from grading.pages import student_page
from grading.pages.staff import staff_page
from grading.runs.summary import Counts, print_summary
from grading.similarity.groups import Group, Shared, group_lines
from harness.course.assignments import load_assignment
from harness.course.report import Advice, Check, Flag, Report
from harness.course.settings import Settings
from harness.drawing.visible import MOST_MARKS, visible, visible_line
from harness.probes import plan
from harness.show import report_text
from harness.show.notebook import report_html
from tests.published import published, report_on, result_of, wrong_line

NAMES = (
    "müller", "Zoë Dvořák", "Nguyễn Thị Ánh Tuyết", "İpek Çağlar", "Ólafur Þór", "O’Brien",
    "श्रीमती लक्ष्मी", "क्\u200dषत्रिय", "தமிழ்ச்செல்வி", "ณัฐวุฒิ น้ำผึ้ง", "ខ្ញុំ", "မြို့ ကျွန်ုပ်",
    "མྱང་འདས་བསྒྲུབས", "علی\u200cرضا", "محمّد", "דָּוִד בְּרֵאשִׁ֖ית", "山田　太郎", "김민준",
    "👩\u200d💻", "👨\u200d👩\u200d👧", "🧑🏽\u200d🚀", "❤\ufe0f", "🏳\ufe0f\u200d🌈",
    "∂C/∂w = gᵀ @ a σ′(z) (a − y)²",
)  # fmt: skip
BLANK = "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0" + "".join(
    map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)))
)


def of(*categories):
    return [
        character
        for character in map(chr, range(sys.maxunicode + 1))
        if unicodedata.category(character) in categories
    ]


# Controls, format characters (zero-width, bidi, soft hyphen, tags), line and paragraph separators,
# blanks; and some of those of private use, without a meaning, and of halves of a pair.
HIDING = sorted(
    {*of("Cc", "Cf", "Zl", "Zp"), *BLANK, *of("Co")[::9999], *of("Cn")[::9999], *of("Cs")[::99]}
    - {"\n", "\t"}
)
MARKS = of("Mn", "Me")
TEXT = "".join(f"a{each}b" for each in HIDING if unicodedata.category(each) != "Cs")
TEXT += "zalgo" + "".join(each for each in MARKS if each not in BLANK)


def hides(text):
    """The first that hides, or piles up, in a text."""
    piled = 0
    for character in text:
        mark = unicodedata.category(character) in ("Mn", "Me")
        piled = piled + 1 if mark else 0
        if character in HIDING or piled > MOST_MARKS:
            return ascii(character)
    return None


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("name", NAMES)
def test_names_in_every_script_stay_as_they_are(name, form):
    written = unicodedata.normalize(form, name)
    assert visible(written) == visible_line(written) == written


def test_each_character_that_hides_is_written_out():
    for each in HIDING:
        if each != "\r":
            shown = visible(f"a{each}b")
            assert shown == f"a{each.encode('unicode_escape').decode()}b"


@given(st.lists(st.sampled_from([*HIDING, *MARKS, *"aا❤क्1"])).map("".join))
def test_no_text_hides_but_where_a_script_needs_it(text):
    shown = visible(text)
    joiners = "\u200c\u200d\ufe0e\ufe0f"
    assert hides(shown.translate(dict.fromkeys(map(ord, joiners)))) is None
    assert not any(two[0] in joiners and two[1] in joiners for two in pairwise(shown))
    assert shown.isascii() or not unicodedata.category(shown[0]).startswith("M")
    assert visible(shown) == shown


def result():
    return result_of(
        f"ann{TEXT}",
        wrong_line(message=TEXT),
        advice=[Advice("Sigmoid", TEXT)],
        flags=[Flag("finite-differences", "Sigmoid", TEXT)],
        reason=TEXT,
    )


def cells(text):
    return "".join("".join(row) for row in csv.reader(io.StringIO(text)))


def strings(data):
    return html.unescape(json.dumps(data, ensure_ascii=False).replace("\\n", "\n"))


def checked_notebook():
    mark = {
        "nbgrader": {"grade": True, "solution": False, "grade_id": "check-sigmoid", "points": 0}
    }
    return new_notebook(cells=[new_code_cell("check(Sigmoid)", metadata=mark)])


def in_the_terminal(_folder):
    check = Check("sigmoid/gradient/z", "Sigmoid", TEXT, "failed", 0.0, 1.0, message=TEXT)
    report = Report("many-neurons", (check,), (Advice(None, TEXT),), ())
    written = io.StringIO()
    console = Console(file=written, width=200)
    print_summary(console, [result()], _folder, Counts(1, 0, 0))
    shared = [Shared("comment", TEXT, 0)]
    groups = "\n".join(group_lines([Group([TEXT], 0.1, shared)], {TEXT: TEXT}))
    return report_text(report) + written.getvalue() + groups


def in_a_notebook(_folder):
    check = Check("sigmoid/gradient/z", "Sigmoid", TEXT, "failed", 0.0, 1.0, message=TEXT)
    report = Report("many-neurons", (check,), (Advice(None, TEXT),), ())
    return report_html(report, load_assignment("many-neurons"))


def in_pages(folder):
    published(folder, [result()])
    index = report_on(folder).read_text(encoding="utf-8")
    return index + student_page(result(), Settings()) + staff_page(result(), folder)


def in_tables(folder):
    published(folder, [result()])
    grades = (folder / "grades.csv").read_text(encoding="utf-8")
    return cells(grades) + cells(moodle([result()], "m")) + cells(canvas([result()], "m", None))


SHOWN = {
    "terminal": in_the_terminal,
    "notebook": in_a_notebook,
    "pages": in_pages,
    "tables": in_tables,
    "junit": lambda _: b"".join(junit([result()])).decode(),
    "gradescope": lambda _: strings(gradescope_results(result())),
    "classroom": lambda _: strings(classroom_report(result())),
}


@pytest.mark.slow
@pytest.mark.parametrize("place", SHOWN)
def test_nothing_hides_wherever_text_of_students_is_shown(place, tmp_path):
    assert hides(html.unescape(SHOWN[place](tmp_path)).replace("\r\n", "\n")) is None


def test_nothing_hides_in_what_nbgrader_is_given(tmp_path):
    assignment, settings = load_assignment("many-neurons"), Settings()
    task = Task(tmp_path, assignment, settings, plan(assignment, settings))
    notebook = checked_notebook()
    points = sum(check.max_points for check in task.planned if check.stage == "Sigmoid")
    notebook.cells[0].metadata.nbgrader.points = points
    fill_outputs(notebook, result(), task)
    (output,) = notebook.cells[0].outputs
    assert hides(html.unescape(output.data["text/html"])) is None
