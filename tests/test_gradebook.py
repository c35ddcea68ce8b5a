"""Marks in nbgrader's gradebook: real gradebooks, real servers, and more than one at a time."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from itertools import count
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nbgrader.api import Gradebook
from sqlalchemy import create_engine, inspect, text

from grading.nbgrader.gradebook import cell_name, export_marks
from grading.results.lines import Given, Overridden, as_marked, publish, shares
from harness.errors import UserError
from tests.postgres import postgresql
from tests.test_exports import RUN, check, result

# Tests ask for what the module makes once by its name, which conftest.py cannot see.
pytestmark = [pytest.mark.xdist_group("test_gradebook"), pytest.mark.slow]
COURSE = Path(__file__).parents[1]
STAGES = ("WeightedSum", "Sigmoid", "SquaredError")
WORKS = ["a/forward", "a/gradient/z", "b/gradient/y", "training"]
numbers = count()


def checks(*points):
    """Four checks worth 2.5 each, with these points."""
    return [
        replace(
            check(id=id, stage=None if id == "training" else id[0]), points=worth, max_points=2.5
        )
        for id, worth in zip(WORKS, points, strict=True)
    ]


ALICE = result("alice", *checks(2.5, 0, 2.5, 1))
BOB = result("bob", *checks(0, 0, 0, 0))
EVE = result("eve", status="unreadable", reason="The file is empty.")
MALLORY = result("mallory", status="grader_error", reason="The grader failed.")


@pytest.fixture(scope="module")
def server():
    with postgresql() as folder:
        yield folder


def database(server, template="template1"):
    """The address of a new database on the server."""
    import psycopg2

    name = f"course{next(numbers)}"
    connection = psycopg2.connect(host=str(server), user="grader", dbname="postgres")
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    connection.close()
    return name, f"postgresql+psycopg2://grader@/{name}?host={server}"


def make(url):
    """A gradebook as nbgrader makes it, which calls alembic by its name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
        Gradebook(url).close()


@pytest.fixture(scope="module")
def empty_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("empty") / "gradebook.db"
    make(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="module")
def empty_database(server):
    name, url = database(server)
    make(url)
    return name


KINDS = ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)]
on_both = pytest.mark.parametrize("url", KINDS, indirect=True)


@pytest.fixture
def url(request, tmp_path):
    """The address of an empty gradebook of either kind; making one takes nbgrader seconds."""
    if getattr(request, "param", "sqlite") == "postgresql":
        template = request.getfixturevalue("empty_database")
        return database(request.getfixturevalue("server"), template)[1]
    shutil.copy(request.getfixturevalue("empty_file"), tmp_path / "gradebook.db")
    return f"sqlite:///{tmp_path / 'gradebook.db'}"


def contents(url):
    """All that the gradebook holds of marks, as plain data."""
    with Gradebook(url) as book:
        students = sorted(student.id for student in book.students)
        grades = {
            (submission.student.id, grade.name): (
                grade.auto_score,
                grade.manual_score,
                grade.extra_credit,
                grade.needs_manual_grade,
            )
            for assignment in book.assignments
            for submission in assignment.submissions
            for notebook in submission.notebooks
            for grade in notebook.grades
        }
        cells = {
            cell.name: cell.max_score
            for assignment in book.assignments
            for notebook in assignment.notebooks
            for cell in notebook.grade_cells
        }
        scores = {
            submission.student.id: submission.score
            for assignment in book.assignments
            for submission in assignment.submissions
        }
    return students, cells, grades, scores


def export(url, *results, missing=()):
    return export_marks(url, results, missing, course_id="default_course")


@on_both
def test_marks_arrive_twice_with_the_same_outcome(url):
    written = export(url, ALICE, BOB, EVE, MALLORY, missing=["zoe"])
    first = contents(url)
    students, cells, grades, scores = first
    assert students == ["alice", "bob", "eve", "mallory", "zoe"]
    assert cells == {cell_name(id): 2.5 for id in WORKS}
    assert scores == {"alice": 6.0, "bob": 0.0, "eve": 0.0, "mallory": 0.0}
    assert grades["alice", "a-gradient-z"] == (0.0, None, None, False)
    assert grades["eve", "training"] == (0.0, None, None, False)
    assert grades["mallory", "training"] == (None, None, None, True)
    assert written.open == ["mallory"] and written.students == 5
    export(url, ALICE, BOB, EVE, MALLORY, missing=["zoe"])
    assert contents(url) == first


