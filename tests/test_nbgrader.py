"""The real nbgrader, from nothing to marks, with a class that has attackers in its middle."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

pytest.importorskip("nbgrader")

from nbgrader.api import Gradebook
from nbgrader.converters import Autograde, GenerateAssignment
from nbgrader.converters.base import NbGraderException
from nbgrader.coursedir import CourseDirectory
from nbgrader.utils import get_username
from traitlets.config import Config

from grading.nbgrader import plugin as nbgrader_plugin
from grading.results.record import read_results
from grading.sandbox import LOCKED
from grading.sandbox.zygote import Zygote
from grading.workers.seeds import kept_seed
from tests import nbgrader_course
from tests.breakage import break_decoding
from tests.home_replies import replaying
from tests.nbgrader_class import ORDINARY
from tests.nbgrader_course import NAME, SETTINGS, Course, Nbgrader
from tests.users import PROJECT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux locks processes down"),
]
CHECKS = ["check-squared-error", "check-sigmoid", "check-weighted-sum", "train"]
HOSTILE = ("dave", "erin", "frank", "grace", "heidi", "ivan", "judy", "mallory")


@pytest.fixture(scope="module")
def nbgrader(tmp_path_factory):
    made = Nbgrader(tmp_path_factory.mktemp("home"))
    yield made
    made.close()


@pytest.fixture(autouse=True)
def workplace():
    """Each test opens a place for students' processes of its own, if it needs one."""
    yield
    nbgrader_plugin.leave()


@pytest.fixture(scope="module")
def course(tmp_path_factory, nbgrader):
    """The course after every command of the guide."""
    return nbgrader_course.taken_through(tmp_path_factory.mktemp("nbgrader"), nbgrader)


@pytest.fixture(scope="module")
def results(course):
    """What `backprop grade` says of what was handed in."""
    said = course.run(f"backprop grade submitted --assignment {NAME} --out ../marks")
    assert said.code == 0, said.text
    return {each.submission: each for each in read_results(course.folder.parent / "marks")}


@pytest.fixture(scope="module")
def late():
    """Who handed in through the exchange, long after the date."""
    return get_username()


def checked(notebook):
    """The check cells of a notebook, in the order of their ids in the handout."""
    cells = {
        cell["metadata"].get("nbgrader", {}).get("grade_id"): cell for cell in notebook["cells"]
    }
    return [cells[id] for id in CHECKS]


def copied(course, folder, *students):
    """The course with some of its students only, to do other things to it."""
    shutil.copytree(course.folder, folder, ignore=shutil.ignore_patterns("submitted", "feedback"))
    for student in students:
        shutil.copytree(course.folder / "submitted" / student, folder / "submitted" / student)
    return Course(folder, course.student, course.nbgrader)


def converter(kind, folder, student="*", **options):
    """One of nbgrader's steps in this process, as its command would take it."""
    config = Config()
    nbgrader_plugin.configure(config, options.pop("isolation", None))
    config.CourseDirectory.root = str(folder)
    config.CourseDirectory.assignment_id = NAME
    config.CourseDirectory.student_id = student
    config.merge(Config(options))
    return kind(coursedir=CourseDirectory(config=config), config=config)


@pytest.fixture
def bare(tmp_path):
    """A course that has its sources and no more."""
    shutil.copytree(PROJECT / "solutions" / NAME, tmp_path / "solutions" / NAME)
    return tmp_path


# The documented way


def test_every_command_of_the_guide_works_as_written(course):
    assert [said.command for said in course.said if said.code] == []
    steps = {said.command.split()[1] for said in course.said if said.command.startswith("nbgrader")}
    assert steps >= {"generate_assignment", "validate", "submit", "collect", "zip_collect"}


def test_commands_that_neither_release_nor_grade_do_without_torch():
    code = "import sys, grading.nbgrader.plugin; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_marks_are_those_of_backprop_grade_and_every_student_has_a_line(course, results, late):
    assert sorted(results) == sorted([*ORDINARY, *HOSTILE, late])
    for student, result in results.items():
        scores = course.scores(student)
        assert sum(scores[id] for id in CHECKS) == pytest.approx(result.score, abs=1e-9), student
    lines = (course.folder / "grades.csv").read_text().splitlines()[1:]
    assert sorted(line.split(",")[3] for line in lines) == sorted(results)


def test_ordinary_marks_are_unmoved_by_attackers_in_the_middle_of_the_class(course):
    for student, score in ORDINARY.items():
        assert sum(course.scores(student)[id] for id in CHECKS) == pytest.approx(score)
    assert [course.scores("bob")[id] for id in CHECKS] == [2.2, 0.0, 3.6, pytest.approx(0.2)]


def test_the_students_own_validation_says_whether_all_passes(course):
    (said,) = (said for said in course.said if "validate" in said.command)
    assert "Success! Your notebook passes all the tests." in said.text


def test_feedback_goes_back_through_the_exchange(course, late):
    said = course.run(f"nbgrader release_feedback {NAME} --student {late}")
    assert said.code == 0, said.text
    released = course.folder.parent / "exchange" / "backprop" / "feedback"
    assert len(list(released.glob("*.html"))) == 1


# nbgrader's traps


def test_warnings_and_words_on_stderr_cost_nothing(course):
    assert [course.scores("judy")[id] for id in CHECKS] == [2.2, 2.1, 3.6, 2.1]
    outputs = [
        out
        for cell in course.notebook("autograded", "judy")["cells"]
        for out in cell.get("outputs", [])
    ]
    assert {out["output_type"] for out in outputs} == {"execute_result"}


def test_each_check_cell_says_a_plain_float_whatever_the_student_makes_of_check(course, results):
    for student in results:
        for cell in checked(course.notebook("autograded", student)):
            (output,) = cell["outputs"]
            text = "".join(output["data"]["text/plain"])
            assert re.fullmatch(r"\d+\.\d+", text), (student, text)
    assert sum(course.scores("erin").values()) == 0.0


def test_deleted_check_cells_are_added_and_marked(course):
    assert [course.scores("ivan")[id] for id in CHECKS] == [2.2, 2.1, 3.6, 2.1]


def test_duplicated_and_retyped_cells_and_changed_points_and_ids_are_put_right(course):
    assert [course.scores("heidi")[id] for id in CHECKS] == [2.2, 2.1, 3.6, 2.1]
    source = {"".join(cell["source"]) for cell in checked(course.notebook("autograded", "heidi"))}
    assert source == {"".join(cell["source"]) for cell in checked(course.notebook("assignments"))}


def test_an_unreadable_notebook_gets_nothing_and_its_reason(course, results):
    assert results["grace"].status == "unreadable"
    assert list(course.scores("grace").values()) == [0.0] * 5
    assert "The notebook is damaged" in course.feedback("grace")


def test_the_gradebook_is_out_of_a_students_reach(course, results):
    assert results["dave"].score == 10.0
    for said in ("RuntimeError", "through"):
        assert said not in " ".join(advice.text for advice in results["dave"].advice)
    with Gradebook(f"sqlite:///{course.gradebook}") as gradebook:
        found = gradebook.find_submission_notebook(NAME, NAME, "dave")
        assert {grade.manual_score for grade in found.grades} == {None}


def test_feedback_hides_what_is_for_staff(course, results):
    hidden = [
        (student, check.staff)
        for student, result in results.items()
        for check in result.checks
        if check.staff and check.staff not in check.message
    ]
    assert len(hidden) > 3
    assert [each for each in hidden if each[1] in course.feedback(each[0])] == []
    wrong = next(check for check in results["bob"].checks if check.id == "sigmoid/gradient/z")
    assert wrong.diagnosis.expected not in course.feedback("bob")


def test_feedback_names_no_path_of_this_machine(course, results):
    for student in results.keys() - {"dave"}:  # who wrote them himself
        html = course.feedback(student)
        assert not [path for path in (course.folder, PROJECT, sys.prefix) if str(path) in html]


def test_feedback_says_which_formula_the_student_wrote(course):
    html = course.feedback("bob")
    assert "0 of 2.1 points" in html
    assert "behaves like" in html


def test_what_a_student_writes_does_not_act_in_a_graders_browser(course):
    html = course.feedback("mallory")
    assert "markup" in html
    assert 'alert("markup")</script>' not in html
    assert "javascript:alert" not in html
    assert 'class="mermaid"' not in html
    assert not re.search(r"<img[^>]*onerror", html)


