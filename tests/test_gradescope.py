"""Gradescope's autograder: the zip, unpacked and run in Gradescope's layout."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.meter import Command, measure
from grading.exports.gradescope import autograder_zip, gradescope_results, requirements
from grading.sandbox import can_fork
from grading.workers.seeds import LARGEST, keyed_seed
from tests.breakage import break_decoding
from tests.home_replies import replaying
from tests.test_exports import CLASS

PROJECT = Path(__file__).resolve().parent.parent
SCHEMA = json.loads((Path(__file__).parent / "formats" / "gradescope.json").read_text())
CLASSES = Path(__file__).parent / "sample_class" / "many-neurons" / "submissions"
LOOP = "import torch\nclass Sigmoid(torch.autograd.Function):\n    while True: pass\n"
DEATH = "import os\nos._exit(0)\n"


@pytest.mark.parametrize("each", CLASS[:3], ids=lambda each: each.submission)
def test_results_fit_the_schema(each):
    made = gradescope_results(each)
    jsonschema.validate(made, SCHEMA)
    assert made["score"] == each.score
    assert sum(test["score"] for test in made["tests"]) == made["score"]
    assert "STAFF" not in json.dumps(made)


def test_no_gradebook_is_installed_and_torch_is():
    names = " ".join(requirements())
    assert "torch" in names and "msgspec" in names and "pyseccomp" in names
    assert "nbgrader" not in names and "pytest" not in names and "jupyterlab" not in names


def test_the_log_of_the_build_says_what_can_be_locked():
    with zipfile.ZipFile(io.BytesIO(autograder_zip("many-neurons", None, None, "s"))) as file:
        setup = file.read("setup.sh").decode()
    assert "grading.cli doctor ||" in setup and "are not locked down in this image" in setup
    subprocess.run(["bash", "-n"], input=setup.encode(), check=True)


def secret_in(data):
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        return file.read("seed.key").decode()


def test_each_zip_has_a_secret_of_its_own_and_is_made_again_from_it(tmp_path):
    made = []
    (tmp_path / "solutions").mkdir()
    for name in ("first.zip", "second.zip"):
        command = [sys.executable, "-m", "grading.cli", "export", "gradescope", "one-neuron"]
        done = subprocess.run(
            [*command, "--out", name],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(PROJECT)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert "the declared settings of one-neuron are used." in done.stderr
        assert "It contains the secret" in " ".join(done.stdout.split())
        made.append((tmp_path / name).read_bytes())
    first, second = map(secret_in, made)
    assert len(bytes.fromhex(first)) == 32 and first != second
    assert autograder_zip("one-neuron", None, None, first) == made[0] != made[1]


@pytest.mark.slow
@given(st.binary(min_size=1, max_size=64), st.text(max_size=64), st.text(max_size=64))
def test_a_seed_follows_from_the_secret_and_the_files_together(secret, one, other):
    seed = keyed_seed(secret, one)
    assert 0 <= seed <= LARGEST and seed == keyed_seed(secret, one)
    assert (seed == keyed_seed(secret, other)) == (one == other)
    assert seed != keyed_seed(secret + b"!", one)


def test_the_packages_of_the_assignment_are_installed(tmp_path):
    settings = tmp_path / "assignment.toml"
    settings.write_text('assignment = "many-neurons"\npackages = ["scipy"]\n')
    data = autograder_zip("many-neurons", settings, None, "a secret of the course's")
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        assert " 'scipy'\n" in file.read("setup.sh").decode()


def unpacked(base, settings=None, assignment="many-neurons"):
    """Gradescope's layout: the zip in source/, and run_autograder beside it."""
    data = base / "autograder.zip"
    data.write_bytes(autograder_zip(assignment, settings, None, "a secret of the course's"))
    with zipfile.ZipFile(data) as file:
        for info in file.infolist():
            path = Path(file.extract(info, base / "source"))
            path.chmod(info.external_attr >> 16)
    (base / "source" / "run_autograder").rename(base / "run_autograder")
    (base / "submission").mkdir()
    (base / "results").mkdir()
    return base


def with_python():
    """A PATH with the interpreter that has what setup.sh installs, and none of this checkout."""
    return f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def graded(base):
    """What results.json holds after a run, or None where there is none."""
    return graded_saying(base)[0]


def run(base):
    environment = {**os.environ, "PATH": with_python()}
    return subprocess.run(
        [base / "run_autograder"], cwd="/", env=environment, capture_output=True, check=False
    )


def graded_saying(base):
    """The same, and what the run printed."""
    done = run(base)
    results = base / "results" / "results.json"
    if not results.exists():
        assert done.returncode != 0
        return None, ""
    assert done.returncode == 0, done.stderr
    found = json.loads(results.read_text(encoding="utf-8"))
    jsonschema.validate(found, SCHEMA)
    return found, done.stdout.decode()


