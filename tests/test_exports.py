"""What other systems read, held against written-down descriptions of their formats."""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import re
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ET
import zipfile
from pathlib import Path

import jsonschema
import msgspec
import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from grading.cli import main
from grading.exports.classroom import classroom_report, encoded_report, workflow
from grading.exports.feedback import feedback_name, upload_of
from grading.exports.gradescope import gradescope_results
from grading.exports.junit import junit
from grading.exports.marks import CANVAS, POINTS_POSSIBLE, canvas, moodle
from grading.results.lines import Result, Seconds, Status, publish
from harness.course.report import Check
from harness.course.settings import Settings
from harness.errors import UserError

FORMATS = Path(__file__).parent / "formats"
MANY = "many-neurons"
RUN = {
    "schema": 1,
    "assignment": "many-neurons",
    "seed": 1,
    "settings": Settings().as_dict(),
    "versions": {},
}


def check(outcome="passed", message="", id="sigmoid/gradient/z", stage="Sigmoid"):
    points = 1.5 if outcome == "passed" else 0.0
    waits = "sigmoid/gradient/z" if outcome == "not_run" else None
    title = "backward returns ∂C/∂z"
    return Check(id, stage, title, outcome, points, 1.5, waits, message, "STAFF")


def result(name="alice", *checks, status: Status = "graded", reason=None):
    total = sum(each.points for each in checks)
    return Result(
        submission=name,
        assignment="many-neurons",
        status=status,
        reason=reason,
        staff="STAFF",
        score=None if status == "grader_error" else total,
        max_score=10.0,
        checks=list(checks),
        digest="",
        seconds=Seconds(0.25, 0.2),
    )


def test_what_a_check_waits_for_is_called_as_its_class_is_written():
    relu = check("failed", id="relu/gradient/z", stage="ReLU")
    waits = Check("training", None, "training", "not_run", 0.0, 1.0, "relu/gradient/z")
    told = result("alice", relu, waits)
    said = "waits for ∂C/∂z of ReLU"
    assert said in b"".join(junit([told])).decode()
    assert gradescope_results(told)["tests"][1]["output"] == said
    assert classroom_report(told)["tests"][1]["message"] == said


CLASS = [
    result("alice", check(), check("failed", "It is <wrong>.\nLook & see.")),
    result("bob", check("error", "It died."), check("not_run")),
    result("eve", status="unreadable", reason="The file is empty."),
    result("mallory", status="grader_error", reason="The grader failed."),
]

names = st.text(min_size=1)
results = st.builds(
    result,
    names,
    st.builds(check, st.sampled_from(["passed", "failed", "error", "not_run"]), st.text()),
)


def suites_of(data):
    root = ET.fromstring(data)
    assert root.tag == "testsuites"
    for suite in root:
        assert suite.tag == "testsuite"
        cases = suite.findall("testcase")
        assert suite.get("tests") == str(len(cases))
        for kind, count in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
            assert suite.get(count) == str(len(suite.findall(f"testcase/{kind}")))
        for case in cases:
            assert case.get("name") and case.get("classname")
            assert len(case) <= 1
        assert re.fullmatch(r"\d+\.\d+", suite.get("time", ""))
    return list(root)


def test_a_suite_is_a_submission_and_a_case_a_check():
    alice, bob, eve, mallory = suites_of(b"".join(junit(CLASS)))
    assert alice.get("name") == "alice"
    assert (alice.get("tests"), alice.get("failures")) == ("2", "1")
    told = alice.find("testcase/failure")
    assert told is not None and told.text == "It is <wrong>.\nLook & see."
    assert told.get("message") == "It is <wrong>."
    assert (bob.get("errors"), bob.get("skipped")) == ("1", "1")
    assert (eve.get("failures"), mallory.get("errors")) == ("1", "1")


@given(st.lists(results, max_size=4))
def test_whatever_students_wrote_the_xml_can_be_read(found):
    assert len(suites_of(b"".join(junit(found)))) == len(found)


def test_nothing_for_staff_is_exported():
    everything = [
        b"".join(junit(CLASS)).decode(),
        moodle(CLASS, "m"),
        canvas(CLASS, "m", None),
        *(json.dumps(classroom_report(each)) for each in CLASS),
    ]
    assert not any("STAFF" in text for text in everything)


SCHEMA = json.loads((FORMATS / "classroom.json").read_text())