def test_what_a_students_link_points_to_is_not_handed_out_with_the_feedback(course, tmp_path):
    other = copied(course, tmp_path / "course", "alice")
    link = other.folder / "submitted" / "alice" / NAME / "notes.txt"
    link.symlink_to(other.folder / "solutions" / NAME / f"{NAME}.ipynb")
    converter(Autograde, other.folder, BaseConverter={"force": True}).start()
    copies = other.folder / "autograded" / "alice" / NAME
    assert {path.name for path in copies.iterdir()} == {
        f"{NAME}.ipynb",
        "assignment.toml",
        "timestamp.txt",
    }


def test_alembic_is_found_where_the_path_has_none(course):
    assert "venv" not in course.nbgrader.environment["PATH"]
    assert shutil.which("alembic", path=course.nbgrader.environment["PATH"]) is None
    with Gradebook(f"sqlite:///{course.gradebook}") as gradebook:
        assert gradebook.find_assignment(NAME).max_score == 12.0


@pytest.mark.parametrize("name", ["answers.py", "data/notes.txt"])
def test_generate_assignment_refuses_what_it_would_hand_out_as_it_is(bare, name):
    leak = bare / "solutions" / NAME / name
    leak.parent.mkdir(exist_ok=True)
    leak.write_text("x = 1")
    with pytest.raises(NbGraderException, match="would be handed out unchanged"):
        converter(GenerateAssignment, bare).start()
    assert not (bare / "assignments").exists()


def test_generate_assignment_hands_out_no_hidden_file(course, tmp_path):
    other = copied(course, tmp_path / "course")
    (other.folder / "solutions" / NAME / ".answers.py").write_text("x = 1")
    converter(GenerateAssignment, other.folder, BaseConverter={"force": True}).start()
    made = {path.name for path in (other.folder / "assignments" / NAME).iterdir()}
    assert made == {f"{NAME}.ipynb", "assignment.toml"}
    assert other.notebook("assignments") == course.notebook("assignments")


def test_force_deletes_no_file_that_was_written_by_hand(bare):
    notes = bare / "assignments" / NAME / "README.md"
    notes.parent.mkdir(parents=True)
    notes.write_text("mine")
    force = {"GenerateAssignment": {"force": True}}
    with pytest.raises(NbGraderException, match=r"README\.md is not made from"):
        converter(GenerateAssignment, bare, **force).start()
    assert notes.read_text() == "mine"


# What stops a whole run, and what stops one submission


def test_a_machine_that_cannot_lock_submissions_down_stops_with_one_sentence(
    course, tmp_path, monkeypatch
):
    other = copied(course, tmp_path / "course", "alice")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NbGraderException, match=r"cannot isolate submissions .*backprop doctor"):
        converter(Autograde, other.folder, isolation="full").start()
    assert (other.folder / "autograded" / "alice").is_dir()


def test_a_run_without_locks_has_to_be_asked_for_and_says_so(course, tmp_path, caplog):
    other = copied(course, tmp_path / "course", "alice")
    converter(Autograde, other.folder, isolation="minimal").start()
    assert "submissions are NOT isolated" in caplog.text
    assert "including the gradebook" in caplog.text


def test_no_execute_is_refused_because_it_would_give_everyone_full_marks(course, tmp_path):
    other = copied(course, tmp_path / "course", "carol")
    with pytest.raises(NbGraderException, match="--no-execute would give everyone full marks"):
        converter(Autograde, other.folder, Execute={"enabled": False}).start()


def test_an_assignment_of_another_kind_is_refused(course, tmp_path):
    other = copied(course, tmp_path / "course", "carol")
    (other.folder / "solutions" / NAME / "assignment.toml").write_text('assignment = "ps1"')
    with pytest.raises(NbGraderException, match="not an assignment of this harness"):
        converter(Autograde, other.folder).start()


