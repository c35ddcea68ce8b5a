"""Assignments that a course declares in its own folder, through every command."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile

import pytest

from grading.exports.gradescope import autograder_zip
from harness.course.assignments import (
    SHIPPED,
    assignment_names,
    choose_course,
    declaration_digest,
    load_assignment,
    release_in,
    settings_of,
    source_in,
    use_course,
)
from harness.errors import UserError
from tests.own_course import SUBMISSION, backprop, declare


@pytest.fixture
def course(tmp_path):
    declare(tmp_path / "course", "net-one", title="One")
    declare(tmp_path / "course", "net-two", title="Two")
    use_course(tmp_path / "course")
    yield tmp_path / "course"
    use_course(None)


class TestLoading:
    def test_an_assignment_is_named_by_its_folder_beside_the_shipped_ones(self, course):
        assert assignment_names() == (*SHIPPED, "net-one", "net-two")
        assert load_assignment("net-one").name == "net-one"
        assert load_assignment("many-neurons").title == "Many neurons a layer"
        with pytest.raises(KeyError):
            load_assignment("net-three")

    def test_modules_of_one_name_do_not_mix(self, course):
        before = set(sys.modules)
        titles = [load_assignment(name).title for name in ("net-one", "net-two", "net-one")]
        assert titles == ["One", "Two", "One"]
        new = set(sys.modules) - before
        assert not new & {"assignment", "layers", "words"}
        assert not list(course.rglob("__pycache__"))

    def test_a_change_beside_the_declaration_counts(self, course):
        first, digest = load_assignment("net-one"), declaration_digest(course / "solutions/net-one")
        assert load_assignment("net-one") is first
        (course / "solutions/net-one/words.py").write_text("TITLE = 'Another'")
        assert load_assignment("net-one").title == "Another"
        assert declaration_digest(course / "solutions/net-one") != digest

    def test_notebooks_and_settings_are_no_part_of_it(self, course):
        folder = course / "solutions/net-one"
        digest = declaration_digest(folder)
        for name in ("net-one.ipynb", "assignment.toml", "net_one.py", ".hidden"):
            (folder / name).write_text("")
        assert declaration_digest(folder) == digest
        (folder / "points.csv").write_text("1,2")
        assert declaration_digest(folder) != digest

    def test_the_courses_own_replaces_the_shipped_one_of_its_name(self, course):
        declare(course, "many-neurons", title="Ours")
        assert load_assignment("many-neurons").title == "Ours"

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("x = (", "assignment.py, line 1: '(' was never closed."),
            ("\nx = 1 / 0", "assignment.py, line 2: ZeroDivisionError: division by zero."),
            ("import nowhere", "assignment.py, line 1: ModuleNotFoundError: No module named"),
            ("raise SystemExit", "assignment.py, line 1: SystemExit."),
            ("x = 1", "assignment.py does not set ASSIGNMENT: end it with ASSIGNMENT = …."),
            ("ASSIGNMENT = 'a'", "assignment.py: ASSIGNMENT is a str, not an assignment."),
            ("\n\nimport broken", "broken.py, line 3: expected ':'."),
        ],
    )
    def test_a_declaration_that_cannot_be_used_is_refused_with_its_place(self, course, text, said):
        folder = declare(course, "net-one", text)
        (folder / "broken.py").write_text("\n\ndef f()\n")
        with pytest.raises(UserError) as refused:
            load_assignment("net-one")
        assert str(refused.value).startswith(str(folder))
        assert said in str(refused.value)

    @pytest.mark.parametrize("name", ["Net", "net one", "2-nets"])
    def test_a_name_that_cannot_be_imported_is_refused(self, course, name):
        declare(course, name)
        with pytest.raises(UserError, match="cannot declare an assignment called"):
            load_assignment(name)


class TestFinding:
    def test_in_nbgraders_own_layout_other_files_of_that_name_mean_nothing(self, tmp_path):
        declare(tmp_path / "x", "net-one").parent.rename(tmp_path / "source")
        (tmp_path / "nbgrader_config.py").write_text("")
        (tmp_path / "source/hw1").mkdir()
        (tmp_path / "source/hw1/assignment.py").write_text("def mine(): ...")
        use_course(tmp_path)
        assert assignment_names() == (*SHIPPED, "net-one")

    def test_other_names_in_nbgraders_configuration_are_read_without_running_it(self, tmp_path):
        declare(tmp_path / "x", "net-one").parent.rename(tmp_path / "mine")
        (tmp_path / "solutions").mkdir()
        config = tmp_path / "nbgrader_config.py"
        config.write_text(
            "raise RuntimeError\n"
            "# c.CourseDirectory.source_directory = 'source'\n"
            "c.CourseDirectory.source_directory = u'mine'  # where I work\n"
            'c.CourseDirectory.release_directory="handouts"\n'
        )
        choose_course(tmp_path)
        assert assignment_names() == (*SHIPPED, "net-one")
        assert release_in(tmp_path) == tmp_path / "handouts"
        config.write_text("c.CourseDirectory.source_directory = name\n")
        with pytest.raises(UserError, match="names of folders must be in quotes"):
            choose_course(tmp_path)
        # nbgrader's plugin gets on without: what is computed comes after it.
        assert source_in(tmp_path) == tmp_path / "solutions"

    def test_the_root_of_nbgraders_configuration_is_the_course(self, course, monkeypatch):
        (course.parent / "here").mkdir()
        config = course.parent / "here" / "nbgrader_config.py"
        config.write_text("c.CourseDirectory.root = '../course'\n")
        monkeypatch.chdir(config.parent)
        choose_course(None)
        assert "net-one" in assignment_names()

    def test_settings_for_a_shipped_assignment_are_found_in_a_folder_of_another_name(self, course):
        settings = 'assignment = "one-neuron"\nfeedback = "where"\n'
        (course / "solutions/net-two/assignment.toml").write_text(settings)  # not its own
        for name in ("hw3", "hw4"):
            assert settings_of("one-neuron").feedback == ("where" if name == "hw4" else "formula")
            (course / "solutions" / name).mkdir()
            (course / "solutions" / name / "assignment.toml").write_text(settings)
        with pytest.raises(UserError, match=r"hw3 and .*hw4 are both for one-neuron"):
            settings_of("one-neuron")
        (course / "solutions/one-neuron").mkdir()
        assert settings_of("one-neuron").feedback == "formula"

    def test_the_nearest_folder_that_holds_solutions_is_found(self, course, monkeypatch):
        (course / "a/b").mkdir(parents=True)
        monkeypatch.chdir(course / "a/b")
        choose_course(None)
        assert "net-one" in assignment_names()
        monkeypatch.chdir(course.parent)
        choose_course(None)
        assert assignment_names() == SHIPPED

    def test_a_folder_that_is_no_course_is_refused(self, course):
        said = backprop("verify", "--course", course / "solutions", cwd=course, code=2)
        assert "is not a course's folder: it holds no folder solutions." in said

    @pytest.mark.proof
    def test_a_course_among_the_submissions_is_never_used(self, course):
        submissions = course.parent / "class"
        declare(submissions, "net-one", "raise RuntimeError")
        arguments = ("grade", ".", "--assignment", "net-one", "--out", "../out")
        said = backprop(*arguments, cwd=submissions, code=2)
        assert "lies in ., the folder of submissions" in said
        (submissions / "alice.py").write_text(SUBMISSION)
        named = (*arguments, "--course", course, "--only", "alice")
        assert "10 / 10" in backprop(*named, cwd=submissions)


GRADE = ("grade", "class", "--assignment", "net-one", "--out", "out", "--course", "course")


RAISES_AT_ODD_WIDTHS = """
from harness.declare import assignment, stage


