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
# nbgrader's own commands have a test of their own.
NBGRADER = re.compile(r"^## nbgrader$.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)


def commands():
    text = NBGRADER.sub("", GUIDE.read_text(encoding="utf-8"))
    lines = re.findall(r"^    ((?:backprop|cd) .*)$", text, re.MULTILINE)
    return [line for line in lines if not any(word in line for word in ELSEWHERE)]


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A course's folder in which all commands of the guide have run, from an empty one."""
    where = tmp_path_factory.mktemp("home")
    shim = where / "bin" / "backprop"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m grading.cli "$@"\n')
    shim.chmod(0o755)
    path = f"{shim.parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(COURSE)}
    for line in commands():
        if line.startswith("cd "):
            where /= line.removeprefix("cd ")
            hand_in(where)
            continue
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=where,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        said = done.stdout + done.stderr
        assert done.returncode == 0 and "declared settings" not in said, f"{line}: {said}"
    return where


def hand_in(course):
    """What a class hands in, and the lists of it."""
    handed_in = course / "handed-in"
    for name, sample in (
        ("alice.py", "wrong-z-for-a.ipynb"),
        ("bob/attempt-1/work.py", "right-plain.py"),
        ("bob/attempt-2/work.py", "wrong-lost-factor-two.py"),
        ("carol.py", "right-plain.py"),
    ):
        path = (handed_in / name).with_suffix(Path(sample).suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(SAMPLES / sample, path)
    (course / "class.csv").write_text("student\nalice\nbob\ncarol\nzoe\n")
    (course / "gradebook.csv").write_text(
        "Student,ID,SIS User ID,SIS Login ID,Section\n"
        "Alice,1,s1,alice,A\nBob,2,s2,bob,A\nCarol,3,s3,carol,A\nZoe,4,s4,zoe,A\n"
    )


def schema(name):
    return json.loads((FORMATS / f"{name}.json").read_text(encoding="utf-8"))


def lines_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_the_guide_is_not_empty():
    kinds = {" ".join(line.split()[1:3]) for line in commands()}
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
    assert rows["bob"]["attempt"] == "attempt-2" and rows["bob"]["override"] == ""
    assert rows["alice"]["override"].endswith("a typing mistake")
    lines = {line["submission"]: line for line in lines_of(course / "marks" / "results.jsonl")}
    assert lines["alice"]["override"]["score"] == lines["alice"]["score"] + 1
    assert [each["score"] for each in lines["bob"]["attempts"]] == [10.0, lines["bob"]["score"]]
    with zipfile.ZipFile(course / "feedback.zip") as file:
        assert file.namelist() == ["alice.html", "bob.html", "carol.html"]


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
