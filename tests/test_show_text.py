"""A report as text: what a student reads first, in full, and without harm."""

import subprocess
import sys
import unicodedata
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from harness.course.report import Advice, Check, Diagnosis, Flag, Report
from harness.drawing.visible import visible
from harness.show import report_text

HOSTILE = (
    "\x1b[31m", "\x9b2J", "\x07", "\r", "\x00", "\u202e", "\u200b", "\u2028", "\ud800", "\ufffe",
    "[bold]", "[/]", "[link=x]", ":smile:", "\t", "\n", "\r\n",
)  # fmt: skip
any_text = st.text(st.characters()) | st.lists(
    st.sampled_from(HOSTILE) | st.text(max_size=5), max_size=8
).map("".join)


def check(id, outcome="passed", stage="Sigmoid", **more):
    points = 1.0 if outcome == "passed" else 0.0
    return Check(id, stage, f"the title of {id}", outcome, points, 1.0, **more)


def report(*checks, **more):
    return Report("many-neurons", checks, **more)


def wrong_sigmoid(message="Sigmoid.backward: ∂C/∂z is wrong."):
    return report(
        check("weighted-sum/gradient/w", stage="WeightedSum"),
        check("sigmoid/forward", "not_run", waits_for="sigmoid/gradient/z"),
        check("sigmoid/gradient/z", "failed", message=message),
        check("sigmoid/precision", "not_run", waits_for="sigmoid/gradient/z"),
        check("sigmoid/stability", "not_run", waits_for="sigmoid/gradient/z"),
        check("chain/sigmoid", "not_run", None, waits_for="sigmoid/gradient/z"),
        check("chain/whole", "not_run", None, waits_for="sigmoid/gradient/z"),
        check("training", "not_run", None, waits_for="chain/whole"),
    )


def lines(*args, **more):
    return report_text(*args, **more).split("\n")


def squeezed(text):
    return "".join(text.split())


def test_first_line_is_the_verdict():
    assert lines(wrong_sigmoid())[0] == "1 of 8 points: 1 of 8 checks passed."


def test_full_marks_are_said_in_the_first_line_and_in_the_last():
    everything = report(check("sigmoid/gradient/z"), check("training", stage=None))
    assert lines(everything)[0] == "All 2 checks passed: 2 of 2 points."
    assert lines(everything)[-1] == "→ Everything holds. Well done."


def test_points_are_left_out_where_there_are_none():
    unpaid = replace(check("sigmoid/gradient/z"), points=0.0, max_points=0.0)
    assert lines(report(unpaid))[0] == "The check passed."


def test_a_report_without_checks_can_be_shown():
    assert lines(report())[0] == "0 of 0 checks passed."


def test_a_stage_that_passes_takes_one_line():
    text = report_text(report(check("sigmoid/forward"), check("sigmoid/gradient/z")))
    assert "Sigmoid\n  ✓ forward, ∂C/∂z\n" in text


def test_waiting_checks_are_folded_into_one_line():
    text = report_text(wrong_sigmoid())
    assert "– waits for ∂C/∂z: forward, precision, extreme values\n" in text
    assert "– waits for ∂C/∂z of Sigmoid: Sigmoid, whole chain\n" in text


def test_what_waits_for_a_waiting_check_names_the_check_to_mend():
    assert "Training\n  – waits for ∂C/∂z of Sigmoid\n" in report_text(wrong_sigmoid())


def test_checks_that_wait_for_each_other_end():
    circle = report(
        check("sigmoid/a", "not_run", waits_for="sigmoid/b"),
        check("sigmoid/b", "not_run", waits_for="sigmoid/a"),
    )
    assert "waits for" in report_text(circle)


def test_the_same_message_is_said_once_for_all_its_gradients():
    text = report_text(
        report(
            check("sigmoid/gradient/a", "error", message="not written yet"),
            check("sigmoid/gradient/b", "error", message="not written yet"),
            check("sigmoid/gradient/c", "failed", message="wrong"),
        )
    )
    assert text.count("not written yet") == 1
    assert "  ! ∂C/∂a, ∂C/∂b\n" in text
    assert "  ✗ ∂C/∂c\n" in text