@pytest.mark.parametrize("each", CLASS, ids=lambda each: each.submission)
def test_the_reporter_gets_what_it_reads(each):
    report = json.loads(base64.b64decode(encoded_report(each)))
    jsonschema.validate(report, SCHEMA)
    expected = {"alice": "fail", "bob": "fail", "eve": "fail", "mallory": "error"}
    assert report["status"] == expected[each.submission]
    assert sum(test["score"] for test in report["tests"]) == (each.score or 0)


def test_full_marks_pass():
    assert classroom_report(result("a", check()))["status"] == "pass"


@given(results)
def test_every_report_fits_its_schema(found):
    jsonschema.validate(classroom_report(found), SCHEMA)


def test_the_workflow_hands_the_reporter_what_the_step_wrote():
    made = yaml.safe_load(workflow("many-neurons", "*.ipynb", ["'backprop-harness[grading]'"]))
    steps = made["jobs"]["grade"]["steps"]
    (graded,) = [step for step in steps if step.get("id")]
    report = steps[-1]
    assert report["with"]["runners"] == graded["id"]
    variable = f"{graded['id'].upper()}_RESULTS"
    assert report["env"] == {variable: f"${{{{ steps.{graded['id']}.outputs.result }}}}"}
    assert "backprop grade handed-in --assignment many-neurons" in graded["run"]


SETTINGS = """# Ours
assignment = "many-neurons"  # ${{ secrets.TOKEN }}
packages = [
    'scipy',
]

[points]
"sigmoid/gradient/z" = 3
"""


@pytest.mark.parametrize(
    ("code", "wrote"), [(0, "result=report\n"), (1, "result=report\n"), (2, "")]
)
def test_the_workflow_writes_its_settings_and_reports_open_marks_too(tmp_path, code, wrote):
    made = yaml.safe_load(workflow("many-neurons", "*.py", [], SETTINGS))
    (graded,) = [step for step in made["jobs"]["grade"]["steps"] if step.get("id")]
    (tmp_path / "mine.py").write_text("")
    backprop = f"backprop() {{ [ $1 = export ] && echo report || return {code}; }}"
    done = subprocess.run(
        ["bash", "-e", "-c", f"{backprop}\n{graded['run']}"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "GITHUB_OUTPUT": "output"},
        check=False,
    )
    output = tmp_path / "output"
    assert (output.read_text() if output.exists() else "") == wrote
    assert (done.returncode == 0) == bool(wrote)
    assert (tmp_path / "handed-in/submission/mine.py").is_file()
    written = tmp_path / ".github/course/solutions/many-neurons/assignment.toml"
    assert "${{" not in made["jobs"]["grade"]["steps"][3]["run"]
    assert tomllib.loads(written.read_text()) == tomllib.loads(SETTINGS)


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["gradescope", MANY], ["workflow", MANY], ["nbgrader", "."]])
def test_outside_of_a_course_nothing_is_made_for_another_system(tmp_path, arguments, monkeypatch):
    monkeypatch.chdir(tmp_path)
    publish(tmp_path, CLASS, RUN)
    before = sorted(tmp_path.iterdir())
    done = CliRunner().invoke(main, ["export", *arguments])
    assert done.exit_code == 2 and done.stdout == ""
    assert done.stderr == (
        "Error: There is no course here or above: run this in the course's folder, which holds "
        "solutions/. `backprop new DIR` makes one.\n"
    )
    assert sorted(tmp_path.iterdir()) == before


def rows(text):
    return list(csv.reader(io.StringIO(text)))


def test_moodle_gets_names_marks_and_feedback_and_no_open_mark():
    head, *body = rows(moodle(CLASS, "Many neurons"))
    assert head == ["username", "Many neurons", "Many neurons (feedback)"]
    assert [row[:2] for row in body] == [["alice", "1.5"], ["bob", "0"], ["eve", "0"]]
    assert (
        body[0][2] == "It is &lt;wrong&gt;.<br>Look &amp; see."
        and body[2][2] == "The file is empty."
    )


def test_canvas_gets_its_own_columns_and_the_points_possible():
    head, possible, *body = rows(canvas(CLASS, "Many neurons (17)", None))
    assert head == [*CANVAS, "Many neurons (17)"]
    assert possible == [POINTS_POSSIBLE, "", "", "", "", "10"]
    assert body[0] == ["alice", "", "", "alice", "", "1.5"]
    assert body[3] == ["mallory", "", "", "mallory", "", ""]


