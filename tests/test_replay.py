"""`backprop replay` makes failed checks again, and says whether they end as they did then."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner

from grading.cli import main
from grading.results.record import find_record
from harness.cases.cases import cases_for
from harness.course.assignments import load_assignment
from harness.errors import UserError
from tests.test_remote import HEAD, RIGHT, SIGMOID, SQUARED_ERROR, WEIGHTED_SUM

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
CLASS = {
    "alice": RIGHT,
    "bob": (HEAD, WEIGHTED_SUM, SIGMOID.replace("(1 - a)", "(1 - a * a)"), SQUARED_ERROR),
    "carl": (HEAD, WEIGHTED_SUM, SIGMOID, SQUARED_ERROR.replace("g * 2 *", "os._exit(1) *")),
    "dora": ("def f(:",),
    "eve": (HEAD, WEIGHTED_SUM, SIGMOID, SQUARED_ERROR.replace("g * 2 *", "g.abs() * 2 *")),
}


def backprop(*args, cwd):
    return subprocess.run(
        [sys.executable, "-m", "grading.cli", *map(str, args)],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A folder with work that was handed in, and its results in marks/."""
    folder = tmp_path_factory.mktemp("course")
    for name, parts in CLASS.items():
        (folder / "handed-in" / name).mkdir(parents=True)
        (folder / "handed-in" / name / "work.py").write_text("".join(parts))
    arguments = ("grade", "handed-in", "--assignment", "many-neurons", "--out", "marks")
    run = backprop(*arguments, "--workers", "2", "--seed", "5", cwd=folder)
    assert run.returncode == 0, run.stderr
    return folder


@pytest.fixture
def copied(course, tmp_path):
    """A copy of the results, to be spoiled."""
    marks = tmp_path / "marks"
    marks.mkdir()
    for path in filter(Path.is_file, (course / "marks").iterdir()):
        (marks / path.name).write_bytes(path.read_bytes())
    return marks


def change(path, **changes):
    """Changes keys of a JSON object in a file, or of the line of ``name``, and of its check."""
    name, check = changes.pop("name", None), changes.pop("check", None)
    lines = [json.loads(line) for line in path.read_text().splitlines()] if name else []
    whole = lines or [json.loads(path.read_text())]
    (data,) = [each for each in whole if name in (None, each.get("submission"))]
    changed = next(each for each in data["checks"] if each["id"] == check) if check else data
    changed.update(changes)
    path.write_text("\n".join(map(json.dumps, whole)))


def test_help_does_not_import_torch():
    run = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "grading.cli", "replay", "--help"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "--submissions" in run.stdout
    assert "torch" not in run.stderr


@pytest.fixture
def replay(course, monkeypatch, zygote):
    """`backprop replay` as its process runs it, in this one and with a spawner that is warm."""
    monkeypatch.chdir(course)
    module = import_module("grading.cli.grade")
    monkeypatch.setattr(module, "open_spawner", lambda *_wish: nullcontext(zygote))

    def run(results, name, *more):
        arguments = ["replay", str(results), name, "--submissions", "handed-in", *more]
        return CliRunner(catch_exceptions=False).invoke(main, arguments)

    return run


class TestReplay:
    def test_a_failed_check_is_shown_with_its_inputs_and_what_is_right(self, course):
        run = backprop("replay", "marks", "bob", "--submissions", "handed-in", cwd=course)
        assert run.returncode == 0, run.stderr
        assert "✗ sigmoid/gradient/z" in run.stdout and "Same as recorded: failed." in run.stdout
        for part in ("∂C/∂z returned  (5, 7)", "∂C/∂z expected  (5, 7)", "largest difference"):
            assert part in run.stdout

    def test_hidden_inputs_are_shown_to_staff(self, course, replay):
        run = replay("marks", "eve")
        assert run.exit_code == 0, run.output
        line = next(
            json.loads(line)
            for line in (course / "marks" / "results.jsonl").read_text().splitlines()
            if '"eve"' in line
        )
        (failed,) = [check for check in line["checks"] if check["outcome"] == "failed"]
        assert f"index {failed['case']['index']}" in run.stdout
        assert "SquaredError.backward" in run.stdout

    def test_one_check_can_be_chosen(self, replay):
        run = replay("marks", "carl", "--check", "squared-error/gradient/a")
        assert run.exit_code == 0, run.stderr
        assert "Same as recorded: error (exception, crash, timeout)." in run.stdout
        assert "ended the process it ran in" in run.stdout
        assert "sigmoid/" not in run.stdout

    def test_what_passes_now_is_told_and_exits_with_1(self, copied, replay):
        assignment = load_assignment("many-neurons")
        stage = assignment.stage("Sigmoid")
        facts = cases_for(stage, 5, stage.sizes)[1].facts(1)
        id = "sigmoid/gradient/z"
        change(copied / "results.jsonl", name="alice", check=id, outcome="failed", case=facts)
        run = replay(copied, "alice")
        assert run.exit_code == 1, run.stderr
        assert "Recorded: failed; now: passed." in run.stdout and "chance" in run.stdout
        assert "∂C/∂z, as expected" in run.stdout

    def test_other_versions_are_told(self, copied, replay):
        change(copied / "run.json", versions={"torch": "1.0"})
        run = replay(copied, "bob")
        assert "It was graded with torch 1.0" in run.stdout

    def test_a_record_without_the_inputs_is_refused(self, copied, replay):
        facts = {"seed": 5, "N": 5, "n_in": 3, "K": 7}
        change(copied / "results.jsonl", name="bob", check="sigmoid/gradient/z", case=facts)
        run = replay(copied, "bob")
        assert run.exit_code == 2 and "regrade bob" in run.stderr

    def test_a_check_that_this_version_lacks_is_refused(self, copied, replay):
        lines = (copied / "results.jsonl").read_text().splitlines()
        text = "\n".join(line.replace("sigmoid/gradient/z", "sigmoid/slope") for line in lines)
        (copied / "results.jsonl").write_text(text)
        run = replay(copied, "bob")
        assert run.exit_code == 2 and "inputs of sigmoid/slope" in run.stderr

    def test_bad_calls_are_refused_in_a_sentence(self, course):
        run = backprop("replay", "none", "bob", "--submissions", "handed-in", cwd=course)
        assert run.returncode == 2 and "none has no run.json" in run.stderr
        run = backprop("replay", "marks", "bob", cwd=course)
        assert run.returncode == 2 and "--submissions" in run.stderr