def test_without_a_message_the_title_says_what_does_not_hold():
    text = report_text(report(check("sigmoid/purity", "failed")))
    assert "Does not hold: the title of sigmoid/purity" in text


@pytest.mark.parametrize(
    ("checks", "step"),
    [
        ([check("sigmoid/gradient/z", "failed")], "get ∂C/∂z of Sigmoid right"),
        ([check("sigmoid/forward", "failed")], "get the forward of Sigmoid right"),
        ([check("sigmoid/purity", "failed")], "fix “the title of sigmoid/purity” in Sigmoid"),
        ([check("chain/whole", "failed", None)], "find what goes wrong in the chain"),
        ([check("training", "error", None)], "find what goes wrong in “training”"),
        (
            [check("chain/whole", "not_run", None, waits_for="weighted-sum/gradient/w")],
            "get ∂C/∂w of WeightedSum right; check(WeightedSum) says more",
        ),
    ],
)
def test_last_line_names_the_first_check_to_mend(checks, step):
    assert squeezed(f"→ Next: {step}.") in squeezed(report_text(report(*checks)))


def test_a_stage_that_holds_leads_on_to_the_others():
    assert "Next: the other stages" in lines(report(check("sigmoid/gradient/z")))[-1]


def test_advice_is_told_with_its_stage():
    text = report_text(report(check("x"), advice=(Advice("Sigmoid", "shorter"), Advice(None, "b"))))
    assert "· Sigmoid: shorter\n  · b\n" in text


def test_what_is_for_staff_stays_with_staff():
    diagnosis = Diagnosis("grad_z", "SECRET", "SECRET", "SECRET", "SECRET")
    hidden = check("x", "failed", staff="SECRET", case={"SECRET": 4711}, diagnosis=diagnosis)
    text = report_text(report(hidden, flags=(Flag("SECRET", None, "SECRET"),)))
    assert "SECRET" not in text
    assert "4711" not in text


@given(any_text)
def test_messages_are_shown_in_full(message):
    assert squeezed(visible(message)) in squeezed(report_text(wrong_sigmoid(message)))


@given(any_text, st.booleans())
def test_nothing_in_a_message_acts_on_the_terminal(message, colour):
    shown = report(check("x", "failed", message=message), advice=(Advice(None, message),))
    text = report_text(shown, colour=colour)
    if colour:
        # What rich writes itself is of this kind only.
        text = "".join(part.partition("m")[2] for part in f"m{text}".split("\x1b["))
    acting = [c for c in text if unicodedata.category(c)[0] == "C" and c != "\n"]
    assert not acting


@given(st.text(), st.integers(20, 120))
def test_lines_keep_to_the_width(message, width):
    assert all(cell_len(line) <= width for line in lines(wrong_sigmoid(message), width=width))


def test_colour_changes_no_word(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "30")
    coloured = report_text(wrong_sigmoid(), colour=True)
    assert "\x1b[1;31m  ✗" in coloured
    stripped = "".join(part.partition("m")[2] for part in f"m{coloured}".split("\x1b["))
    assert squeezed(stripped) == squeezed(report_text(wrong_sigmoid()))


def test_looking_at_reports_needs_neither_torch_nor_rich_to_import():
    code = "import sys, harness.show; print({'torch', 'rich', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_question_that_several_gradients_raise_is_asked_once():
    checks = [
        check(
            f"weighted-sum/gradient/{name}",
            "failed",
            "WeightedSum",
            message=f"∂C/∂{name} is wrong. Which way is up?",
            diagnosis=Diagnosis(f"grad_{name}", "sign", f"-{name}", name, "Which way is up?"),
        )
        for name in "wb"
    ]
    text = report_text(report(*checks))
    assert text.count("Which way is up?") == 1
    assert "∂C/∂b is wrong. The same question as for ∂C/∂w." in text


def test_an_error_is_told_once_whatever_lies_between():
    checks = [
        check(f"sigmoid/{id}", "error", message=f"{said}.")
        for id, said in [("purity", "One"), ("memory", "Another"), ("layout", "One")]
    ]
    assert report_text(report(*checks)).count("One.") == 1
