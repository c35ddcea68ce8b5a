"""A grader that does not work marks nobody, and says so in a sentence."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from grading.parsing.choosing import source_of
from grading.sandbox import can_fork
from grading.submissions.reading import Entry, read_submission
from grading.workers import selftest
from grading.workers.grader import grade_submission
from grading.workers.jobs import GraderBroken
from tests.breakage import break_decoding
from tests.test_remote import RIGHT
from tests.users import PROJECT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not can_fork(), reason="untrusted work is graded on Linux"),
]


def grade(course, packages):
    """`backprop grade` with packages that come before those that are installed."""
    (course / "in").mkdir(exist_ok=True)
    for name in ("alice", "bob"):
        (course / "in" / f"{name}.py").write_text("".join(RIGHT))
    command = ["-m", "grading.cli", "grade", "in", "--assignment", "many-neurons", "--out", "out"]
    path = os.pathsep.join([str(packages), str(PROJECT)])
    return subprocess.run(
        [sys.executable, *command],
        cwd=course,
        env=os.environ | {"PYTHONPATH": path, "COLUMNS": "100"},
        capture_output=True,
        text=True,
        check=False,
    )


def is_refused(course, done):
    assert done.returncode == 2, done.stdout
    said = " ".join(done.stderr.split())
    assert "The grader does not work on this machine (a known submission, right.ipynb" in said
    assert "so nothing is marked" in said and "Traceback" not in said
    out = {path.name for path in (course / "out").iterdir()}
    assert not out & {"results.jsonl", "grades.csv", "run.json", "report"}
    assert not (course / "out" / "journal.jsonl").read_bytes()


@pytest.mark.proof
def test_a_package_that_decodes_wrong_marks_nobody(tmp_path):
    break_decoding(tmp_path / "broken")
    is_refused(tmp_path, grade(tmp_path, tmp_path / "broken"))
    done = grade(tmp_path, tmp_path / "elsewhere")
    assert done.returncode == 0 and "2 with full marks" in done.stdout, done.stderr


@pytest.mark.proof
def test_the_version_that_decodes_wrong_marks_nobody(tmp_path):
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--target", "old"]
    done = subprocess.run(
        [*command, "msgspec==0.19.0"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip("msgspec 0.19 is not to be had here")
    is_refused(tmp_path, grade(tmp_path, tmp_path / "old"))


def test_known_submissions_get_what_they_deserve(zygote):
    selftest.judge_known(zygote)


@pytest.mark.parametrize("all_are", ["right.ipynb", "wrong.ipynb"])
def test_a_grader_that_marks_everybody_alike_is_refused(zygote, monkeypatch, all_are):
    def alike(_submission, *args, **words):
        entry = Entry(all_are, (str(selftest.KNOWN / all_are),))
        found = read_submission(entry, selftest.ASSIGNMENT, source_of)
        return grade_submission(found, *args, **words)

    monkeypatch.setattr(selftest, "grade_submission", alike)
    monkeypatch.setattr(selftest, "TRIES", 1)
    with pytest.raises(GraderBroken, match="a known submission"):
        selftest.judge_known(zygote)
