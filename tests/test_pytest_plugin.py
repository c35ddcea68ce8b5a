"""`pytest --backprop-submission FILE`: what it collects, reports, and exits with."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

from tests.test_remote import HEAD, RIGHT, SIGMOID

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
WRONG = "".join(RIGHT).replace("g * a * (1 - a)", "g * (1 - a * a)")
SUBMISSION, ASSIGNMENT = "--backprop-submission", "--backprop-assignment"
SWITCH = "open('ran', 'w').close()\n"


def run(*arguments, cwd, plugins=(), options=()):
    """Runs pytest with the plugin, whether or not the installed package registers it."""
    names = ("grading.selfcheck.pytest_plugin", *plugins)
    given = [part for name in names for part in ("-p", name)]
    return subprocess.run(
        [sys.executable, *options, "-m", "pytest", *given, *map(str, arguments)],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.fixture
def here(tmp_path, monkeypatch, capsys, zygote):
    """`run`, in this process and with a spawner that is warm."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    opened = "grading.selfcheck.pytest_checks.open_spawner"
    monkeypatch.setattr(opened, lambda **_wish: nullcontext(zygote))

    def run_here(*arguments):
        code = pytest.main(["-p", "grading.selfcheck.pytest_plugin", *arguments])
        said = capsys.readouterr()
        return SimpleNamespace(returncode=code, stdout=said.out, stderr=said.err)

    return run_here


@pytest.fixture
def wrong(tmp_path):
    """A folder with a wrong submission, whose code leaves a file behind when it is run here."""
    (tmp_path / "alice.py").write_text(SWITCH + WRONG)
    return tmp_path