@on_both
def test_what_a_person_graded_stays_and_is_to_be_looked_at_when_the_mark_moves(url):
    export(url, ALICE)
    with Gradebook(url) as book:
        first = book.find_grade("training", "many-neurons", "many-neurons", "alice")
        first.manual_score, first.needs_manual_grade = 2.0, False
        book.find_grade("a-forward", "many-neurons", "many-neurons", "alice").extra_credit = 0.5
        book.db.commit()
    written = export(url, ALICE)
    _, _, grades, scores = contents(url)
    assert grades["alice", "training"] == (1.0, 2.0, None, False)
    assert grades["alice", "a-forward"] == (2.5, None, 0.5, False)
    assert scores["alice"] == 7.5 and written.by_hand == ["alice"]
    export(url, result("alice", *checks(2.5, 0, 2.5, 2.5)))
    _, _, grades, scores = contents(url)
    assert grades["alice", "training"] == (2.5, 2.0, None, True)
    assert grades["alice", "a-forward"] == (2.5, None, 0.5, False)


@on_both
def test_an_instructors_mark_is_the_sum_of_the_cells(url):
    whole = Overridden(8.0, Given(8.0, "said in person"))
    overridden = [msgspec.structs.replace(each, override=whole) for each in (ALICE, EVE, MALLORY)]
    export(url, *map(as_marked, overridden))
    _, _, grades, scores = contents(url)
    assert scores == {"alice": 8.0, "eve": 8.0, "mallory": 8.0}
    assert grades["mallory", "training"] == (2.0, None, None, False)


BY_HAND = """
import pathlib, sys, time
from nbgrader.api import Gradebook
from sqlalchemy import create_engine, text
url = sys.argv[1]
engine = create_engine(url)
# nbgrader itself cannot open a new gradebook twice at the same moment: both add the course.
def is_made():
    if url.startswith("sqlite") and not pathlib.Path(url.removeprefix("sqlite:///")).exists():
        return False
    try:
        with engine.connect() as other:
            return other.execute(text("SELECT count(*) FROM course")).scalar() > 0
    except Exception:
        return False
while not is_made():
    time.sleep(0.02)
engine.dispose()
for who in range(6):
    while True:
        try:
            with Gradebook(url) as book:
                names = ("training", "many-neurons", "many-neurons", f"both-{who}")
                grade = book.find_grade(*names)
                grade.manual_score, grade.needs_manual_grade = 2.25, False
                grade.extra_credit = 0.25
                book.db.commit()
            break
        except Exception:
            time.sleep(0.05)
"""


def many(half):
    """Six submissions of one grader's own, and six that the other grader has too."""
    points = {"first": (2.5, 0, 2.5, 0), "second": (0, 2.5, 0, 2.5)}[half]
    own = [result(f"{half}-{number}", *checks(*points)) for number in range(6)]
    return own + [result(f"both-{number}", *checks(*points)) for number in range(6)]