@pytest.mark.slow
@pytest.mark.skipif(not can_fork(), reason="Gradescope runs Linux")
class TestInGradescopesLayout:
    """Each run takes seconds, as on Gradescope; those that make less of a difference are proofs."""

    def test_a_right_submission_gets_full_marks(self, tmp_path):
        base = unpacked(tmp_path)
        code = (CLASSES / "right-type-hints.py").read_bytes()
        (base / "submission" / "work.py").write_bytes(code)
        found = graded(base)
        assert found["score"] == 10
        assert {test["status"] for test in found["tests"]} == {"passed"}

    @pytest.mark.proof
    def test_one_that_eats_memory_gets_its_mark_within_what_gradescope_gives(self, tmp_path):
        base = unpacked(tmp_path)
        eats = "\nkept = []\nwhile True: kept.append(bytearray(10**7))\n"
        code = (CLASSES / "right-type-hints.py").read_text() + eats
        (base / "submission" / "work.py").write_text(code)
        command = Command([str(base / "run_autograder")], "/", {"PATH": with_python()})
        used = measure([command], tmp_path / "log", sample_seconds=0.05)
        found = json.loads((base / "results" / "results.json").read_text(encoding="utf-8"))
        assert used.codes == [0] and found["score"] == 10
        assert max(used.pss) < 768 * 10**6 / 2**20

    def test_a_wrong_one_reads_what_it_wrote_at_the_level_of_the_settings(self, tmp_path):
        settings = tmp_path / "assignment.toml"
        settings.write_text('assignment = "many-neurons"\nfeedback = "where"\n')
        base = unpacked(tmp_path, settings)
        code = (CLASSES / "wrong-z-for-a.ipynb").read_bytes()
        (base / "submission" / "work.ipynb").write_bytes(code)
        found = graded(base)
        assert 0 < found["score"] < 10
        said = [test["output"] for test in found["tests"] if test["status"] == "failed"]
        assert "Sigmoid.backward: ∂C/∂z is wrong." in said
        assert not any("behaves like" in text for text in said)

    @pytest.mark.parametrize(
        ("files", "said"),
        [
            ({}, "There is no .py or .ipynb file."),
            pytest.param({"work.py": "def f(:\n"}, "SyntaxError", marks=pytest.mark.proof),
        ],
    )
    def test_what_cannot_be_used_gets_a_result_with_a_reason(self, tmp_path, files, said):
        base = unpacked(tmp_path)
        for name, text in files.items():
            (base / "submission" / name).write_text(text)
        found = graded(base)
        assert found["score"] == 0 and found["tests"] == []
        assert said in found["output"]

    def test_where_several_files_could_be_meant_there_is_no_mark_and_the_log_says_why(
        self, tmp_path
    ):
        base = unpacked(tmp_path)
        for name in ("a.py", "b.py"):
            (base / "submission" / name).write_text(f"class {name[0]}: ...\n")
        done = run(base)
        assert done.returncode == 1 and not (base / "results" / "results.json").exists()
        said = done.stderr.decode()
        assert "a.py" in said and "b.py" in said and "There is no mark" in said

    @pytest.mark.parametrize("text", [pytest.param(LOOP, marks=pytest.mark.proof), DEATH])
    def test_one_that_loops_or_dies_gets_a_result_too(self, tmp_path, text):
        base = unpacked(tmp_path)
        (base / "submission" / "work.py").write_text(text)
        found = graded(base)
        assert found["score"] == 0 and (found["output"] or found["tests"])

    @pytest.mark.proof
    def test_staff_are_told_where_nothing_can_be_locked(self, tmp_path):
        base = unpacked(tmp_path)
        (base / "submission" / "work.py").write_text("x = 1\n")
        python = base / "source" / "packages" / "grading" / "sandbox" / "__init__.py"
        with python.open("a") as file:
            file.write('\nLEVELS = ("minimal",)\n')
        found, said = graded_saying(base)
        assert "isolation: minimal" in said and found["stdout_visibility"] == "hidden"
        assert "minimal" not in json.dumps(found)

    def test_replies_recorded_at_home_earn_nothing(self, tmp_path):
        base = unpacked(tmp_path, assignment="one-neuron")
        (base / "submission" / "work.py").write_text(replaying(0), encoding="utf-8")
        assert graded(base)["score"] == 0

    def test_a_grader_that_does_not_work_gives_no_mark_and_says_so(self, tmp_path):
        base = unpacked(tmp_path)
        (base / "submission" / "work.py").write_bytes(
            (CLASSES / "right-type-hints.py").read_bytes()
        )
        break_decoding(base / "source" / "packages")
        done = run(base)
        assert done.returncode == 1 and not (base / "results" / "results.json").exists()
        said = done.stderr.decode()
        assert "The grader does not work on this machine" in said and "Traceback" not in said
        assert "There is no mark: run the autograder again." in said

    def test_a_fault_of_the_grader_is_no_zero(self, tmp_path):
        base = unpacked(tmp_path)
        (base / "source" / "assignment.toml").write_text("assignment = 7")
        assert graded(base) is None