class TestRecord:
    def refusal(self, marks, course, name="bob", checks=()):
        with pytest.raises(UserError) as refused:
            find_record(marks, name, course / "handed-in", checks)
        assert "\n" not in str(refused.value)
        return str(refused.value)

    @pytest.mark.parametrize(
        ("name", "checks", "said"),
        [
            ("bobb", (), "did you mean bob?"),
            ("zoe\x1b", (), "no submission called zoe\\x1b"),
            ("alice", (), "Every check of alice passed"),
            ("dora", (), "no usable code: SyntaxError at line 1"),
            ("bob", ("sigmoid/gradient/x",), "did you mean sigmoid/gradient/z?"),
            ("bob", ("weighted-sum/forward",), "weighted-sum/forward of bob passed"),
            ("bob", ("training",), "waits for"),
        ],
    )
    def test_what_cannot_be_replayed_is_told(self, course, name, checks, said):
        assert said in self.refusal(course / "marks", course, name, checks)

    def test_files_that_have_changed_are_not_replayed(self, course, tmp_path):
        (tmp_path / "handed-in" / "bob").mkdir(parents=True)
        (tmp_path / "handed-in" / "bob" / "work.py").write_text("".join(RIGHT))
        said = self.refusal(course / "marks", tmp_path)
        assert "not the ones that were graded" in said and "grade them again" in said

    def test_a_folder_without_the_submission_is_told(self, course, tmp_path):
        (tmp_path / "handed-in").mkdir()
        assert "no submission called bob" in self.refusal(course / "marks", tmp_path)
        assert "is not a folder" in self.refusal(course / "marks", tmp_path / "none")

    def test_a_folder_without_results_is_told(self, course, tmp_path):
        assert "has no run.json" in self.refusal(tmp_path, course)

    def test_results_of_a_newer_schema_are_told(self, course, copied):
        change(copied / "run.json", schema=2)
        assert "schema 2, and this version reads schema 1" in self.refusal(copied, course)
        change(copied / "run.json", schema=1)
        change(copied / "results.jsonl", name="bob", schema=7)
        assert "schema 7, and this version reads schema 1" in self.refusal(copied, course)

    def test_a_damaged_line_is_told_and_one_of_others_is_no_matter(self, course, copied):
        change(copied / "results.jsonl", name="bob", score="many")
        assert "line 2" in self.refusal(copied, course).lower()
        change(copied / "results.jsonl", name="bob", score=6.0)
        lines = (copied / "results.jsonl").read_text().splitlines()
        (copied / "results.jsonl").write_text("\n".join(["{", *lines[1:]]))
        assert find_record(copied, "bob", course / "handed-in", ()).result.score == 6.0
        assert "line 1 is damaged" in self.refusal(copied, course, "alice")
        data = (copied / "results.jsonl").read_bytes()
        (copied / "results.jsonl").write_bytes(b'{"schema":1,"submission":"\xff' + data[1:])
        assert find_record(copied, "bob", course / "handed-in", ()).result.score == 6.0
        assert "line 1 is damaged" in self.refusal(copied, course, "alice")
        (copied / "run.json").write_text("{}")
        assert "is damaged" in self.refusal(copied, course)
        change(copied / "run.json", schema=1, assignment="no-neurons")
        assert "is damaged" in self.refusal(copied, course)

    def test_an_open_mark_has_nothing_to_replay(self, course, copied):
        change(copied / "results.jsonl", name="bob", status="grader_error")
        assert "run `backprop grade` again" in self.refusal(copied, course)


def test_the_cases_of_a_detective_are_shown_once(tmp_path):
    handed_in = tmp_path / "handed-in"
    handed_in.mkdir()
    sample = ROOT / "tests/sample_class/detective/submissions/wrong-upstream-of-one.py"
    (handed_in / "ada.py").write_bytes(sample.read_bytes())
    options = "--assignment", "detective", "--out", "marks", "--seed", 5
    graded = backprop("grade", "handed-in", *options, cwd=tmp_path)
    assert graded.returncode == 0, graded.stderr
    shown = backprop("replay", "marks", "ada", "--submissions", "handed-in", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    failed = {line.split("/")[0] for line in shown.stdout.splitlines() if line.startswith("✗")}
    assert len(failed) > 1 and shown.stdout.count("Case 1\n") == len(failed)
    assert "  z  (" in shown.stdout and "  g  (" in shown.stdout