GRADEBOOK = """Student,ID,SIS User ID,SIS Login ID,Section,Many Neurons (31),Old (3),Final Score
    Points Possible,,,,,10,5,(read only)
"Liddell, Alice",11,s1,alice,A,4,,1
"Builder, Bob",12,bob,bob@x,A,,,1
"Online, Eve",eve,s3,evey,B,,,1
"Test, Student",,,,,,,
"Absent, Ada",14,s4,ada,B,2,,1
"""


class TestGradebook:
    @pytest.fixture
    def path(self, tmp_path):
        (tmp_path / "grades.csv").write_text("\ufeff" + GRADEBOOK, encoding="utf-8")
        return tmp_path / "grades.csv"

    @pytest.mark.parametrize("column", [None, "Many Neurons", "many neurons (31)"])
    def test_students_and_their_column_stay_with_the_marks_that_are_new(self, path, column):
        found = [*CLASS[:3], result("ada", status="grader_error")]
        head, possible, *body = rows(canvas(found, column, path))
        assert head == [*CANVAS, "Many Neurons (31)"] and possible[-1] == "10"
        assert body == [
            ["Liddell, Alice", "11", "s1", "alice", "A", "1.5"],
            ["Builder, Bob", "12", "bob", "bob@x", "A", "0"],
            ["Online, Eve", "eve", "s3", "evey", "B", "0"],
            ["Absent, Ada", "14", "s4", "ada", "B", "2"],
        ]

    def test_a_group_has_its_mark_in_each_members_row(self, path):
        team = msgspec.structs.replace(CLASS[0], submission="team", students=["alice", "bob@x"])
        _, _, *body = rows(canvas([team], None, path))
        assert [row[-1] for row in body] == ["1.5", "1.5", "", "2"]

    @pytest.mark.parametrize(
        ("found", "column", "said"),
        [
            (CLASS, None, "has no student for 1 of the submissions, such as 'mallory'"),
            (CLASS[:1], "HW 2", "Canvas would make a new assignment of it"),
            (CLASS[:1], "Old", r"Old \(3\) has 5 points possible and these marks have 10"),
            ([CLASS[0], result("s1")], None, "alice and s1 are both alice's: keep one"),
        ],
    )
    def test_what_canvas_would_take_otherwise_is_refused(self, path, found, column, said):
        with pytest.raises(UserError, match=said):
            canvas(found, column, path)

    def test_a_gradebook_in_another_language_is_read_and_who_is_excused_stays_so(self, path):
        text = GRADEBOOK.replace(",10,5,", ',"10,00",5,').replace("A,4,", "A,EX,")
        path.write_text(f"{text}\n", encoding="utf-8")
        _, _, *body = rows(canvas(CLASS[:3], None, path))
        assert [row[-1] for row in body] == ["EX", "0", "0", "2"]

    def test_a_number_that_two_people_have_is_nobodys(self, path):
        path.write_text(GRADEBOOK.replace(",s1,", ",12,"))
        with pytest.raises(
            UserError, match="has no student for 1 of the submissions, such as '12'"
        ):
            canvas([result("12", check())], None, path)

    @pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "Name,ID\nx,1\n"])
    def test_a_table_that_is_none_is_refused(self, path, text):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(UserError, match="give the gradebook as Canvas exports it"):
            canvas(CLASS, "M", path)


WORKSHEET = """Identifier,Full name,Email address,Status,Grade,Maximum grade,Time,Feedback comments
Participant 77,Alice L,alice,Submitted,,10.00,-,
Participant 78,Bob B,b@x,Submitted,3.00,10.00,"Monday, 2 March 2026, 10:00 AM",
Participant 79,Mal L,mallory,Submitted,,10.00,-,
"""