def test_a_fault_of_the_graders_own_is_no_zero_and_the_others_go_on(course, tmp_path, monkeypatch):
    other = copied(course, tmp_path / "course", "alice", "bob", "zoe")
    shutil.rmtree(other.folder / "autograded")
    with Gradebook(f"sqlite:///{other.gradebook}") as gradebook:
        for student in ("alice", "bob", "zoe"):
            gradebook.remove_submission(NAME, student)
    python = sys.executable

    def break_down(notebooks, **_):
        """For alice it can be had again, for bob it cannot, and for zoe it works again."""
        if "/zoe/" not in notebooks[0]:
            spawner = nbgrader_plugin.place(LOCKED, ())
            assert isinstance(spawner, Zygote) and spawner._warm
            spawner._warm._process.kill()
        monkeypatch.setattr(sys, "executable", "/bin/false" if "/bob/" in notebooks[0] else python)

    steps = converter(Autograde, other.folder, Autograde={"pre_convert_hook": break_down})
    with pytest.raises(NbGraderException):
        steps.start()
    assert sum(other.scores("alice")[id] for id in CHECKS) == pytest.approx(10.0)
    assert sum(other.scores("zoe")[id] for id in CHECKS) == pytest.approx(ORDINARY["zoe"])
    assert set(other.scores("bob").values()) == {None}
    graded = (other.folder / "autograded").glob("*/*/*.ipynb")
    assert sorted(path.parts[-3] for path in graded) == ["alice", "zoe"]
    with Gradebook(f"sqlite:///{other.gradebook}") as gradebook:
        assert gradebook.find_submission(NAME, "bob").needs_manual_grade


# The seed of hidden inputs


def total(course, student):
    return sum(course.scores(student)[id] for id in CHECKS)


def test_replies_recorded_at_home_earn_nothing(course, tmp_path):
    other = copied(course, tmp_path / "course", "alice")
    path = other.folder / "submitted" / "alice" / NAME / f"{NAME}.ipynb"
    notebook = json.loads(path.read_text(encoding="utf-8"))
    cell = {"cell_type": "code", "metadata": dict[str, str](), "outputs": list[str]()}
    notebook["cells"].append(cell | {"source": replaying(0), "execution_count": None})
    path.write_text(json.dumps(notebook), encoding="utf-8")
    force = {"BaseConverter": {"force": True}}
    converter(Autograde, other.folder, JudgeBehindWall={"seed": 0}, **force).start()
    assert total(other, "alice") == pytest.approx(10)
    converter(Autograde, other.folder, **force).start()
    assert total(other, "alice") == 0


def test_a_course_keeps_one_seed_which_never_leaves_its_folder(course, tmp_path):
    kept = course.folder / nbgrader_plugin.SEED
    assert kept.stat().st_mode & 0o777 == 0o600
    found = list(course.folder.parent.rglob(nbgrader_plugin.SEED))
    assert found == [kept]
    text = str(kept_seed(kept)).encode()
    files = filter(Path.is_file, course.folder.parent.rglob("*"))
    assert [path for path in files if text in path.read_bytes()] == [kept]
    other = copied(course, tmp_path / "course", "alice")
    converter(Autograde, other.folder, BaseConverter={"force": True}).start()
    assert kept_seed(other.folder / nbgrader_plugin.SEED) == kept_seed(kept)


def test_a_seed_that_cannot_be_had_stops_with_one_sentence(course, tmp_path):
    other = copied(course, tmp_path / "course", "alice")
    kept = other.folder / nbgrader_plugin.SEED
    kept.write_text("seven")
    with pytest.raises(NbGraderException, match="seed is damaged: it must hold one whole number"):
        converter(Autograde, other.folder).start()
    kept.unlink()
    kept.mkdir()
    told = r"cannot be read or written: Is a directory.*everyone who grades"
    with pytest.raises(NbGraderException, match=told):
        converter(Autograde, other.folder).start()


