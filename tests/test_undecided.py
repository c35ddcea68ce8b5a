"""A mark that the instructor has to decide on is open, wherever results are shown or exported."""

from __future__ import annotations

import io
import json
from pathlib import Path

import jsonschema
import pytest
from msgspec import UNSET, structs
from rich.console import Console

from grading.exports.classroom import classroom_report
from grading.exports.junit import junit
from grading.exports.marks import moodle
from grading.exports.pseudonyms import pseudonymous
from grading.pages.overview import Overview
from grading.pages.staff import staff_page
from grading.pages.student import student_page
from grading.results.lines import decode_result, encode_result, publish
from grading.results.record import Run, find_record
from grading.runs.overrides import override
from grading.runs.preview import print_moves
from grading.runs.run import Options, grade_folder
from grading.runs.summary import Counts, print_summary
from grading.submissions.reading import Submission
from grading.workers.grader import grade_submission
from harness.course.assignments import load_assignment
from harness.course.settings import Settings
from harness.errors import UserError
from tests.test_exports import RUN
from tests.test_gradebook import ALICE
from tests.test_resume import FakeGrader, in_place, submit

MANY = "many-neurons"
WHY = "There are 21 attempts and at most 20 are graded: keep those that count."


@pytest.fixture(scope="module")
def dora():
    """The result of a submission that the instructor has to decide on. No child is needed."""
    it = Submission("dora", "d1" * 32, reason=WHY, undecided=True)
    graded = grade_submission(it, load_assignment(MANY), Settings(), 0, None)  # type: ignore[arg-type]
    return graded.result


def test_it_is_open_in_a_line_of_the_schema(dora):
    assert (dora.status, dora.score, dora.mark, dora.reason) == ("undecided", None, None, WHY)
    line = json.loads(encode_result(dora))
    path = Path(__file__).parent / "formats" / "results.json"
    jsonschema.validate(line, json.loads(path.read_text(encoding="utf-8")))
    assert decode_result(encode_result(dora)) == dora


def test_pages_say_that_it_is_open_and_what_there_is_to_decide(dora):
    student = student_page(dora, Settings())
    assert "Your mark is still open." in student and WHY in student and "0 of" not in student
    staff = staff_page(dora, Path("out"))
    assert "The mark is open until you decide." in staff and WHY in staff
    overview = Overview(Run(MANY, 1, Settings(), {}))
    overview.add(dora)
    page = overview.page("title", [])
    assert "marks are open until you decide" in page and "no usable code</strong>" not in page


def test_the_summary_and_a_preview_tell_it_from_a_fault_of_the_grader(dora):
    text = io.StringIO()
    console = Console(file=text, width=300)
    print_summary(console, [dora], Path("out"), Counts(1, 0, 0))
    zero = structs.replace(dora, status="unreadable", score=0.0)
    print_moves(console, ([zero], {}), ([dora], {}))
    said = text.getvalue()
    assert (
        "You have to decide what counts for 1 submission: dora." in said
        and "grader itself" not in said
    )
    assert "0 → open" in said and "unreadable → undecided" in said


def test_exports_leave_the_mark_blank_and_name_the_reason(dora, tmp_path):
    publish(tmp_path, [dora], RUN)
    row = (tmp_path / "grades.csv").read_text(encoding="utf-8").splitlines()[1]
    assert row.startswith("dora,undecided,,10,") and WHY in row
    xml = b"".join(junit([dora]))
    assert b"<error" in xml and WHY.encode() in xml
    assert classroom_report(dora)["status"] == "error"
    assert "dora" not in moodle([dora], "HW")
    assert json.loads(b"".join(pseudonymous([dora], b"s" * 32)))["score"] is None


def test_there_is_nothing_to_replay(dora, tmp_path):
    publish(tmp_path, [dora], RUN)
    with pytest.raises(UserError, match="The mark of dora is open: There are 21 attempts"):
        find_record(tmp_path, "dora", tmp_path, [])


@pytest.mark.slow
def test_a_run_ends_with_1_until_the_instructor_has_decided(dora, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    submit(tmp_path / "in", alice="1")

    class Undecided(FakeGrader):
        def result(self, entry, job):
            return structs.replace(dora, submission=entry.name, override=UNSET)

    in_place(monkeypatch, Undecided())

    def complete():
        return grade_folder(Path("in"), MANY, Path("out"), Options())

    assert not complete() and not complete()
    override(Path("out"), "alice", None, 7.0, "the latest of her attempts")
    assert complete()
    (line,) = Path("out", "results.jsonl").read_bytes().splitlines()
    assert decode_result(line).mark == 7.0


def test_the_gradebook_leaves_it_to_a_person(dora, tmp_path):
    pytest.importorskip("nbgrader")
    from grading.nbgrader.gradebook import export_marks

    url = f"sqlite:///{tmp_path / 'gradebook.db'}"
    written = export_marks(url, [ALICE, dora], [], course_id="course")
    assert written.open == ["dora"]
