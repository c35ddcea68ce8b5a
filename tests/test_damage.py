"""Damage to what a run has written is told, and costs no more than what is damaged."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from grading.pages.folder import _remove_unfinished
from grading.results.versions import versions
from grading.runs import output, run
from grading.runs.journal import FILE, Journal
from grading.runs.run import Options, grade_folder, preview_folder
from tests.test_resume import FakeGrader, in_place, submit
from tests.users import PROJECT

MANY = "many-neurons"
OUT = Path("out")


@pytest.fixture(autouse=True)
def grader(tmp_path, monkeypatch):
    """Three graded submissions, published in the folder out."""
    monkeypatch.chdir(tmp_path)
    submit(tmp_path / "in", alice="1", bob="22", carol="333")
    fake = in_place(monkeypatch, FakeGrader())
    # The pages, which take seconds, are not what this is about.
    monkeypatch.setattr(run, "_report", lambda _out, _workers: (None, ""))
    assert grade()
    fake.graded.clear()
    return fake


def grade(**wish):
    return grade_folder(Path("in"), MANY, OUT, Options(**wish))


def preview(capsys):
    """What a preview prints, and the names that would be new, moved or the same."""
    capsys.readouterr()
    preview_folder(Path("in"), MANY, OUT, Options())
    found = capsys.readouterr()
    return " ".join((found.err + found.out).split())


def cut(path):
    path.write_bytes(path.read_bytes()[:-40])


def spoil(path):
    path.write_bytes(b"\xff\x00{" + path.read_bytes()[3:])


class TestPreview:
    def test_damaged_lines_count_as_new_and_the_others_are_compared(self, capsys):
        for harm in (cut, spoil):
            grade()
            harm(OUT / "results.jsonl")
            said = preview(capsys)
            assert "1 of 3 lines of out/results.jsonl could not be read" in said
            assert "1 new: " in said and "2 stay" in said

    def test_missing_lines_are_told(self, capsys):
        (OUT / "results.jsonl").unlink()
        said = preview(capsys)
        assert "out/results.jsonl is missing or empty: all marks count as new." in said
        assert "3 new: alice, bob, carol" in said

    @pytest.mark.parametrize("harm", [cut, spoil, Path.unlink, lambda path: path.write_text("[]")])
    def test_a_damaged_run_json_leaves_the_marks_comparable(self, capsys, harm):
        harm(OUT / "run.json")
        said = preview(capsys)
        assert "Changes to the grading are unknown." in said and "3 stay" in said

    def test_before_anything_is_published_there_is_nothing_to_tell(self, capsys, tmp_path):
        for path in OUT.iterdir():
            if path.is_file():
                path.unlink()
        said = preview(capsys)
        assert "3 new: alice, bob, carol 0 marks would change" in said and "out/" not in said


class TestJournal:
    def test_lines_that_cannot_be_read_are_told_and_graded_again(self, grader, capsys):
        lines = (OUT / FILE).read_bytes().splitlines(keepends=True)
        (OUT / FILE).write_bytes(lines[0] + lines[1][:50] + b"\n" + lines[2][:-9])
        grade()
        said = " ".join(capsys.readouterr().err.split())
        assert "out/journal.jsonl: 2 lines could not be read; these submissions" in said
        assert "graded again" in said and len(grader.graded) == 2
        grade()
        assert "graded again" not in capsys.readouterr().err

    @pytest.mark.parametrize("kept", [0, 1])
    def test_lines_that_are_gone_are_told(self, grader, capsys, kept):
        lines = (OUT / FILE).read_bytes().splitlines(keepends=True)
        (OUT / FILE).write_bytes(b"".join(lines[:kept]))
        said = preview(capsys)
        assert f"the lines of {3 - kept} published results are missing" in said
        assert len(grader.graded) == 3 - kept

    def test_a_journal_of_another_version_is_told(self, grader, capsys, monkeypatch):
        other = versions() | {"backprop-harness": "0.0.7"}
        with monkeypatch.context() as patch:
            patch.setattr(run, "versions", lambda: other)
            patch.setattr(output, "versions", lambda: other)
            grade()
        grader.graded.clear()
        said = preview(capsys)
        assert "journal.jsonl: 3 lines written by backprop-harness 0.0.7, python" in said
        assert len(grader.graded) == 3

    def test_lines_in_the_form_of_another_version_are_told(self, capsys):
        with (OUT / FILE).open("ab") as file:
            file.write(b'{"by":"backprop-harness 9.0","shape":"unknown"}\n')
        said = preview(capsys)
        assert "journal.jsonl: 1 line written by backprop-harness 9.0" in said

    def test_new_and_changed_submissions_and_other_settings_are_no_damage(self, capsys):
        submit(Path("in"), alice="4444", dora="1")
        capsys.readouterr()
        grade()
        grade(seed=3)
        grade(fresh=True)
        assert "journal.jsonl" not in capsys.readouterr().err


FULL = """
import resource, sys
from pathlib import Path
from contextlib import closing
from grading.runs.journal import Journal
from grading.pages.folder import _replace
from grading.results.lines import publish
from tests.test_journal import result
out, limit = Path(sys.argv[1]), int(sys.argv[2])
with closing(Journal(out / "journal.jsonl")) as journal:
    journal.append("k", "full", result("alice", reason="x" * 3000))
    journal.append("k", "full", result("bob", reason="x" * 3000))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    for action in (
        lambda: journal.append("k", "full", result("carol", reason="x" * 90_000)),
        lambda: journal.forget(["alice"]),
        lambda: publish(out, [result("alice", reason="x" * 90_000)], {}),
        lambda: _replace(out / "index.html", b"x" * 90_000),
    ):
        try:
            action()
        except OSError as error:
            print(error.strerror)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a system without limits on files")
def test_a_disk_that_is_full_leaves_nothing_half_written_behind(tmp_path):
    out = tmp_path / "full"
    out.mkdir()
    line = [sys.executable, "-c", FULL, str(out), "2000"]
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["File too large"] * 4, done.stderr
    assert [path.name for path in out.iterdir()] == [FILE]
    with closing(Journal(out / FILE)) as journal:
        assert journal.read("alice").submission == "alice"
        assert journal.read("bob").submission == "bob"
        assert list(journal.troubles([], 0)) == []


def test_what_killed_runs_had_begun_to_write_goes_and_other_files_stay():
    report = OUT / "report" / "pages"
    report.mkdir(parents=True, exist_ok=True)
    theirs = [OUT / ".results.jsonl.new", OUT / f".{FILE}.new", report / ".7f.js.new"]
    others = [OUT / ".notes.new", report / ".Notes.new"]
    for path in (*theirs, *others):
        path.write_bytes(b"half")
    grade()
    _remove_unfinished(OUT / "report")
    assert not any(path.exists() for path in theirs)
    assert all(path.exists() for path in others)