def test_a_run_without_the_plugin_loads_nothing_of_it(tmp_path):
    (tmp_path / "test_x.py").write_text("def test_x(): pass")
    program = (
        "import pytest, sys\n"
        "code = pytest.main(['-p', 'grading.selfcheck.pytest_plugin', '-q'])\n"
        "print(code, [name for name in ('torch', 'click', 'rich', 'msgspec')"
        " if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "0 []"


def test_a_course_may_have_options_of_these_names_of_its_own(tmp_path):
    (tmp_path / "conftest.py").write_text(
        "def pytest_addoption(parser):\n"
        "    parser.addoption('--assignment')\n"
        "    parser.addoption('--submission')\n"
    )
    (tmp_path / "test_x.py").write_text(
        "def test_x(pytestconfig):\n    assert pytestconfig.getoption('--assignment') == 'hw1'\n"
    )
    done = run("--assignment", "hw1", "--submission", "x.py", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


class TestRun:
    def test_what_failed_is_told_in_the_students_words(self, wrong):
        done = run(SUBMISSION, "alice.py", "--junitxml", "report.xml", cwd=wrong)
        assert done.returncode == 1, done.stdout + done.stderr
        assert "sigmoid/gradient/z: backward returns ∂C/∂z" in done.stdout
        assert done.stdout.count("Sigmoid.backward: ∂C/∂z is wrong.") == 1
        assert "Traceback" not in done.stdout and "pytest_checks.py" not in done.stdout
        assert "6 of 10 points" in done.stdout
        assert "alice.py::sigmoid/gradient/z" in done.stdout
        assert not (wrong / "ran").exists()
        cases = {
            case.attrib["name"]: case
            for case in ElementTree.parse(wrong / "report.xml").getroot().iter("testcase")
        }
        facts = {
            each.attrib["name"]: each.attrib["value"]
            for each in cases["sigmoid/gradient/z"].iter("property")
        }
        assert facts == {"check": "sigmoid/gradient/z", "points": "0.0", "max_points": "1.5"}
        skipped = cases["training"].find("skipped")
        assert skipped is not None and skipped.attrib["message"].startswith("waits for whole chain")
        total = sum(
            float(each.attrib["value"])
            for case in cases.values()
            for each in case.iter("property")
            if each.attrib["name"] == "points"
        )
        assert total == pytest.approx(6)

    def test_without_tracebacks_a_failure_is_told_once_too(self, wrong, here):
        named = "alice.py::sigmoid/gradient/z"
        done = here(SUBMISSION, "alice.py", named, "--tb=no", "-rN")
        assert done.stdout.count("Sigmoid.backward: ∂C/∂z is wrong.") == 1

    def test_right_work_passes(self, tmp_path, here):
        (tmp_path / "alice.py").write_text("".join(RIGHT))
        done = here(SUBMISSION, "alice.py")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "10 of 10 points" in done.stdout

    def test_chosen_checks_are_made_and_no_others(self, wrong, here):
        (wrong / "test_mine.py").write_text("def test_mine(): pass")
        done = here(SUBMISSION, "alice.py", "-k", "purity", "-rs")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "collected 32 items / 29 deselected / 3 selected" in done.stdout
        assert "0.1 of 0.15 points (29 of 32 checks not selected)" in done.stdout
        lines = (wrong / "alice.py").read_text().splitlines()
        line = next(at for at, text in enumerate(lines, start=1) if "class Sigmoid" in text)
        assert f"alice.py:{line}: waits for ∂C/∂z of Sigmoid" in done.stdout
        named = ("alice.py::sigmoid/forward", "test_mine.py")
        done = here(SUBMISSION, "alice.py", *named, "-p", "no:cacheprovider", "-v")
        assert "test_mine.py::test_mine PASSED" in done.stdout
        assert "1 passed, 1 skipped" in done.stdout

    def test_it_stops_at_the_first_failure_where_it_is_told_to(self, wrong, here):
        done = here(SUBMISSION, "alice.py", "-x")
        assert done.returncode == 1
        assert "1 failed" in done.stdout and "checks not selected" in done.stdout

    @pytest.mark.proof
    def test_workers_side_by_side_say_the_same(self, wrong):
        text = (wrong / "alice.py").read_text() + "\nraise ValueError('odd')\n"
        (wrong / "alice.py").write_text(text)
        arguments = (SUBMISSION, "alice.py", "-n", "2")
        done = run(*arguments, cwd=wrong, plugins=["xdist"])
        assert done.returncode == 1, done.stdout + done.stderr
        assert "6 of 10 points" in done.stdout
        # What comes from a worker is plain text, which pytest's short summary repeats.
        assert 1 <= done.stdout.count("Sigmoid.backward: ∂C/∂z is wrong. In the example") <= 2
        assert done.stdout.count("raised ValueError: odd") == 1

    @pytest.mark.proof
    def test_code_that_does_not_parse_is_refused_and_fails_every_check_of_a_worker(
        self, tmp_path, here
    ):
        (tmp_path / "many-neurons.py").write_text("x = 1\ndef f(:\n")
        done = here(SUBMISSION, "many-neurons.py")
        assert done.returncode == 4, done.stdout + done.stderr
        assert "many-neurons.py: SyntaxError at line 2" in done.stdout
        named = [f"many-neurons.py::sigmoid/{each}" for each in ("forward", "gradient/z")]
        arguments = (SUBMISSION, "many-neurons.py", *named, "-n", "1", "-q")
        done = run(*arguments, cwd=tmp_path, plugins=["xdist"])
        assert done.returncode == 1, done.stdout + done.stderr
        assert "many-neurons.py: SyntaxError at line 2" in done.stdout
        assert "2 failed in" in done.stdout

    def test_a_folder_or_a_zip_that_holds_one_file_will_do(self, tmp_path, here):
        (tmp_path / "alice" / "many-neurons").mkdir(parents=True)
        (tmp_path / "alice" / "many-neurons" / "work.py").write_text(HEAD + SIGMOID)
        (tmp_path / "alice" / "conftest.py.txt").write_text(SWITCH)
        done = here(SUBMISSION, "alice", "-k", "sigmoid/gradient")
        assert done.returncode == 0, done.stdout + done.stderr
        with zipfile.ZipFile(tmp_path / "bob.zip", "w") as archive:
            archive.writestr("work.py", HEAD + SIGMOID)
        done = here(SUBMISSION, "bob.zip", "-k", "sigmoid/gradient")
        assert done.returncode == 0, done.stdout + done.stderr

    def test_what_lies_beside_the_file_is_not_imported(self, tmp_path, here):
        (tmp_path / "alice").mkdir()
        (tmp_path / "alice" / "work.py").write_text(SWITCH + HEAD + SIGMOID)
        (tmp_path / "alice" / "conftest.py").write_text(SWITCH)
        (tmp_path / "alice" / "test_it.py").write_text(SWITCH)
        done = here(SUBMISSION, "alice/work.py", "-k", "sigmoid/gradient")
        assert done.returncode == 0, done.stdout + done.stderr
        assert not (tmp_path / "ran").exists()


class TestCollection:
    def test_checks_are_listed_without_running_anything(self, wrong, here):
        done = here(SUBMISSION, "alice.py", "--collect-only", "-q")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "alice.py::sigmoid/gradient/z" in done.stdout and "32 tests" in done.stdout
        done = here(SUBMISSION, "alice.py", "--collect-only")
        assert "<Check sigmoid/gradient/z: backward returns ∂C/∂z>" in done.stdout
        assert not (wrong / "ran").exists()

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ((SUBMISSION, "none.py"), "none.py does not exist."),
            ((SUBMISSION, "mine.txt"), "mine.txt is not a .py file or a notebook"),
            (
                (SUBMISSION, "mine.py"),
                "add --backprop-assignment one-neuron or --backprop",
            ),
            (
                (SUBMISSION, "mine.py", ASSIGNMENT, "x"),
                "There is no assignment x",
            ),
            ((ASSIGNMENT, "one-neuron"), "--backprop-submission FILE"),
        ],
    )
    def test_an_unusable_call_is_refused_in_a_sentence_before_torch_is_loaded(
        self, tmp_path, arguments, said
    ):
        (tmp_path / "mine.txt").write_text("x")
        (tmp_path / "mine.py").write_text("x = 1")
        done = run(*arguments, cwd=tmp_path, options=("-X", "importtime"))
        lines = done.stderr.splitlines()
        assert done.returncode == 4, done.stdout + done.stderr
        assert said in done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr
        assert not any("torch" in line for line in lines if line.startswith("import time:"))

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (
                (SUBMISSION, "many-neurons.py"),
                "many-neurons.py: SyntaxError at line 1",
            ),
            (
                (SUBMISSION, "alice.py", "alice.py::sigmoid/gradient/x"),
                "There is no check sigmoid/gradient/x. Did you mean sigmoid/gradient/z?",
            ),
            ((SUBMISSION, "points/alice.py"), "Did you mean training?"),
        ],
    )
    def test_what_only_the_checks_can_tell_is_refused_too(self, wrong, here, arguments, said):
        (wrong / "many-neurons.py").write_text("def f(:")
        (wrong / "points").mkdir()
        (wrong / "points" / "alice.py").write_text(WRONG)
        settings = 'assignment = "many-neurons"\n[points]\ntrainng = 1\n'
        (wrong / "points" / "assignment.toml").write_text(settings)
        done = here(*arguments)
        assert done.returncode == 4, done.stdout + done.stderr
        assert said in done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr
