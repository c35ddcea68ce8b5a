"""What students get of an assignment that a course declares, through the real nbgrader."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from grading.nbgrader.handout import module_text
from harness.course.assignments import SHIPPED, load_assignment
from harness.errors import UserError
from tests.own_course import backprop

SECRETS = '''
"""Two stages: ReLU and the "square" """

import layers
import torch
from harness.declare import assignment, stage
from layers import squares as squared

SECRET = "nobody reads this"  # nor this
relu = stage("ReLU", "z[N K] -> a", torch.relu, gradients=layers.GRADIENTS, where={})
square = stage("Square", "x[N] -> q", squared, gradients={"x": "g * 2 * x"})
ASSIGNMENT = assignment("Two", [relu, square], sizes=[{"N": 3, "K": 4}], HANDOUT)

if __name__ == "__main__":
    print(SECRET)
'''
READING = """
from pathlib import Path

TITLE = (Path(__file__).parent / "title.txt").read_text()
"""
LAYERS = """
GRADIENTS = {"z": "g * (z > 0)"}
UNUSED = "nobody reads this either"


def squares(x):
    return x * x
"""
STOCK = """
from pathlib import Path

from grading.nbgrader.release import files_kept_back

c = get_config()
c.CourseDirectory.source_directory = "solutions"
c.CourseDirectory.release_directory = "assignments"
c.CourseDirectory.ignore = files_kept_back(Path("solutions").iterdir())
"""

GUIDE = Path(__file__).parents[1] / "docs" / "own-assignments.md"
SCRIPTS = Path(sys.executable).parent


def nbgrader(*arguments, cwd):
    done = subprocess.run(
        [sys.executable, "-m", "nbgrader", *arguments],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PATH": f"{SCRIPTS}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def declared(tmp_path):
    def make(handout, text=SECRETS, layers=LAYERS):
        folder = tmp_path / "solutions" / "two-stages"
        folder.mkdir(parents=True, exist_ok=True)
        text = text.replace("HANDOUT", f"handout={handout!r}")
        (folder / "assignment.py").write_text(text.lstrip(), encoding="utf-8")
        (folder / "layers.py").write_text(layers, encoding="utf-8")
        return folder

    return make


class TestModule:
    def test_it_holds_what_the_declaration_needs_and_no_more(self, declared):
        text = module_text(declared("mistakes"))
        compile(text, "two_stages.py", "exec")
        assert "def squares(x):" in text
        assert "g * (z > 0)" in text
        for kept_back in ("nobody reads", "nor this", "sizes", "UNUSED", "__main__", "/tmp"):
            assert kept_back not in text

    def test_signatures_alone_say_nothing_of_gradients(self, declared):
        text = module_text(declared("signatures"))
        assert "z[N K] -> a" in text
        for kept_back in ("gradients", "where", "g *", "GRADIENTS"):
            assert kept_back not in text

    def test_gradients_that_would_be_handed_out_in_another_way_are_refused(self, declared):
        text = SECRETS.replace('gradients={"x": "g * 2 * x"}', '**{"gradients": {"x": "2 * g"}}')
        with pytest.raises(UserError, match="the gradients of Square cannot be kept back"):
            module_text(declared("signatures", text))

    def test_names_that_clash_are_refused(self, declared):
        with pytest.raises(UserError, match=r"layers.py and assignment.py both define relu"):
            module_text(declared("mistakes", layers=f"{LAYERS}\nrelu = 1\n"))

    def test_all_names_of_a_module_may_be_imported(self, declared):
        text = SECRETS.replace("import layers", "from layers import *\nfrom math import *")
        text = text.replace("layers.GRADIENTS", "GRADIENTS").replace('"Two"', "f'{ceil(1.5)}'")
        made = module_text(declared("mistakes", text))
        assert "def squares(x):" in made and "UNUSED" not in made

    def test_a_package_is_refused_with_file_and_line(self, declared):
        folder = declared("mistakes", SECRETS.replace("import layers", "from more import layers"))
        (folder / "more").mkdir()
        (folder / "more/__init__.py").write_text("")
        (folder / "layers.py").rename(folder / "more/layers.py")
        (folder / "layers.py").write_text(LAYERS)
        with pytest.raises(UserError, match=r"assignment.py, line 3: more is a package, and only"):
            module_text(folder)

    def test_data_come_along_if_they_are_small(self, declared):
        text = SECRETS.replace('"Two"', "TITLE").replace("SECRET =", READING + "SECRET =")
        folder = declared("mistakes", text)
        (folder / "title.txt").write_text("Two stages, " * 1000)
        made = module_text(folder)
        assert "unpacked('title.txt', TITLE_TXT)" in made
        assert len(made) < 3000
        (folder / "title.txt").write_text(os.urandom(900_000).hex())
        with pytest.raises(UserError, match=r"title.txt is too large to be handed out"):
            module_text(folder)

    @pytest.mark.slow
    def test_a_file_of_the_instructors_is_not_overwritten(self, declared):
        folder = declared("mistakes")
        (folder / "two_stages.py").write_text("mine = 1")
        (folder / "two-stages.ipynb").write_text("{}")
        said = backprop("release", "two-stages", cwd=folder, code=2)
        assert "is in the way of the module that is handed out" in said
        assert (folder / "two_stages.py").read_text() == "mine = 1"


SQUARE = """
square = stage("Square", "z[N K] -> a", lambda z: z * z)
ASSIGNMENT = assignment(TITLE, [relu, square], points=POINTS)
"""


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A course as `backprop new` makes it, with a second stage and a module, and released."""
    folder = tmp_path_factory.mktemp("new") / "course"
    backprop("new", folder, "--assignment", "relu-net", cwd=folder.parent)
    source = folder / "solutions" / "relu-net"
    (source / "words.py").write_text(f"TITLE = 'ReLU and square'\nPOINTS = {POINTS}\n")
    text = (source / "assignment.py").read_text().partition("ASSIGNMENT =")[0]
    text = text.replace("import torch\n", "import torch\nfrom words import POINTS, TITLE\n", 1)
    (source / "assignment.py").write_text(text + SQUARE)
    notebook = json.loads((source / "relu-net.ipynb").read_text())
    more = json.dumps(notebook["cells"][2:])
    for old, new in (("torch.relu(z)", "z * z"), ("g * (z > 0)", "g * 2 * z"), ("relu", "square")):
        more = more.replace(old, new)
    notebook["cells"] += json.loads(more.replace("ReLU", "Square"))
    (source / "relu-net.ipynb").write_text(json.dumps(notebook))
    backprop("release", cwd=folder)
    return folder