def cube(x):
    if x.shape[1] % 2:
        raise RuntimeError("odd")
    return x**3

ASSIGNMENT = assignment("Odd widths", [stage("Cube", "x[N D] -> z", cube)])
"""


@pytest.fixture(scope="class")
def graded(tmp_path_factory):
    """A class of two, graded from outside the course."""
    folder = tmp_path_factory.mktemp("own")
    declare(folder / "course", "net-one", title="A net of our own")
    (folder / "class").mkdir()
    (folder / "class/alice.py").write_text(SUBMISSION)
    wrong = SUBMISSION.replace("g @ w", "g @ w * 2")
    (folder / "class/bob.py").write_text(
        f"from net_one import check, train\n{wrong}\ncheck(Sigmoid)"
    )
    backprop(*GRADE, cwd=folder)
    return folder


@pytest.mark.slow
class TestCommands:
    def test_grade_marks_it_and_begins_again_where_the_declaration_has_changed(self, graded):
        text = (graded / "out/results.jsonl").read_text()
        lines = [json.loads(line) for line in text.splitlines()]
        assert [(line["submission"], line["assignment"]) for line in lines] == [
            ("alice", "net-one"),
            ("bob", "net-one"),
        ]
        assert lines[0]["score"] == 10
        failed = [check["id"] for check in lines[1]["checks"] if check["outcome"] == "failed"]
        assert failed == ["weighted-sum/gradient/a_prev"]
        assert lines[1]["advice"] == []
        assert "A net of our own" in (graded / "out/report/index.html").read_text()
        assert "0 graded, 2 unchanged" in backprop(*GRADE, cwd=graded)
        (graded / "course/solutions/net-one/words.py").write_text("TITLE = 'Another title'")
        assert "unchanged" not in backprop(*GRADE, cwd=graded)
        run = json.loads((graded / "out/run.json").read_text())
        assert len(run["declaration"]) == 64
        assert "Another title" in (graded / "out/report/index.html").read_text()

    @pytest.mark.proof
    def test_the_rest_needs_the_course_too(self, graded):
        replay = ("replay", "out", "bob", "--submissions", "class")
        assert "name the course's folder with --course" in backprop(*replay, cwd=graded, code=2)
        assert "Same as recorded: failed." in backprop(
            *replay, "--course", "course", cwd=graded, code=0
        )
        backprop("report", "out", "--course", "course", cwd=graded)
        backprop(
            "override",
            "out",
            "bob",
            "--points",
            3,
            "--reason",
            "ill",
            "--course",
            "course",
            cwd=graded,
        )
        backprop("export", "feedback", "out", "--course", "course", cwd=graded)
        backprop("export", "nbgrader", "../out", cwd=graded / "course")

    def test_a_student_checks_with_it(self, graded):
        file = graded / "class/bob.py"
        assert "does not say which" in backprop("check", file, cwd=graded, code=2)
        said = backprop("check", file, "--course", "course", cwd=graded, code=1)
        assert "✗ ∂C/∂a_prev" in said
        assert "10 of 10" in backprop(
            "check",
            graded / "class/alice.py",
            "--assignment",
            "net-one",
            cwd=graded / "course/solutions",
        )

    @pytest.mark.proof
    def test_pytest_makes_its_checks(self, graded):
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "pytest",
                "--backprop-submission",
                "class/bob.py",
                "--backprop-course",
                "course",
                "-p",
                "no:cacheprovider",
            ],
            cwd=graded,
            capture_output=True,
            text=True,
            check=False,
        )
        assert "submission: bob.py, net-one" in done.stdout
        assert done.returncode == 1

    @pytest.mark.proof
    def test_a_declaration_with_an_error_ends_every_command_in_a_sentence(self, graded):
        folder = declare(graded / "broken", "net-one", "x = (")
        (folder / "net-one.ipynb").write_text("")
        for arguments in (
            ("grade", "class", "--assignment", "net-one", "--out", "out2"),
            ("check", "class/bob.py"),
            ("verify", "net-one"),
        ):
            said = backprop(*arguments, "--course", "broken", cwd=graded, code=2)
            assert "assignment.py, line 1: '(' was never closed." in said

    @pytest.mark.proof
    @pytest.mark.parametrize(
        "arguments",
        [
            ("grade", "class", "--assignment", "odd-widths", "--out", "out3"),
            ("check", "class/bob.py", "--assignment", "odd-widths"),
            ("verify", "odd-widths"),
        ],
        ids=lambda arguments: arguments[0],
    )
    def test_a_reference_that_raises_at_some_sizes_ends_it_in_a_sentence(self, graded, arguments):
        declare(graded / "raising", "odd-widths", RAISES_AT_ODD_WIDTHS)
        said = backprop(*arguments, "--course", "raising", cwd=graded, code=2)
        assert "line 10: Cube: forward raises RuntimeError: odd, at N = 5, D = 3." in said

    @pytest.mark.proof
    @pytest.mark.parametrize(
        "arguments",
        [("grade", "class", "--assignment", "crashing", "--out", "out4"), ("verify", "crashing")],
        ids=lambda arguments: arguments[0],
    )
    def test_a_reference_that_crashes_at_some_sizes_is_told_with_them(self, graded, arguments):
        text = "import os\n" + RAISES_AT_ODD_WIDTHS.replace(
            'raise RuntimeError("odd")', "os.kill(os.getpid(), 9)"
        )
        declare(graded / "crashes", "crashing", text)
        said = backprop(*arguments, "--course", "crashes", cwd=graded, code=2)
        assert "line 11: Cube, at N = 5, D = 3: the process crashed there, without" in said


@pytest.mark.proof
def test_gradescopes_zip_has_what_declares_it_and_marks_with_it(course, tmp_path):
    folder = course / "solutions/net-one"
    (folder / "points.csv").write_text("1,2")
    data = autograder_zip("net-one", None, None, "a secret of the course's")
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        file.extractall(tmp_path / "gradescope/source")
    source = tmp_path / "gradescope/source"
    packed = sorted(path.name for path in (source / "solutions/net-one").iterdir())
    assert packed == ["assignment.py", "layers.py", "points.csv", "words.py"]
    (tmp_path / "gradescope/submission").mkdir()
    (tmp_path / "gradescope/submission/mine.py").write_text(SUBMISSION)
    subprocess.run(
        [sys.executable, "-m", "grading.exports.autograder", "net-one", tmp_path / "gradescope"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(source / "packages")},
        check=True,
    )
    results = json.loads((tmp_path / "gradescope/results/results.json").read_text())
    assert results["score"] == 10


@pytest.mark.slow
def test_classrooms_workflow_says_what_declares_it(course):
    said = backprop("export", "workflow", "net-one", cwd=course)
    assert "Add .github/course/solutions/net-one/assignment.py to the template" in said
    assert "Add" not in backprop("export", "workflow", "one-neuron", cwd=course)