def test_a_grader_that_does_not_work_gives_no_marks_and_says_so(course, tmp_path):
    other = copied(course, tmp_path / "course", "alice")
    break_decoding(tmp_path / "broken")
    path = os.pathsep.join([str(tmp_path / "broken"), str(PROJECT)])
    before = other.scores("alice")
    done = subprocess.run(
        [sys.executable, "-m", "nbgrader", "autograde", NAME, "--force"],
        cwd=other.folder,
        env=other.nbgrader.environment | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "The grader does not work on this machine" in done.stderr
    assert other.scores("alice") == before


# What people set by hand


def test_a_late_penalty_is_taken_off(course, late):
    with Gradebook(f"sqlite:///{course.gradebook}") as gradebook:
        submission = gradebook.find_submission(NAME, late)
        (notebook,) = submission.notebooks
        assert notebook.late_submission_penalty == 1.0
        assert (
            gradebook.find_submission_notebook(NAME, NAME, "alice").late_submission_penalty is None
        )


def test_manual_marks_and_extra_credit_survive_new_points_and_another_autograde(course, tmp_path):
    other = copied(course, tmp_path / "course", "alice")
    with Gradebook(f"sqlite:///{other.gradebook}") as gradebook:
        answer = gradebook.find_grade("reflection", NAME, NAME, "alice")
        assert answer.needs_manual_grade
        answer.manual_score, answer.needs_manual_grade = 1.5, False
        gradebook.find_grade("train", NAME, NAME, "alice").extra_credit = 0.5
        gradebook.db.commit()
    settings = other.folder / "solutions" / NAME / "assignment.toml"
    settings.write_text(SETTINGS + '[points]\n"sigmoid/gradient/z" = 4.5\n')
    force = {"BaseConverter": {"force": True}}
    with pytest.raises(NbGraderException, match="run nbgrader generate_assignment --force first"):
        converter(Autograde, other.folder, "alice", **force).start()
    converter(GenerateAssignment, other.folder, **force).start()
    converter(Autograde, other.folder, "alice", **force).start()
    assert other.scores("alice")["check-sigmoid"] == 5.1
    with Gradebook(f"sqlite:///{other.gradebook}") as gradebook:
        submission = gradebook.find_submission(NAME, "alice")
        assert submission.score == pytest.approx(13.0 + 1.5 + 0.5)
        assert submission.max_score == pytest.approx(15.0)


# Beside the plugin


def test_stock_nbgrader_gives_the_same_marks_and_says_that_they_are_not_to_be_trusted(
    course, tmp_path
):
    other = copied(course, tmp_path / "course", "bob")
    path = other.folder / "nbgrader_config.py"
    stock = "c = get_config()\n" + "".join(
        f'c.CourseDirectory.{name} = "{value}"\n'
        for name, value in (("source_directory", "solutions"), ("release_directory", "assignments"))
    )
    path.write_text(stock)
    said = other.run(f"nbgrader autograde {NAME} --student bob --force")
    assert said.code == 0, said.text
    assert other.scores("bob") == pytest.approx(course.scores("bob"))
    for cell in checked(other.notebook("autograded", "bob")):
        html = "".join(cell["outputs"][-1]["data"]["text/html"])
        assert "the submission's own process" in html
    assert "the submission's own process" not in course.feedback("bob")


@pytest.fixture(scope="module")
def server(course):
    """A Jupyter server in the course's folder, with nbgrader's extensions."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(16)
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "jupyter_server",
            "--no-browser",
            "--allow-root",
            f"--port={port}",
            f"--IdentityProvider.token={token}",
            "--ServerApp.port_retries=0",
        ],
        cwd=course.folder,
        env=course.nbgrader.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def ask(address, **form):
        data = urllib.parse.urlencode(form).encode() if form else None
        request = urllib.request.Request(f"http://127.0.0.1:{port}/{address}", data)
        request.add_header("Authorization", f"token {token}")
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.read().decode()

    try:
        for _ in range(600):
            try:
                ask("api")
                break
            except urllib.error.URLError:
                assert process.poll() is None
                time.sleep(0.2)
        yield ask
    finally:
        process.terminate()
        process.wait()


def test_formgrader_opens_graded_submissions_and_nothing_in_them_acts(course, server):
    pages = {}
    for submission in json.loads(server(f"formgrader/api/submitted_notebooks/{NAME}/{NAME}")):
        if submission["student"] in ("bob", "mallory"):
            pages[submission["student"]] = server(f"formgrader/submissions/{submission['id']}/")
    assert "behaves like" in pages["bob"]
    assert "check-sigmoid" in pages["bob"]
    assert 'alert("markup")</script>' not in pages["mallory"]
    assert "javascript:alert" not in pages["mallory"]


def test_the_validate_button_tells_a_stub_from_a_solution(course, server):
    said = json.loads(server("assignments/validate", path=f"assignments/{NAME}/{NAME}.ipynb"))
    assert said["success"]
    sources = ["".join(cell["source"]) for cell in checked(course.notebook("assignments"))]
    assert [cell["source"] for cell in said["value"]["failed"]] == [*sources, "YOUR ANSWER HERE"]
