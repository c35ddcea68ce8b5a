"""One set of settings: every way to a mark gives the same marks and words."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import zipfile
from html import unescape

import msgspec
import pytest
import yaml

from grading.sandbox import can_fork
from harness.course.report import Check
from harness.show.outline import needed
from tests.nbgrader_class import solved
from tests.own_course import backprop
from tests.users import PROJECT

CONFIG = """
from grading.nbgrader.plugin import configure
c = get_config()
configure(c)
c.CourseDirectory.source_directory = "mine"
c.CourseDirectory.release_directory = "handouts"
"""
SETTINGS = """# Ours
assignment = "{name}"  # ${{{{ github.token }}}}
feedback = "where"

[points]
"{check}" = 3.5
[policy]
delegates-to-autograd = "zero"
[limits]
call_seconds = 2.5
"""


def run(*arguments, cwd, **environment):
    """Run a program that must succeed; return what it says."""
    done = subprocess.run(
        list(map(str, arguments)),
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(params=["one-neuron", "rectifier"])
def course(request, tmp_path):
    """A course with names of its own, and a notebook in it that is handed in, partly wrong.

    The shipped assignment is in a folder of another name, ``hw3``.
    """
    name, course = request.param, tmp_path / "course"
    own = ("--assignment", name) if name == "rectifier" else ()
    backprop("new", "course", *own, cwd=tmp_path)
    (course / "nbgrader_config.py").write_text(CONFIG)
    folder = course / "mine" / (name if own else "hw3")
    shutil.copytree(course / "solutions" / name, folder)
    shutil.rmtree(course / "solutions")
    check = "relu/gradient/z" if own else "sigmoid/gradient/z"
    (folder / "assignment.toml").write_text(SETTINGS.format(name=name, check=check))
    run(sys.executable, "-m", "nbgrader", "generate_assignment", folder.name, cwd=course)
    source, released = (
        json.loads((course / step / folder.name / f"{name}.ipynb").read_text())
        for step in ("mine", "handouts")
    )
    text = json.dumps(solved(source, released))
    if own:
        text = text.replace("g * (z > 0)", "g.mul_(z > 0)")
    else:
        text = text.replace("g * a * (1 - a)", "torch.autograd.grad(a, z, g)[0]")
        text = text.replace("2 * (a - y)", "(a - y)")
    work = course / "submitted" / "alice" / folder.name
    work.mkdir(parents=True)
    (work / f"{name}.ipynb").write_text(text)
    return course, folder, name


def graded(course, name):
    """What `backprop grade` says: the mark, and each check's points and message."""
    arguments = ("--assignment", name, "--out", "marks", "--workers", 1)
    said = backprop("grade", "submitted", *arguments, cwd=course)
    assert "declared settings" not in said
    (line,) = map(json.loads, (course / "marks/results.jsonl").read_text().splitlines())
    return line


def on_gradescope(course, name, work):
    """The same, by what Gradescope shows."""
    backprop("export", "gradescope", name, "--out", "../gradescope.zip", cwd=course)
    base = course.parent / "gradescope"
    with zipfile.ZipFile(f"{base}.zip") as file:
        file.extractall(base / "source")
    shutil.copytree(work, base / "submission")
    path = base / "source" / "packages"
    command = (sys.executable, "-m", "grading.exports.autograder", name, base)
    run(*command, cwd=base, PYTHONPATH=str(path))
    found = json.loads((base / "results/results.json").read_text())
    return found["score"], [(test["score"], test["output"]) for test in found["tests"]]


def in_classroom(course, name, work):
    """The same, by what Classroom's reporter reads, in a student's repository."""
    backprop("export", "workflow", name, "--out", "../workflow.yml", cwd=course)
    workflow = yaml.safe_load((course.parent / "workflow.yml").read_text())
    (job,) = [step for step in workflow["jobs"]["grade"]["steps"] if step.get("id")]
    repository = shutil.copytree(work, course.parent / "repository")
    if name == "rectifier":
        declared = repository / ".github/course/solutions" / name
        declared.mkdir(parents=True)
        shutil.copy(course / "mine" / name / "assignment.py", declared)
    shim = repository / "bin" / "backprop"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m grading.cli "$@"\n')
    shim.chmod(0o755)
    path = {"PATH": f"{shim.parent}:{os.environ['PATH']}", "PYTHONPATH": str(PROJECT)}
    output = repository / "output"
    run("bash", "-e", "-c", job["run"], cwd=repository, GITHUB_OUTPUT=str(output), **path)
    report = json.loads(base64.b64decode(output.read_text().removeprefix("result=")))
    return [(test["score"], test["message"]) for test in report["tests"]]


def in_nbgrader(course, folder, name):
    """The marks and the words in the check cells that nbgrader's plugin fills."""
    run(sys.executable, "-m", "nbgrader", "autograde", folder.name, cwd=course)
    path = course / "autograded/alice" / folder.name / f"{name}.ipynb"
    cells = json.loads(path.read_text())["cells"]
    outputs = [out for cell in cells for out in cell.get("outputs", ())]
    marks = sum(float("".join(out["data"]["text/plain"])) for out in outputs)
    return marks, unescape("".join("".join(out["data"]["text/html"]) for out in outputs))


@pytest.mark.proof
@pytest.mark.skipif(not can_fork(), reason="grading strangers' code needs Linux")
def test_every_way_to_a_mark_gives_the_same_marks_and_words(course):
    course, folder, name = course
    line = graded(course, name)
    checks = line["checks"]
    known = msgspec.convert(checks, list[Check])
    told = [
        (
            each.points,
            f"waits for {needed(each.waits_for, known)}" if each.waits_for else each.message,
        )
        for each in known
    ]
    assert 0 < line["score"] < line["max_score"] and any(each["message"] for each in checks)
    assert 3.5 in {each["max_points"] for each in checks}
    work = course / "submitted/alice" / folder.name
    assert on_gradescope(course, name, work) == (line["score"], told)
    assert in_classroom(course, name, work) == told
    marks, words = in_nbgrader(course, folder, name)
    assert marks == pytest.approx(line["score"])
    assert all(each["message"] in words for each in checks)
    assert "behaves like" not in json.dumps(line) + words
    backprop("export", "nbgrader", "marks", cwd=course)
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as book:
        assert [each.name for each in book.assignments] == [folder.name]
        score = book.find_submission(folder.name, "alice").score
    assert score == pytest.approx(line["score"])
    backprop("release", name, cwd=course)
    assert (course / "handouts" / folder.name / f"{name}.ipynb").is_file()