@pytest.mark.proof
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_graders_at_once_lose_nothing_and_mix_nothing(kind, request, tmp_path):
    url = f"sqlite:///{tmp_path / 'new.db'}"
    if kind == "postgresql":
        _, url = database(request.getfixturevalue("server"))
    commands = [["-c", BY_HAND, url]]
    for half in ("first", "second"):
        (tmp_path / half).mkdir()
        publish(tmp_path / half, many(half), {**RUN, "missing": ["zoe"]})
        export = ["-m", "grading.cli", "export", "nbgrader", str(tmp_path / half), "--db", url]
        commands.append(export)
    # alembic, which makes a gradebook, is found beside this Python.
    environment = {**os.environ, "PYTHONPATH": str(COURSE), "PATH": "/nowhere"}
    processes = [
        subprocess.Popen(
            [sys.executable, *command],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for command in commands
    ]
    for process in processes:
        told, said = process.communicate(timeout=300)
        assert process.returncode == 0 and not said, said
        assert process is processes[0] or told.startswith("13 students are in the gradebook.\n")
    students, cells, grades, _ = contents(url)
    assert len(students) == 19 and len(cells) == 4 and len(grades) == 18 * 4
    students.remove("zoe")
    for student in students:
        marks = [grades[student, cell_name(id)] for id in WORKS]
        halves = {"first": [2.5, 0, 2.5, 0], "second": [0, 2.5, 0, 2.5]}
        half = student.split("-")[0]
        allowed = [halves[half]] if half in halves else list(halves.values())
        assert [mark[0] for mark in marks] in allowed
        if half == "both":
            assert marks[3][1:3] == (2.25, 0.25)


@on_both
def test_who_waits_for_another_writer_then_sees_what_that_one_wrote(url):
    export(url, ALICE)
    engine = create_engine(url)
    with engine.connect() as other:
        other.execute(text("UPDATE submitted_assignment SET student_id = student_id"))
        other.execute(text("UPDATE grade SET auto_score = 0.5"))
        waiting = threading.Thread(target=export, args=(url, ALICE))
        waiting.start()
        # Long enough for an export that did not wait to have read what is about to change.
        waiting.join(timeout=2.0)
        other.commit()
    waiting.join()
    engine.dispose()
    assert contents(url)[3] == {"alice": 6.0}


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """A gradebook that nbgrader has filled from the course's own notebook."""
    course = tmp_path_factory.mktemp("course")
    shutil.copytree(COURSE / "solutions" / "many-neurons", course / "solutions" / "many-neurons")
    (course / "nbgrader_config.py").write_text(
        "c = get_config()\nc.CourseDirectory.source_directory = 'solutions'\n"
        "c.CourseDirectory.release_directory = 'assignments'\n"
    )
    scripts = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(
        [sys.executable, "-m", "nbgrader", "generate_assignment", "many-neurons"],
        cwd=course,
        env={**os.environ, "PATH": scripts},
        capture_output=True,
        check=True,
    )
    return course / "gradebook.db"


def full_marks():
    from harness.course.assignments import load_assignment
    from harness.course.settings import Settings
    from harness.probes import plan

    return [
        replace(
            check(id=each.id, stage=each.stage), points=each.max_points, max_points=each.max_points
        )
        for each in plan(load_assignment("many-neurons"), Settings())
    ]


@pytest.mark.slow
def test_marks_go_to_the_check_cells_of_the_released_notebook(released, tmp_path):
    shutil.copy(released, tmp_path / "gradebook.db")
    url = f"sqlite:///{tmp_path / 'gradebook.db'}"
    before = contents(url)[1]
    everything = full_marks()
    half = [replace(each, points=0.0) if each.stage == "Sigmoid" else each for each in everything]
    export(url, result("alice", *everything), result("bob", *half))
    _, cells, grades, scores = contents(url)
    assert cells == before == pytest.approx(cells)
    assert set(cells) == {"check-squared-error", "check-sigmoid", "check-weighted-sum", "train"}
    assert scores["alice"] == pytest.approx(10.0)
    assert grades["bob", "check-sigmoid"][0] == 0.0
    assert scores["bob"] == pytest.approx(10.0 - cells["check-sigmoid"])


@pytest.mark.slow
def test_points_that_changed_since_the_release_are_changed_in_the_gradebook_and_said(
    released, tmp_path
):
    shutil.copy(released, tmp_path / "gradebook.db")
    url = f"sqlite:///{tmp_path / 'gradebook.db'}"
    doubled = [
        replace(each, points=2 * each.points, max_points=2 * each.max_points)
        for each in full_marks()
    ]
    written = export(url, result("alice", *doubled))
    assert len(written.notes) == 4 and "is worth" in written.notes[0]
    assert sum(contents(url)[1].values()) == pytest.approx(20.0)


@pytest.mark.slow
def test_a_notebook_that_lacks_a_check_is_refused_and_nothing_written(released, tmp_path):
    shutil.copy(released, tmp_path / "gradebook.db")
    url = f"sqlite:///{tmp_path / 'gradebook.db'}"
    extra = check(id="relu/gradient/z", stage="ReLU")
    with pytest.raises(UserError, match="no cell for the check relu/gradient/z"):
        export(url, result("alice", *full_marks(), extra))
    assert contents(url)[0] == []


def test_checks_that_are_gone_would_stay_in_the_sums_and_are_refused(url):
    export(url, ALICE)
    fewer = result("alice", *ALICE.checks[:3])
    with pytest.raises(UserError, match="such as training"):
        export(url, fewer)


def test_a_check_that_is_new_gets_a_cell_for_everybody(url):
    export(url, result("alice", *ALICE.checks[:3]), result("bob", *BOB.checks[:3]))
    export(url, ALICE)
    _, cells, grades, scores = contents(url)
    assert set(cells) == {cell_name(id) for id in WORKS}
    assert scores["alice"] == 6.0 and grades["alice", "training"][0] == 1.0


def schema(url):
    """The tables of a gradebook, the version of their layout, and the courses."""
    engine = create_engine(url)
    with engine.connect() as connection:
        tables = sorted(inspect(connection).get_table_names())
        version = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        courses = [row.id for row in connection.execute(text("SELECT id FROM course"))]
    engine.dispose()
    return tables, version, courses


def test_a_new_gradebook_is_what_nbgrader_makes_and_needs_no_program_for_it(
    empty_file, tmp_path, monkeypatch
):
    monkeypatch.setenv("PATH", "/nowhere")
    export(f"sqlite:///{tmp_path / 'gradebook.db'}", ALICE)
    assert schema(f"sqlite:///{tmp_path / 'gradebook.db'}") == schema(f"sqlite:///{empty_file}")


KILLED = """
import os, signal, sys
from alembic.runtime.migration import MigrationContext
from grading.cli import main
MigrationContext.stamp = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
sys.argv[1:] = ["export", "nbgrader", sys.argv[1], "--db", sys.argv[2]]
main()
"""


@pytest.mark.parametrize("kind", KINDS)
def test_an_export_that_is_killed_while_it_makes_a_gradebook_leaves_none(kind, request, tmp_path):
    url = f"sqlite:///{tmp_path / 'gradebook.db'}"
    if kind == "postgresql":
        _, url = database(request.getfixturevalue("server"))
    publish(tmp_path, [ALICE], RUN)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), url], cwd=COURSE, check=False
    )
    assert killed.returncode == -9
    engine = create_engine(url)
    assert inspect(engine).get_table_names() == []
    engine.dispose()
    export(url, ALICE)
    assert contents(url)[3] == {"alice": 6.0}
    assert schema(url)[2] == ["default_course"]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("gradebook.db", "is not the URL of a SQLite or PostgreSQL"),
        ("sqlite://", "names no file"),
        ("sqlite:///nowhere/gradebook.db", "there is no folder nowhere"),
        ("sqlite:///rubbish", "cannot be used"),
    ],
)
def test_what_cannot_be_used_is_said_in_a_sentence(tmp_path, monkeypatch, url, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rubbish").write_text("no database " * 100)
    with pytest.raises(UserError, match=said):
        export(url, ALICE)
    assert [path.name for path in tmp_path.iterdir()] == ["rubbish"]


def test_a_server_that_is_not_there_is_named_without_its_password():
    with pytest.raises(UserError, match="cannot be used") as refused:
        export("postgresql://me:secret@/course?host=/nowhere", ALICE)
    assert "secret" not in str(refused.value)
    with pytest.raises(UserError, match="mysql") as refused:
        export("mysql://me:secret@host/course", ALICE)
    assert "secret" not in str(refused.value)


@given(
    st.floats(0, 100),
    st.lists(st.floats(0, 10), min_size=1, max_size=40),
)
def test_shares_add_up_to_the_whole(total, weights):
    assert sum(shares(total, weights)) == pytest.approx(total, abs=1e-6)
