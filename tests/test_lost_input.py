"""What was listed and cannot be read is never a student's zero: the mark stays open."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from grading.runs.journal import FILE
from grading.sandbox import can_fork
from tests.test_attacks import give_away
from tests.test_remote import RIGHT
from tests.users import PROJECT, as_ordinary_user

MANY = "many-neurons"
CODE = "from harness.many_neurons import check\n" + "".join(RIGHT)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not can_fork(), reason="grading behind a wall needs Linux"),
]


@pytest.fixture
def course():
    """A folder that another user can look into, as pytest's own is closed to others."""
    with tempfile.TemporaryDirectory(prefix="lost-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def hand_in(course, count):
    (course / "in").mkdir()
    for number in range(count):
        student = course / "in" / f"s{number:02}"
        student.mkdir()
        (student / "work.py").write_text(f"{CODE}# {number}\n")


def backprop(course, *args, prefix=()):
    return subprocess.Popen(
        [*prefix, sys.executable, "-m", "grading.cli", *args],
        cwd=course,
        env=os.environ | {"PYTHONPATH": str(PROJECT), "HOME": str(course)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def grade(course, *more, folder="in", prefix=()):
    options = ["--assignment", MANY, "--out", "out", "--workers", "2", *more]
    return backprop(course, "grade", folder, *options, prefix=prefix)


def ended(process):
    out, errors = process.communicate(timeout=300)
    assert "Traceback" not in errors
    return process.returncode, out, errors


def lines(course):
    text = (course / "out" / "results.jsonl").read_text(encoding="utf-8")
    return {line["submission"]: line for line in map(json.loads, text.splitlines())}


def wait_for_first_mark(course):
    journal = course / "out" / FILE
    while not journal.exists() or not journal.read_bytes().count(b"\n"):
        time.sleep(0.005)


def moved(folder):
    folder.rename(folder.with_name("elsewhere"))
    return lambda: folder.with_name("elsewhere").rename(folder)


def replaced(folder):
    back = moved(folder)
    folder.mkdir()

    def put_back():
        folder.rmdir()
        back()

    return put_back


def unmounted(folder):
    subprocess.run(["umount", "--lazy", folder], check=True)
    kept = folder.with_name("kept")
    return lambda: subprocess.run(["mount", "--bind", kept, folder], check=True)


@pytest.mark.proof
@pytest.mark.parametrize("goes", [moved, replaced, unmounted])
def test_a_folder_that_goes_away_stops_the_run_which_goes_on_when_it_is_back(course, goes):
    hand_in(course, 8)
    folder = course / "in"
    if goes is unmounted:
        folder.rename(course / "kept")
        folder.mkdir()
        mount = ["mount", "--bind", course / "kept", folder]
        if os.geteuid() or subprocess.run(mount, check=False).returncode:
            pytest.skip("only root can mount, and not everywhere")
    try:
        running = grade(course)
        wait_for_first_mark(course)
        put_back = goes(folder)
        code, _, errors = ended(running)
        assert code == 2 and "Nothing was published" in errors
        assert not (course / "out" / "results.jsonl").exists()
        put_back()
        code, _, errors = ended(grade(course))
        assert code == 0, errors
        assert {each["score"] for each in lines(course).values()} == {10.0}
        assert len(lines(course)) == 8
    finally:
        if goes is unmounted:
            subprocess.run(["umount", "--lazy", folder], check=False)


@pytest.mark.proof
def test_a_folder_locked_while_it_is_graded_stops_the_run(course):
    hand_in(course, 8)
    give_away(course)
    for mode in (0o000, 0o444):
        running = grade(course, "--fresh", prefix=as_ordinary_user())
        wait_for_first_mark(course)
        (course / "in").chmod(mode)
        code, _, errors = ended(running)
        assert code == 2 and "Permission denied. Nothing was published" in errors
        assert not (course / "out" / "results.jsonl").exists()
        (course / "in").chmod(0o755)
        (course / "out" / FILE).unlink()


@pytest.fixture
def locked(course):
    """A class with one folder, and one file, that an ordinary user may not look into."""
    hand_in(course, 4)
    folder = course / "in"
    for name in ("attempt-1", "attempt-2"):
        (folder / "s02" / name).mkdir()
        (folder / "s02" / name / "work.py").write_text(CODE)
    (folder / "s02" / "work.py").unlink()
    give_away(course)
    for name, mode in (("s00", 0o000), ("s01/work.py", 0o000), ("s02", 0o444)):
        (folder / name).chmod(mode)
    yield course
    for name in ("s00", "s01/work.py", "s02"):
        (folder / name).chmod(0o755)


@pytest.mark.proof
def test_what_may_not_be_read_leaves_its_own_mark_open_and_no_other(locked):
    code, _, errors = ended(grade(locked, prefix=as_ordinary_user()))
    assert code == 1, errors
    found = lines(locked)
    assert [each["score"] for each in found.values()] == [None, None, None, 10.0]
    assert {each["status"] for each in list(found.values())[:3]} == {"grader_error"}
    assert all("Permission denied" in found[name]["staff"] for name in ("s00", "s01", "s02"))
    (locked / "in" / "s00").chmod(0o755)
    (locked / "in" / "s01" / "work.py").chmod(0o644)
    (locked / "in" / "s02").chmod(0o755)
    assert ended(grade(locked, "--preview", prefix=as_ordinary_user()))[0] == 3
    assert ended(grade(locked, prefix=as_ordinary_user()))[0] == 0
    assert {each["score"] for each in lines(locked).values()} == {10.0}


@pytest.mark.proof
def test_every_other_command_says_what_may_not_be_read(locked):
    user = as_ordinary_user()

    def said(*args):
        code, out, errors = ended(backprop(locked, *args, prefix=user))
        return code, out + errors

    (locked / "solutions").mkdir()
    assert ended(grade(locked, prefix=user))[0] == 1
    handout = str(PROJECT / "assignments" / MANY / f"{MANY}.ipynb")
    code, text = said("similar", "in", "--assignment", MANY, "--handout", handout)
    assert code == 0 and "s00" in text and "Permission denied" in text
    code, text = said("replay", "out", "s00", "--submissions", "in")
    assert code == 2 and "s00" in text
    for path in ("in/s00", "in/s00/work.py", "in/s01/work.py", "in/s02/attempt-1"):
        code, text = said("check", path, "--assignment", MANY)
        assert code == 2 and ("Permission denied" in text or "not readable" in text), path
    for command in (["report"], ["export", "junit"], ["export", "csv", "--for", "moodle"]):
        code, text = said(*command, "out")
        assert code == 0, text
    (locked / "out").chmod(0o000)
    for command in (["report"], ["export", "junit"], ["export", "nbgrader"]):
        code, text = said(*command, "out")
        assert code == 2 and "Permission denied" in text
    (locked / "out").chmod(0o755)