class TestWorksheet:
    @pytest.fixture
    def path(self, tmp_path):
        (tmp_path / "sheet.csv").write_text(WORKSHEET)
        return tmp_path / "sheet.csv"

    def test_it_is_filled_in_by_name_or_number_and_all_else_stays(self, path):
        bob = msgspec.structs.replace(CLASS[1], submission="78")
        made = rows(moodle([CLASS[0], bob, CLASS[3]], None, path))
        expected = rows(path.read_text())
        expected[1][4], expected[1][-1] = "1.5", "It is &lt;wrong&gt;.<br>Look &amp; see."
        expected[2][4], expected[2][-1] = "0", "It died."
        assert made == expected

    def test_what_students_wrote_ends_no_cell_where_php_reads_it(self, path):
        wrong = check("failed", 'It raises ValueError: \\", "9", "10\\')
        made = moodle([result("alice", wrong)], None, path)
        assert not re.search(r'\\"', made) and len(rows(made)[1]) == 8

    @pytest.mark.parametrize(
        ("change", "column", "said"),
        [
            (
                ("10.00", "100.00"),
                None,
                "line 2: the maximum grade is 100.00 and these marks",
            ),
            (
                ("Grade,", "Note,"),
                None,
                "no column 'Grade' for the marks: name it with --column",
            ),
            (("Identifier,", ""), None, "give the grading worksheet that Moodle offers"),
            (("alice", "ada"), None, "has no student for 1 of the submissions"),
        ],
    )
    def test_what_moodle_would_take_otherwise_is_refused(self, path, change, column, said):
        path.write_text(path.read_text().replace(*change))
        with pytest.raises(UserError, match=said):
            moodle(CLASS[:1], column, path)

    def test_the_maximum_stands_beside_the_marks_in_all_languages(self, path):
        text = path.read_text().replace("Maximum grade", "Bestwertung").replace("10.00", '"100,00"')
        path.write_text(text)
        with pytest.raises(UserError, match="line 2: the maximum grade is 100,00"):
            moodle(CLASS[:1], None, path)


def test_a_page_for_a_group_goes_to_no_participant_with_its_number():
    files = {"a.py": "Red_77_assignsubmission_file/a.py"}
    team = msgspec.structs.replace(CLASS[0], files=files, students=["alice", "bob"])
    assert [upload_of([team], each) for each in ("Moodle", "Canvas")] == ["", "Canvas"]
    assert feedback_name(team, upload_of([team], "Moodle")) == "alice.html"


def test_a_name_that_begins_like_a_formula_does_not_compute():
    assert rows(moodle([result("=1+1", check())], "m"))[1][0] == "'=1+1"
    assert rows(canvas([result("=1+1", check())], "m", None))[2][0] == "'=1+1"


def backprop(*arguments):
    command = [sys.executable, "-m", "grading.cli", "export", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_commands_print_or_write(tmp_path):
    publish(tmp_path, CLASS[:1], {})
    printed = backprop("junit", tmp_path)
    assert printed.returncode == 0 and printed.stdout.startswith("<?xml")
    out = tmp_path / "marks.csv"
    assert backprop("csv", tmp_path, "--for", "moodle", "--out", out).returncode == 0
    assert out.read_bytes().startswith(b"username,many-neurons,")
    encoded = backprop("classroom", tmp_path).stdout
    assert json.loads(base64.b64decode(encoded))["version"] == 3
    made = backprop("workflow", "one-neuron").stdout
    assert "--assignment one-neuron" in made and "'backprop-harness[grading]==" in made


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (None, "has no results.jsonl"),
        (b"", "is empty"),
        (b"{}\n", "Line 1 of"),
        (b"!", "Line 1 of"),
    ],
)
def test_what_cannot_be_read_is_said_in_a_sentence(tmp_path, lines, said):
    if lines is not None:
        (tmp_path / "results.jsonl").write_bytes(lines)
    done = backprop("junit", tmp_path)
    assert done.returncode == 2
    assert said in done.stderr and "Traceback" not in done.stderr


def test_the_reporter_takes_one_submission_only(tmp_path):
    publish(tmp_path, CLASS[:2], {})
    done = backprop("classroom", tmp_path)
    assert done.returncode == 2 and "holds 2 submissions" in done.stderr


@pytest.mark.slow
def test_feedback_is_a_page_a_student_with_their_words_and_nobody_elses(tmp_path):
    publish(
        tmp_path,
        CLASS,
        {"schema": 1, "assignment": "many-neurons", "seed": 0, "settings": {}, "versions": {}},
    )
    out = tmp_path / "feedback.zip"
    done = backprop("feedback", tmp_path, "--out", out)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(out) as file:
        pages = {name: file.read(name).decode() for name in file.namelist()}
    assert list(pages) == ["alice.html", "bob.html", "eve.html", "mallory.html"]
    assert "It is &lt;wrong&gt;." in pages["alice.html"]
    assert "The file is empty." in pages["eve.html"] and "0 of 10" in pages["eve.html"]
    assert "open" in pages["mallory.html"]
    for name, page in pages.items():
        others = {"alice", "bob", "eve", "mallory"} - {name.removesuffix(".html")}
        assert "STAFF" not in page and not any(f">{other}<" in page for other in others)