def hand_in(course, student):
    """Hands in what was released, with Square written and ReLU not; returns the folder."""
    folder = course / "submitted" / student / "relu-net"
    shutil.copytree(course / "assignments" / "relu-net", folder)
    solved = json.loads((course / "solutions/relu-net/relu-net.ipynb").read_text())
    handed = json.loads((folder / "relu-net.ipynb").read_text())
    (square,) = (cell for cell in solved["cells"] if cell["id"] == "square")
    handed["cells"] = [square if cell["id"] == "square" else cell for cell in handed["cells"]]
    (folder / "relu-net.ipynb").write_text(json.dumps(handed))
    return folder


def marks_in(notebook):
    """Runs a notebook where it lies; the sum of what its check cells return."""
    command = ["nbconvert", "--to", "notebook", "--execute", "--inplace", notebook.name]
    subprocess.run(
        [sys.executable, "-m", *command], cwd=notebook.parent, check=True, capture_output=True
    )
    cells = json.loads(notebook.read_text())["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", ())]
    return sum(float("".join(each["data"]["text/plain"])) for each in outputs if "data" in each)


GRADE = ("grade", "submitted", "--assignment", "relu-net", "--out", "out")


def files_in(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


POINTS = dict.fromkeys(("forward", "precision", "purity", "memory", "layout"), 1.0)
RELEASED = ["assignment.toml", "relu-net.ipynb", "relu_net.py"]


@pytest.mark.slow
class TestHandout:
    def test_students_get_one_module_beside_the_notebook(self, course):
        assert files_in(course / "assignments" / "relu-net") == RELEASED
        text = (course / "assignments/relu-net/relu-net.ipynb").read_text()
        assert "from relu_net import check" in text
        assert "SOLUTION" not in text

    @pytest.mark.proof
    def test_a_student_checks_with_it_and_without_the_course(self, course, tmp_path):
        shutil.copytree(course / "assignments/relu-net", tmp_path / "mine")
        said = backprop("check", "relu-net.ipynb", cwd=tmp_path / "mine", code=1)
        assert "0 of 10 points" in said
        assert "NotImplementedError" in said or "still to be written" in said
        assert backprop("check", "mine", cwd=tmp_path, code=1).startswith("0 of 10")
        solved = course / "solutions/relu-net/relu-net.ipynb"
        shutil.copyfile(solved, tmp_path / "mine/relu-net.ipynb")
        assert "10 of 10 points" in backprop("check", "mine/relu-net.ipynb", cwd=tmp_path)

    def test_the_notebook_runs_beside_it(self, course, tmp_path):
        for name in ("relu-net.ipynb", "relu_net.py"):
            shutil.copyfile(course / "solutions/relu-net" / name, tmp_path / name)
        assert marks_in(tmp_path / "relu-net.ipynb") == pytest.approx(10)

    @pytest.mark.proof
    def test_the_notebook_runs_alone_where_the_module_is_in_it(self, course, tmp_path):
        shutil.copytree(course / "solutions", tmp_path / "course/solutions")
        backprop("release", "relu-net", "--embed", cwd=tmp_path / "course")
        folder = hand_in(tmp_path / "course", "alice")
        (folder / "relu_net.py").unlink()
        backprop(*GRADE, cwd=tmp_path / "course")
        (line,) = (tmp_path / "course/out/results.jsonl").read_text().splitlines()
        assert json.loads(line)["score"] == 5
        assert json.loads(line)["advice"] == []
        assert marks_in(folder / "relu-net.ipynb") == pytest.approx(5)

    @pytest.mark.proof
    @pytest.mark.parametrize("config", ["ours", "stock"])
    def test_nbgrader_hands_out_and_marks_it(self, course, tmp_path, config):
        shutil.copytree(course, tmp_path / "course")
        course = tmp_path / "course"
        shutil.rmtree(course / "assignments")
        if config == "stock":
            (course / "nbgrader_config.py").write_text(STOCK)
        nbgrader("generate_assignment", "relu-net", cwd=course)
        assert files_in(course / "assignments") == RELEASED
        hand_in(course, "alice")
        # A declaration of a student's own has no effect.
        (course / "submitted/alice/relu-net/assignment.py").write_text("raise SystemExit")
        nbgrader("autograde", "relu-net", cwd=course)
        assert "assignment.py" not in files_in(course / "autograded")
        assert "words.py" not in files_in(course / "autograded")
        nbgrader("export", cwd=course)
        with (course / "grades.csv").open() as file:
            (row,) = csv.DictReader(file)
        whole, half = float(row["max_score"]), float(row["score"])
        assert whole == pytest.approx(10)
        assert 0 < half < whole

    @pytest.mark.proof
    def test_grade_takes_the_folders_as_nbgrader_has_them(self, course, tmp_path):
        shutil.copytree(course, tmp_path / "course")
        folder = hand_in(tmp_path / "course", "alice")
        (folder / "relu_net.py").write_text(
            (folder / "relu_net.py").read_text() + "\nraise SystemExit\n"
        )
        backprop(*GRADE, cwd=tmp_path / "course")
        (line,) = (tmp_path / "course/out/results.jsonl").read_text().splitlines()
        result = json.loads(line)
        assert result["status"] == "graded"
        passed = {each["stage"] for each in result["checks"] if each["outcome"] == "passed"}
        assert passed - {None} == {"Square"}
        assert not any("relu_net" in each["text"] for each in result["advice"])


@pytest.mark.slow
class TestNew:
    def test_a_course_is_made_and_nothing_overwritten(self, tmp_path):
        said = backprop("new", "course", cwd=tmp_path)
        # The notebook and the settings of each chapter, and nbgrader's configuration.
        assert said.count("Wrote") == 2 * len(SHIPPED) + 1
        (tmp_path / "course/nbgrader_config.py").write_text("c = get_config()\n")
        said = backprop("new", "course", cwd=tmp_path)
        assert "Wrote" not in said
        assert "nbgrader_config.py is yours, and stays as it is" in said
        assert (tmp_path / "course/nbgrader_config.py").read_text() == "c = get_config()\n"

    def test_an_assignment_that_is_there_is_left_alone(self, tmp_path):
        backprop("new", ".", "--assignment", "mine", cwd=tmp_path)
        said = backprop("new", ".", "--assignment", "mine", cwd=tmp_path, code=2)
        assert "solutions/mine is there already; nothing was written." in said

    @pytest.mark.proof
    def test_the_module_of_one_word_hides_no_other(self, tmp_path):
        """Neither a package, nor what a student hands in under the assignment's own name."""
        backprop("new", ".", "--assignment", "attention", cwd=tmp_path)
        backprop("release", "attention", cwd=tmp_path)
        handout = tmp_path / "assignments/attention"
        assert "attention_assignment.py" in files_in(handout)
        solved = json.loads((tmp_path / "solutions/attention/attention.ipynb").read_text())
        code = ["".join(each["source"]) for each in solved["cells"] if each["cell_type"] == "code"]
        (handout / "attention.py").write_text("\n".join(code[:-1]))
        assert "from attention_assignment import check" in code[0]
        assert "10 of 10 points" in backprop("check", "attention.py", cwd=handout)
        (handout / "attention.py").write_text("\n".join([code[0].rpartition("\n")[0], *code[1:-1]]))
        assert "10 of 10 points" in backprop("check", "attention.py", cwd=handout)

    @pytest.mark.proof
    def test_a_course_in_nbgraders_own_layout_keeps_it(self, tmp_path):
        nbgrader("quickstart", "course", cwd=tmp_path)
        course = tmp_path / "course"
        before = (course / "nbgrader_config.py").read_bytes()
        backprop("new", course, cwd=tmp_path)
        backprop("new", course, "--assignment", "mine", cwd=tmp_path)
        assert (course / "nbgrader_config.py").read_bytes() == before
        assert not (course / "solutions").exists()
        backprop("release", "mine", cwd=course)
        assert "mine_assignment.py" in files_in(course / "release" / "mine")


@pytest.mark.slow
def test_a_released_module_declares_the_same(course):
    made = load_assignment("relu-net", course / "assignments/relu-net/relu_net.py")
    assert made.title == "ReLU and square"
    assert [stage.name for stage in made.stages] == ["ReLU", "Square"]


@pytest.mark.proof
def test_the_guide_leads_from_an_empty_folder_to_marks(tmp_path):
    """Runs every command of its first section as it is written."""
    text = GUIDE.read_text(encoding="utf-8").partition("## From an empty folder to marks\n")[2]
    section = text.partition("\n## ")[0]
    (declaration,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    where = tmp_path
    for command in re.findall(r"^ {4}(\S.*)$", re.sub(r"(?s)```.*?```", "", section), re.MULTILINE):
        program, *arguments = command.split()
        if program == "cd":
            where = where / arguments[0]
        elif program == "backprop":
            if arguments[0] == "grade":
                (where / "handed-in").mkdir()
                solution = where / "solutions/rectifier/rectifier.ipynb"
                shutil.copyfile(solution, where / "handed-in/alice.ipynb")
            backprop(*arguments, cwd=where)
        if arguments[-2:] == ["--assignment", "rectifier"]:
            (where / "solutions/rectifier/assignment.py").write_text(declaration)
    assert "alice,graded,10" in (where / "marks/grades.csv").read_text()


@pytest.mark.proof
def test_the_guide_leads_to_marks_for_a_pair(tmp_path):
    """Runs every command of its worked example, and hands in what it shows, once with a mistake."""
    text = GUIDE.read_text(encoding="utf-8").partition("#### A pair, step by step\n")[2]
    section = text.partition("\n### ")[0]
    declaration, answer = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    first, call = re.findall(r"`(backprop new .*?|check\(.*?)`", section)
    backprop("new", "course", cwd=tmp_path)
    course = tmp_path / "course"
    backprop(*first.split()[1:], cwd=course)
    folder = course / "solutions/affine"
    (folder / "assignment.py").write_text(declaration)
    notebook = json.loads((folder / "affine.ipynb").read_text())
    cells = {cell["id"]: cell for cell in notebook["cells"]}
    cells["relu"]["source"] = answer
    cells["check-relu"]["source"] = call
    (folder / "affine.ipynb").write_text(json.dumps(notebook))
    (course / "handed-in").mkdir()
    right = (folder / "affine.ipynb").read_text()
    (course / "handed-in/alice.ipynb").write_text(right)
    (course / "handed-in/bob.ipynb").write_text(right.replace("(x, w)", "(2 * x, w)"))
    bare = re.sub(r"(?s)```.*?```", "", section)
    for command in re.findall(r"^ {4}(backprop .*)$", bare, re.MULTILINE):
        backprop(*command.split()[1:], cwd=course)
    marks = (course / "marks/grades.csv").read_text()
    assert "alice,graded,10" in marks and "bob,graded,10" not in marks
    released = (course / "assignments/affine/affine_assignment.py").read_text()
    handout = (course / "assignments/affine/affine.ipynb").read_text()
    assert "x @ w" not in released + handout and "x.T" not in released + handout
    assert handout.count("raise NotImplementedError") == 2
