"""The instructor's guide, its commands run one after the other as they stand there."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import jsonschema
import pytest

from grading.sandbox import can_fork

pytestmark = [
    pytest.mark.proof,
    pytest.mark.skipif(not can_fork(), reason="grading strangers' code needs Linux"),
]

COURSE = Path(__file__).parents[1]
GUIDE = COURSE / "docs" / "instructors.md"
FORMATS = Path(__file__).parent / "formats"
SAMPLES = COURSE / "tests" / "sample_class" / "many-neurons" / "submissions"
MANY = "many-neurons"
# What is installed, and where a server is, differs.
ELSEWHERE = ("postgresql+",)
# Bob has two files: his mark is open until one is named.
OPEN = "backprop grade submissions.zip --assignment many-neurons --roster roster.csv --out marks"


def commands():
    """Yield each section's title with its commands. nbgrader's have a test of their own."""
    text = "## Start\n" + GUIDE.read_text(encoding="utf-8").replace("\\\n", "")
    for title, body in re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL):
        lines = re.findall(r"^    ((?:backprop|cd) .*)$", body, re.MULTILINE)
        if title != "nbgrader":
            yield title, [line for line in lines if not any(word in line for word in ELSEWHERE)]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """The folder in which all commands of the guide have run, from an empty one.

    It holds ``course``, and ``moodle``, a course that gets its submissions from there.
    """
    home = tmp_path_factory.mktemp("home")
    shim = home / "bin" / "backprop"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m grading.cli "$@"\n')
    shim.chmod(0o755)
    path = f"{shim.parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(COURSE)}
    for title, lines in commands():
        where = home if title == "Start" else home / ("moodle" if title == "Moodle" else "course")
        for line in lines:
            if line.startswith("cd "):
                where /= line.removeprefix("cd ")
                shutil.copytree(where, home / "moodle")
                from_canvas(where)
                from_moodle(home / "moodle")
                continue
            done = subprocess.run(
                ["bash", "-c", line],
                cwd=where,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            said = f"{line}: {done.stdout}{done.stderr}"
            assert done.returncode == (line == OPEN) and "declared settings" not in said, said
    return home


@pytest.fixture
def course(home):
    return home / "course"


def download(path, files):
    """A platform's zip, of samples by their names in it."""
    with zipfile.ZipFile(path, "w") as file:
        for name, sample in files.items():
            file.write(SAMPLES / sample, name)


def from_canvas(course):
    """What a class hands in, and its gradebook."""
    download(
        course / "submissions.zip",
        {
            "liddellalice_11_111_many-neurons.ipynb": "wrong-z-for-a.ipynb",
            "builderbob_12_112_first-try.py": "right-plain.py",
            "builderbob_12_113_second-try.ipynb": "wrong-unsummed-bias.ipynb",
            "dancercarol_LATE_13_114_many-neurons.py": "right-plain.py",
        },
    )
    for name in ("roster.csv", "gradebook.csv"):
        (course / name).write_text(
            "Student,ID,SIS User ID,SIS Login ID,Section,Many neurons (1234)\n"
            "    Points Possible,,,,,10\n"
            '"Liddell, Alice",11,s1,alice,A,\n"Builder, Bob",12,s2,bob,A,\n'
            '"Dancer, Carol",13,s3,carol,A,\n"Last, Zoe",14,s4,zoe,A,5\n'
        )


def from_moodle(course):
    """The same, where it has no number for Bob."""
    download(
        course / "submissions.zip",
        {
            "Alice Liddell_511_assignsubmission_file/many-neurons.ipynb": "wrong-z-for-a.ipynb",
            "Carol Dancer_513_assignsubmission_file/many-neurons.py": "right-plain.py",
        },
    )
    (course / "worksheet.csv").write_text(
        "\ufeffIdentifier,Full name,Email address,Status,Grade,Maximum Grade,Feedback comments\n"
        "Participant 511,Alice Liddell,a@b.edu,Submitted,,10.00,\n"
        "Participant 513,Carol Dancer,c@b.edu,Submitted,,10.00,\n"
    )


def schema(name):
    return json.loads((FORMATS / f"{name}.json").read_text(encoding="utf-8"))


def lines_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_the_guide_is_not_empty():
    lines = [line for _, lines in commands() for line in lines]
    kinds = {" ".join(line.split()[1:3]) for line in lines}
    assert OPEN in lines and "new course" in kinds
    assert {"export csv", "export gradescope", "export nbgrader", "override marks"} <= kinds


def test_what_is_written_fits_the_schemas_that_are_written_down(course):
    for line in lines_of(course / "marks" / "results.jsonl"):
        jsonschema.validate(line, schema("results"))
    for name in ("run", "overrides"):
        data = json.loads((course / "marks" / f"{name}.json").read_text(encoding="utf-8"))
        jsonschema.validate(data, schema(name))
    for line in lines_of(course / "shared.jsonl"):
        jsonschema.validate(line, schema("pseudonymous"))


def test_a_week_has_its_outcome(course):
    with (course / "marks" / "grades.csv").open(encoding="utf-8") as file:
        rows = {row["submission"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["alice", "bob", "carol", "zoe"]
    assert rows["carol"]["score"] == "10" and rows["zoe"]["status"] == "missing"
    assert rows["bob"]["score"] == "6.7" and rows["bob"]["override"] == ""
    assert rows["alice"]["override"].endswith("a typing mistake")
    lines = {line["submission"]: line for line in lines_of(course / "marks" / "results.jsonl")}
    assert lines["alice"]["override"]["score"] == lines["alice"]["score"] + 1


def test_what_goes_back_is_what_the_platforms_take(home):
    names = {}
    for name in ("course", "moodle"):
        with zipfile.ZipFile(home / name / "feedback.zip") as file:
            names[name] = file.namelist()
    assert "liddellalice_11_111_many-neurons.html" in names["course"]
    assert "Carol Dancer_513_assignsubmission_file/feedback.html" in names["moodle"]
    with (home / "course" / "import.csv").open(encoding="utf-8") as file:
        marks = {row["SIS Login ID"]: row["Many neurons (1234)"] for row in csv.DictReader(file)}
    assert marks == {"": "10", "alice": "7", "bob": "6.7", "carol": "10", "zoe": "5"}
    with (home / "moodle" / "filled.csv").open(encoding="utf-8-sig") as file:
        grades = {row["Identifier"]: row["Grade"] for row in csv.DictReader(file)}
    assert grades == {"Participant 511": "6", "Participant 513": "10"}


def test_the_gradebook_has_the_marks_that_count(course):
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as book:
        scores = {
            submission.student.id: submission.score
            for submission in book.find_assignment(MANY).submissions
        }
        assert "zoe" in {student.id for student in book.students}
    lines = lines_of(course / "marks" / "results.jsonl")
    marks = {line["submission"]: line.get("override", line)["score"] for line in lines}
    assert scores == pytest.approx(marks)
