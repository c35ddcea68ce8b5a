"""The command as a person runs it: what it prints, writes, and exits with."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import zipfile
from contextlib import nullcontext
from importlib import import_module

import pytest
from click.testing import CliRunner

from grading.cli import main
from tests.test_remote import HEAD, RIGHT, SIGMOID

pytestmark = pytest.mark.slow

WRONG = "".join(RIGHT).replace("g * a * (1 - a)", "g * (1 - a * a)")


def backprop(*args, cwd, options=()):
    return subprocess.run(
        [sys.executable, *options, "-m", "grading.cli", *map(str, args)],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


def refused(run):
    """Whether the call was refused in one sentence, without a traceback."""
    return run.returncode == 2 and "Traceback" not in run.stderr and run.stderr.strip()


def quickly_refused(*args, cwd):
    """What a call is refused with; fails where it is not, or where torch was loaded for it."""
    run = backprop(*args, cwd=cwd, options=("-X", "importtime"))
    lines = run.stderr.splitlines()
    assert run.returncode == 2 and "Traceback" not in run.stderr
    assert not any("torch" in line for line in lines if line.startswith("import time:"))
    return "\n".join(line for line in lines if not line.startswith("import time:"))


def test_help_does_not_import_torch(tmp_path):
    run = backprop("--help", cwd=tmp_path, options=("-X", "importtime"))
    assert run.returncode == 0
    assert "grade" in run.stdout
    assert "torch" not in run.stderr


@pytest.fixture
def check(tmp_path, monkeypatch, zygote):
    """`backprop check` as its process runs it, in this one and with a spawner that is warm."""
    monkeypatch.chdir(tmp_path)
    module = import_module("grading.cli.check")
    monkeypatch.setattr(module, "open_spawner", lambda **_wish: nullcontext(zygote))
    return lambda *arguments: CliRunner(catch_exceptions=False).invoke(main, ["check", *arguments])


class TestCheck:
    def test_right_work_exits_with_0(self, tmp_path):
        (tmp_path / "mine.py").write_text("".join(RIGHT))
        run = backprop("check", "mine.py", cwd=tmp_path)
        assert run.returncode == 0, run.stderr
        assert "10" in run.stdout

    def test_wrong_work_exits_with_1_and_names_stage_and_gradient(self, tmp_path):
        (tmp_path / "mine.py").write_text(WRONG)
        run = backprop("check", "mine.py", "--json", "report.json", cwd=tmp_path)
        assert run.returncode == 1, run.stderr
        assert "Sigmoid" in run.stdout and "∂C/∂z" in run.stdout
        report = json.loads((tmp_path / "report.json").read_text())
        assert report["score"] < report["max_score"] == 10

    def test_the_report_can_be_printed_for_programs(self, tmp_path, check):
        (tmp_path / "mine.py").write_text(HEAD + SIGMOID)
        run = check("mine.py", "--stage", "Sigmoid", "--json", "-")
        assert json.loads(run.stdout)["score"] == 2.2 and "All 8 checks" in run.stderr
        assert not (tmp_path / "-").exists()

    @pytest.mark.parametrize(
        ("arguments", "meant"),
        [
            (("check", "mine.py", "--assignment", "many-neuron"), "many-neurons"),
            (("check", "mine.py", "--stage", "Sigmod"), "Sigmoid"),
            (("grade", ".", "--out", "x", "--assignment", "one-neurons"), "one-neuron"),
            (("chekc", "mine.py"), "check"),
        ],
    )
    def test_a_name_that_is_like_a_known_one_is_asked_about(
        self, tmp_path, monkeypatch, arguments, meant
    ):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "mine.py").write_text("".join(RIGHT))
        run = CliRunner().invoke(main, arguments)
        assert run.exit_code == 2 and f"Did you mean {meant}?" in run.stderr

    def test_one_stage_can_be_checked_by_itself(self, tmp_path, check):
        (tmp_path / "mine.py").write_text(HEAD + SIGMOID)
        run = check("mine.py", "--stage", "Sigmoid")
        assert run.exit_code == 0, run.output

    def test_the_assignment_is_told_by_the_folder_or_asked_for(self, tmp_path, check):
        text = "".join(RIGHT).replace("from harness.many_neurons import check, train", "")
        (tmp_path / "many-neurons").mkdir()
        (tmp_path / "many-neurons" / "mine.py").write_text(text)
        (tmp_path / "mine.py").write_text(text)
        assert check("many-neurons/mine.py").exit_code == 0
        assert check("mine.py", "--assignment", "many-neurons").exit_code == 0
        unknown = quickly_refused("check", "mine.py", cwd=tmp_path)
        assert "--assignment" in unknown

    def test_a_folder_or_a_zip_that_holds_one_file_will_do(self, tmp_path, check):
        for name in ("one-neuron", "many-neurons"):
            (tmp_path / "alice" / name).mkdir(parents=True)
        (tmp_path / "alice" / "many-neurons" / "mine.py").write_text("".join(RIGHT))
        assert check("alice").exit_code == 0
        (tmp_path / "alice" / "one-neuron" / "mine.py").write_text("x = 1")
        several = quickly_refused("check", "alice", cwd=tmp_path)
        assert "more than one assignment" in several
        with zipfile.ZipFile(tmp_path / "bob.zip", "w") as archive:
            archive.writestr("mine.py", WRONG)
        assert check("bob.zip").exit_code == 1
        with zipfile.ZipFile(tmp_path / "bob.zip", "a") as archive:
            archive.writestr("other.py", WRONG + "x = 1")
        two = quickly_refused("check", "bob.zip", cwd=tmp_path)
        assert "2 files where one is expected" in two

    @pytest.mark.parametrize(
        ("name", "text", "said"),
        [
            ("none.py", None, "does not exist"),
            ("mine.txt", "x", "not a .py file or a notebook"),
            ("many-neurons.py", "", "empty"),
            ("many-neurons.ipynb", "{", "damaged"),
        ],
    )
    def test_a_file_that_cannot_be_used_is_refused_before_torch_is_loaded(
        self, tmp_path, name, text, said
    ):
        if text is not None:
            (tmp_path / name).write_text(text)
        assert said in quickly_refused("check", name, cwd=tmp_path)

    def test_code_that_does_not_parse_is_refused(self, tmp_path):
        (tmp_path / "many-neurons.py").write_text("def f(:")
        run = backprop("check", "many-neurons.py", cwd=tmp_path)
        assert refused(run) and "SyntaxError at line 1" in run.stderr

    def test_a_stage_that_does_not_exist_is_refused(self, tmp_path, check):
        (tmp_path / "mine.py").write_text("".join(RIGHT))
        run = check("mine.py", "--stage", "Softmax")
        assert run.exit_code == 2 and "its stages are WeightedSum" in run.stderr

    def test_settings_that_mean_nothing_are_refused(self, tmp_path, check):
        (tmp_path / "mine.py").write_text("".join(RIGHT))
        settings = tmp_path / "assignment.toml"
        settings.write_text('assignment = "many-neurons"\nfeedback = 3\n')
        assert "feedback = 3" in quickly_refused("check", "mine.py", cwd=tmp_path)
        settings.write_text('assignment = "many-neurons"\n[points]\ntrainng = 1\n')
        run = check("mine.py")
        assert run.exit_code == 2 and "no check is called 'trainng'" in run.stderr

    def test_settings_are_those_beside_the_file_else_the_courses_else_declared(
        self, tmp_path, check
    ):
        (tmp_path / "work").mkdir()
        (tmp_path / "work" / "mine.py").write_text(WRONG)
        run = check("work/mine.py", "--json", "report.json")
        assert "∂C/∂z is wrong" in run.stdout and run.stderr == (
            "No assignment.toml or course here or above: "
            "the declared settings of many-neurons are used.\n"
        )
        for place in ("solutions/many-neurons", "work"):
            settings = tmp_path / place / "assignment.toml"
            settings.parent.mkdir(parents=True, exist_ok=True)
            settings.write_text('assignment = "many-neurons"\nfeedback = "verdict"\n')
            for file in ("work/mine.py", "work"):
                run = check(file)
                assert run.exit_code == 1 and run.stderr == ""
                assert "✗ ∂C/∂z" in run.stdout and "is wrong" not in run.stdout
            settings.write_text('assignment = "many-neurons"\n')


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    course = tmp_path_factory.mktemp("course")
    handed_in = course / "handed-in"
    for name, text in {
        "alice": "".join(RIGHT),
        "bob": WRONG,
        "=cmd": "",
        "dora": "def f(:",
        "eve": "import os\nos._exit(1)\n" + "".join(RIGHT),
    }.items():
        (handed_in / name).mkdir(parents=True)
        (handed_in / name / "work.py").write_text(text)
    arguments = ("grade", handed_in, "--assignment", "many-neurons", "--out", "marks")
    return course, backprop(*arguments, "--workers", "2", cwd=course), arguments


class TestGrade:
    def lines(self, course):
        text = (course / "marks" / "results.jsonl").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]

    def test_every_submission_has_its_line_in_order(self, graded):
        course, run, _ = graded
        assert run.returncode == 0, run.stderr
        results = self.lines(course)
        assert [line["submission"] for line in results] == ["=cmd", "alice", "bob", "dora", "eve"]
        assert [line["status"] for line in results] == [
            "unreadable", "graded", "graded", "unreadable", "graded",
        ]  # fmt: skip
        assert [line["score"] for line in results] == [0, 10, 6, 0, 10]
        assert all(line["schema"] == 1 and line["max_score"] == 10 for line in results)
        assert results[3]["reason"].startswith("SyntaxError at line 1")
        assert len(results[1]["digest"]) == 64

    def test_the_table_of_marks_opens_in_a_spreadsheet_unharmed(self, graded):
        course, _, _ = graded
        with (course / "marks" / "grades.csv").open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert rows[0]["submission"] == "'=cmd"
        assert rows[2]["score"] == "6" and rows[2]["sigmoid/gradient/z"] == "0"

    def test_the_run_is_described(self, graded):
        course, run, _ = graded
        facts = json.loads((course / "marks" / "run.json").read_text())
        assert 0 <= facts["seed"] < 2**53 and facts["settings"]["feedback"] == "formula"
        assert set(facts["versions"]) == {"backprop-harness", "python", "torch", "numpy"}
        assert "results.jsonl" in run.stdout and "alice" in run.stdout

    def test_the_same_run_gives_the_same_lines_but_for_the_seconds(self, graded):
        course, _, arguments = graded
        before = self.lines(course)
        assert backprop(*arguments, "--workers", "1", "--fresh", cwd=course).returncode == 0
        after = self.lines(course)
        for line in (*before, *after):
            del line["seconds"]
        assert before == after

    def test_a_second_run_grades_what_is_new_or_asked_for(self, graded):
        course, _, arguments = graded
        before = (course / "marks" / "results.jsonl").read_bytes()
        run = backprop(*arguments, cwd=course)
        assert run.returncode == 0, run.stderr
        assert "0 graded, 5 unchanged since" in run.stdout
        assert (course / "marks" / "results.jsonl").read_bytes() == before
        run = backprop(*arguments, "--only", "dora", "--only", "=cmd", "--fresh", cwd=course)
        assert "2 graded, 3 unchanged since" in run.stdout
        run = backprop(*arguments, "--only", "dorra", cwd=course)
        assert refused(run) and "did you mean dora?" in run.stderr

    def test_the_instructors_settings_are_used(self, graded):
        course, _, arguments = graded
        folder = course / "solutions" / "many-neurons"
        folder.mkdir(parents=True)
        text = 'assignment = "many-neurons"\nfeedback = "verdict"\n[points]\ntraining = 0\n'
        (folder / "assignment.toml").write_text(text)
        assert backprop(*arguments, "--only", "bob", cwd=course).returncode == 0
        (bob,) = self.lines(course)
        assert bob["max_score"] == 8.6
        assert all(check["message"] == "" for check in bob["checks"])
        (folder / "assignment.toml").write_text(text.replace("training", "trainng"))
        assert refused(backprop(*arguments, cwd=course))

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (("none", "--assignment", "many-neurons", "--out", "o"), "not a folder"),
            ((".", "--assignment", "many-neurons", "--out", "."), "give --out a folder outside"),
            ((".", "--assignment", "many-neurons", "--out", "o"), "give --out a folder outside"),
            (("in", "--assignment", "many-neurons", "--out", "o"), "holds no submissions"),
            (("", "--assignment", "many-neurons", "--out", "o"), "'FOLDER' is empty"),
            (("in", "--assignment", "many-neurons", "--out", ""), "'--out' is empty"),
            ((".", "--assignment", "no-neurons", "--out", "o"), "no-neurons"),
            ((".", "--assignment", "many-neurons"), "--out"),
            ((".", "--assignment", "many-neurons", "--out", "o", "--workers", "0"), "--workers"),
            ((".", "--assignment", "many-neurons", "--out", "o", "--seed", "x"), "--seed"),
        ],
    )
    def test_an_unusable_call_is_refused_in_a_sentence(self, tmp_path, arguments, said):
        (tmp_path / "in").mkdir()
        run = backprop("grade", *arguments, cwd=tmp_path)
        assert refused(run) and said in run.stderr
        assert not (tmp_path / "o").exists()
