"""What a shell, a locale or a disk refuses is said in a sentence, by every command alike."""

from __future__ import annotations

import errno
import json
import os
import shlex
import subprocess
import sys

import pytest

from grading.errors import sentence
from grading.results.lines import publish
from grading.sandbox import can_fork
from harness.course.settings import Settings
from tests.test_exports import CLASS
from tests.test_remote import RIGHT
from tests.test_resume import start, submit
from tests.users import PROJECT

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a shell of another kind")
PLAIN = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
NOT_UTF_8 = os.fsdecode(b"z\xe9")
RUN = {"schema": 1, "assignment": "many-neurons", "seed": 1, "settings": Settings().as_dict()}


@pytest.fixture
def results(tmp_path):
    """Results of four submissions in the folder out."""
    out = tmp_path / "out"
    out.mkdir()
    publish(out, CLASS, RUN | {"versions": {}})
    return out


def shell(folder, line, **environment):
    """What a line of the shell that says backprop ends with, and all that it prints."""
    command = shlex.join([sys.executable, "-m", "grading.cli"])
    done = subprocess.run(
        ["bash", "-c", line.replace("backprop", command)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(PROJECT)} | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    said = (done.stdout + done.stderr).decode("utf-8", "surrogateescape")
    assert "Traceback" not in said, said
    return done.returncode, said


@pytest.mark.slow
class TestCommands:
    @pytest.mark.parametrize(
        "line",
        [
            "backprop export junit out >&-",
            "backprop export junit out >&- 2>&-",
            "backprop override out alice --points 1 --reason x <&- >&- 2>&-",
            "backprop export junit out | head -1; exit ${PIPESTATUS[0]}",
            "unset HOME TMPDIR; backprop export csv out --for moodle",
        ],
    )
    def test_a_closed_stream_or_a_missing_variable_is_fine(self, results, line):
        assert shell(results.parent, line)[0] == 0

    def test_what_is_written_never_lands_in_the_place_of_a_closed_stream(self, results):
        line = "backprop override out alice --points 1 --reason x <&- >&- 2>&-"
        assert shell(results.parent, line)[0] == 0
        assert json.loads((results / "overrides.json").read_text())["schema"] == 1

    @pytest.mark.parametrize(
        ("line", "said"),
        [
            ("backprop export csv out --for moodle --column {}", "is not UTF-8 text"),
            ("backprop override out alice --points 1 --reason {}", "is not UTF-8 text"),
            ("backprop override out {} --points 1 --reason x", "has no submission called"),
            ("backprop check {}.py", "does not exist"),
            ("backprop report empty", "has no run.json"),
            ("backprop export junit empty", "has no results.jsonl"),
            ("backprop grade empty --assignment many-neurons --out o", "holds no submissions"),
            ("ulimit -f 0; backprop export gradescope many-neurons --out x", "too large"),
        ],
    )
    def test_what_cannot_be_used_is_refused_in_a_sentence(self, results, line, said):
        (results.parent / "empty").mkdir()
        (results.parent / "solutions").mkdir()
        for environment in ({}, PLAIN):
            code, text = shell(results.parent, line.format(NOT_UTF_8), **environment)
            assert code == 2 and said in text

    def test_a_name_that_is_not_utf_8_is_a_name(self, results):
        line = f"mv out {NOT_UTF_8}; backprop export junit {NOT_UTF_8} --out {NOT_UTF_8}.xml"
        assert shell(results.parent, line, **PLAIN)[0] == 0
        assert (results.parent / f"{NOT_UTF_8}.xml").is_file()

    @pytest.mark.skipif(not can_fork(), reason="only Linux has levels to name")
    def test_a_low_limit_is_named_where_it_may_be_why(self, tmp_path):
        code, said = shell(tmp_path, "ulimit -n 20; backprop doctor")
        assert code == 1 and "a limit of this shell may be why: ulimit -n 20" in said


@pytest.mark.slow
@pytest.mark.skipif(not can_fork(), reason="grading behind a wall needs Linux")
def test_a_run_needs_no_utf_8_anywhere(tmp_path, monkeypatch):
    for name, value in PLAIN.items():
        monkeypatch.setenv(name, value)
    submit(tmp_path / "in", **{os.fsdecode(b"zo\xeb"): "".join(RIGHT)})
    with start(tmp_path, "--out", NOT_UTF_8) as running:
        _, said = running.communicate(timeout=300)
    assert running.returncode == 0 and "Traceback" not in said, said
    assert (tmp_path / NOT_UTF_8 / "report" / "index.html").is_file()


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "The disk is full."),
        (errno.EMFILE, "Too many files are open."),
        (errno.ENOMEM, "There is too little memory."),
        (errno.ENOTCONN, ""),
    ],
)
def test_kinds_of_refusals_are_explained_and_others_are_not(number, said):
    assert sentence(OSError(number, os.strerror(number))).startswith(said)
    assert bool(sentence(OSError(number, os.strerror(number)))) == bool(said)
    named = OSError(number, os.strerror(number), "in/alice.py")
    assert sentence(named).startswith(f"in/alice.py cannot be used: {os.strerror(number)}.")
