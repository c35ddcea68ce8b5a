"""What a run prints at its end, in terminals of every width."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest
from rich.console import Console

from grading.results.lines import Result, Seconds, Status, publish
from grading.runs.summary import Counts, print_summary
from harness.course.report import Check, Diagnosis


def check(id, stage, outcome="passed", message=""):
    return Check(id, stage, "", outcome, 0.0, 1.0, None, message, "", None, None)


WRONG = [
    check("weighted-sum/gradient/a_prev", "WeightedSum", "failed", "WeightedSum: " + "words " * 20),
    check("sigmoid/gradient/z", "Sigmoid"),
    check("squared-error/gradient/a", "SquaredError"),
    check("chain/whole", None, "not_run"),
    check("training", None, "not_run"),
]


def result(name, score: float | None = 6.7, checks=(), reason=None):
    status: Status = "graded" if checks else "unreadable"
    if score is None:
        status = "grader_error"
    return Result(
        submission=name,
        assignment="many-neurons",
        status=status,
        reason=reason,
        score=score,
        max_score=10.0,
        checks=list(checks),
        digest="",
        seconds=Seconds(0.0, 0.0),
    )


def printed(results, width, out, counts=None):
    console = Console(file=io.StringIO(), width=width)
    print_summary(console, results, out, counts or Counts(len(results), 0, 0))
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


CLASS = [
    result("a-name-that-goes-on-and-on-for-forty-two-letters", checks=WRONG),
    result("bob", 0.0, reason="The file is not UTF-8 text: save it with the encoding UTF-8."),
]


def test_a_narrow_terminal_names_the_check_and_a_wide_one_quotes_it(tmp_path):
    head, first, second = printed(CLASS, 80, tmp_path)[:3]
    assert head.startswith("submission") and head.endswith("first problem to fix")
    assert first.startswith("a-name-that") and first.endswith("weighted-sum/gradient/a_prev")
    assert second.endswith("…")
    wide = printed(CLASS, 180, tmp_path)
    assert "WeightedSum  Sigmoid" in wide[0] and "WeightedSum: words words" in wide[1]


@pytest.mark.parametrize("width", [20, 40, 60, 80, 81, 100, 140, 200])
def test_no_row_is_wider_than_the_terminal_or_cut_without_a_sign(tmp_path, width):
    rows = printed(CLASS, width, tmp_path)[:3]
    if width >= 60:
        assert len(rows) == 3 and all("6.7 / 10" in row for row in rows[1:2])
        assert rows[2].startswith("bob") and "0 / 10" in rows[2]
    assert all(len(row) <= width for row in rows)
    for row in rows[1:]:
        assert width < 80 or row.endswith(("…", "a_prev", "UTF-8."))


def test_a_large_class_shows_its_lowest_marks(tmp_path):
    many = [result(f"s{number:03}", number / 20, WRONG) for number in range(150)]
    lines = printed(many, 100, tmp_path)
    assert lines[0] == "The 100 lowest of 150 marks:"
    assert [line.split()[0] for line in lines[2:102]] == [f"s{number:03}" for number in range(100)]
    assert "150 submissions: 0 with full marks, median 3.725." in lines


def diagnosed(mistake, formula, gradient="z"):
    wrong = check(f"sigmoid/gradient/{gradient}", "Sigmoid", "failed")
    found = Diagnosis(f"grad_{gradient}", mistake, formula, expected="SECRET", hint="")
    return replace(wrong, diagnosis=found)


def test_the_commonest_mistakes_are_told_with_their_formulas(tmp_path):
    many = [diagnosed("z-for-a", "g * z * (1 - z)")], [diagnosed("passed-through", "g")]
    made = [*[many[0]] * 3, *[many[1]] * 2, [diagnosed("rare", "g * a")], [WRONG[1]]]
    results = [result(f"s{number}", checks=checks) for number, checks in enumerate(made)]
    lines = printed(results, 100, tmp_path)
    at = lines.index("Most common mistakes:")
    assert lines[at + 1 : at + 3] == [
        "  3 of 7  Sigmoid ∂C/∂z  behaves like g * z * (1 - z)  (z-for-a)",
        "  2 of 7  Sigmoid ∂C/∂z  behaves like g  (passed-through)",
    ]
    assert "rare" not in " ".join(lines) and "SECRET" not in " ".join(lines)


def test_a_class_without_a_common_mistake_hears_of_none(tmp_path):
    assert "Most common mistakes:" not in printed([result("s", checks=WRONG)], 100, tmp_path)


def test_a_table_of_marks_names_the_mistakes(tmp_path):
    wrong = diagnosed("z-for-a", "g * z * (1 - z)"), diagnosed("sign", "-g", "q")
    publish(tmp_path, [result("s", checks=wrong), result("t", checks=WRONG[1:2])], {})
    with (tmp_path / "grades.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["mistakes"] == "sigmoid/gradient/z:z-for-a sigmoid/gradient/q:sign"
    assert rows[1]["mistakes"] == ""


def test_open_marks_and_what_is_left_are_told(tmp_path):
    lines = printed([*CLASS, result("eve", None)], 100, tmp_path, Counts(1, 2, 4))
    text = " ".join(lines)
    assert "1 graded, 2 unchanged since" in text
    assert "4 submissions not graded yet." in text
    assert "The grader itself failed on 1 submission: eve." in text
