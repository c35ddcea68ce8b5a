"""An instructor's week: who is missing, who tried twice, whose mark is another one, and why."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from grading.cli import main
from grading.exports.pseudonyms import SECRET, pseudonym, pseudonymous, secret_in
from grading.parsing.choosing import source_of
from grading.results.attempts import attempts_of, combined, counting, in_order
from grading.results.lines import (
    Given,
    Overridden,
    as_marked,
    decode_result,
    encode_result,
    publish,
)
from grading.results.record import find_record
from grading.runs.overrides import FILE, Override, Overrides, override, read_overrides
from grading.runs.preview import ROWS, Moves, changed, print_moves
from grading.runs.run import Options, grade_folder, preview_folder
from grading.submissions.intake import take_in
from grading.submissions.people import Person, Roster, read_roster
from grading.submissions.reading import Entry, digest, digest_of, read_submission
from harness.course.report import Advice, Flag
from harness.errors import UserError
from tests.test_exports import CLASS, check, result
from tests.test_resume import FakeGrader, in_place, submit

MANY = "many-neurons"


@pytest.fixture
def grader(monkeypatch):
    return in_place(monkeypatch, Grader())


class Grader(FakeGrader):
    """A mark is the length of the file, which may lie in a folder."""

    def result(self, entry, job):
        path = Path(entry.paths[0])
        inside = next(iter(sorted(path.rglob("*.py"))), path)
        made = super().result(Entry(entry.name, (str(inside),)), job)
        known = digest_of(entry, job.assignment) if made.digest else ""
        return msgspec.structs.replace(made, digest=known)


@pytest.fixture
def course(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    submit(tmp_path / "in", alice="1", bob="22", carol="333")
    return tmp_path


def grade(**wish):
    return grade_folder(Path("in"), MANY, Path("out"), Options(**wish))


def lines():
    text = Path("out", "results.jsonl").read_text(encoding="utf-8")
    return {line["submission"]: line for line in map(json.loads, text.splitlines())}


def table():
    with Path("out", "grades.csv").open(encoding="utf-8") as file:
        return {row["submission"]: row for row in csv.DictReader(file)}


def run_json():
    return json.loads(Path("out", "run.json").read_text(encoding="utf-8"))


CANVAS = """Student,ID,SIS User ID,SIS Login ID,Section,HW (1)
    Points Possible,,,,,10
"L, Alice",1,s1,alice,A,
"B, Bob",2,s2,bob,A,
"Z, Zoe",3,s3,zoe,A,
"""


class TestRoster:
    @pytest.fixture(autouse=True)
    def _course(self, course, grader):
        pass

    def test_who_handed_nothing_in_appears_without_a_mark_and_a_stranger_is_told(self, capsys):
        Path("class.csv").write_text("name,username\nAlice L,alice\nCarol M,carol\nZoe Z,zoe\n")
        assert grade(roster=Path("class.csv"))
        assert run_json()["missing"] == ["zoe"] and run_json()["not_on_roster"] == ["bob"]
        rows = table()
        assert list(rows) == ["alice", "bob", "carol", "zoe"]
        assert (rows["zoe"]["status"], rows["zoe"]["score"]) == ("missing", "")
        assert rows["bob"]["score"] == "2" and "zoe" not in lines()
        said = capsys.readouterr().out
        assert "No submission from 1 student on the roster: zoe." in said
        assert "1 submission not on the roster: bob." in said

    def test_the_missing_go_by_the_column_that_most_of_the_others_go_by(self):
        rows = "1,alice\n2,bob\n3,carol\n4,zoe\n"
        Path("class.csv").write_text(f"student_id,email\n{rows}")
        submit(Path("in"), **{"1": "1"})
        grade(roster=Path("class.csv"))
        assert run_json()["missing"] == ["zoe"]
        for name in ("alice", "bob"):
            Path("in", f"{name}.py").unlink()
        submit(Path("in"), **{"2": "1"})
        grade(roster=Path("class.csv"))
        assert run_json()["missing"] == ["4"]

    @pytest.mark.parametrize(
        ("text", "line"),
        [
            ('student\nalice\n"bob\ncarol\n', 3),
            ('student,group\nalice,"A" team\n', 2),
            ('"student\n' + "x" * 200_000, 1),
        ],
    )
    def test_a_stray_quotation_mark_is_refused_with_its_line(self, text, line):
        Path("class.csv").write_text(text)
        with pytest.raises(UserError, match=f"a stray quotation mark in line {line}"):
            read_roster(Path("class.csv"))

    @pytest.mark.slow
    def test_without_a_roster_nobody_is_missing(self):
        grade()
        assert "missing" not in run_json()

    @pytest.mark.parametrize(
        "text",
        [
            CANVAS,
            "id,first_name,last_name,email\nalice,A,L,a@x\nbob,B,B,b@x\nzoe,Z,Z,z@x\n",
            "Vorname;Nachname;Username;Email address\nA;L;alice;a@x\nB;B;bob;b@x\nZ;Z;zoe;z@x\n",
            "\ufeffstudent\r\nalice\r\nbob\r\nzoe\r\n",
            "Student\tid\nL\talice\nB\tbob\nZ\tzoe\n",
        ],
        ids=["canvas", "nbgrader", "moodle", "a list", "tabs"],
    )
    def test_tables_of_other_systems_are_read_as_they_are(self, text):
        Path("class.csv").write_text(text, encoding="utf-8")
        submit(Path("in"), mallory="1")
        Path("in", "carol.py").unlink()
        found = take_in(Path("in"), MANY, read_roster(Path("class.csv")))
        assert (found.missing, found.unknown) == (("zoe",), ("mallory",))

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("a,b\n1,2\n", "no column that identifies students"),
            ("", "no column that identifies students"),
            ("student\n", "has a header row but no students"),
            ("student\nzoe\nzoe\n", "has zoe more than once"),
        ],
    )
    def test_a_roster_that_names_nobody_is_refused_before_anything_is_graded(self, text, said):
        Path("class.csv").write_text(text)
        with pytest.raises(UserError, match=said):
            grade(roster=Path("class.csv"))
        assert not Path("out").exists()

    def test_a_name_that_two_share_is_nobodys(self):
        rows = [("1", "Ann"), ("2", "Ann"), ("3", "Bo")]
        people = [Person(int(id), {"id": (id,), "name": (name,)}) for id, name in rows]
        assert Roster(people).find_any("Ann") is None
        assert Roster(people).find_any("Bo") is people[2]

    def test_a_name_is_found_however_its_accents_and_capitals_are_written(self):
        people = [Person(1, {"name": ("Zo\u00eb",)}), Person(2, {"name": ("Jose\u0301",)})]
        assert Roster(people).find_any("zoe\u0308") is people[0]
        assert Roster(people).find_any("Jos\u00e9") is people[1]

    def test_two_submissions_of_one_student_are_left_open(self):
        Path("class.csv").write_text("login,name\nalice,Ann\nbob,Bo\n")
        submit(Path("in"), Ann="1")
        found = take_in(Path("in"), MANY, read_roster(Path("class.csv")))
        why = "Ann and alice are both alice's: keep one."
        assert {each.name: each.undecided for each in found.entries} == {
            "Ann": why,
            "alice": why,
            "bob": "",
            "carol": "",
        }


@pytest.mark.parametrize(
    ("names", "ordered"),
    [
        (["attempt-10", "attempt-9"], ["attempt-9", "attempt-10"]),
        (["Attempt 2", "attempt_1"], ["attempt_1", "Attempt 2"]),
        (["2025-10-02", "2025-09-30"], ["2025-09-30", "2025-10-02"]),
        (
            ["2025-10-01 12:00:00.5 UTC", "2025-10-01 12:00:00.25 UTC"],
            ["2025-10-01 12:00:00.25 UTC", "2025-10-01 12:00:00.5 UTC"],
        ),
        (
            ["2025-10-01T12:00:00+02:00", "2025-10-01T11:00:00Z"],
            ["2025-10-01T12:00:00+02:00", "2025-10-01T11:00:00Z"],
        ),
        (["2025-10-01_12-30", "2025-10-01_12-29"], ["2025-10-01_12-29", "2025-10-01_12-30"]),
        (["attempt-1"], []),  # one is none of several
        (["attempt-1", "attempt-01"], []),  # the same
        (["attempt-1", "2025-10-01"], []),  # of two kinds
        (["attempt-1", "notes"], []),
        (["attempt-1", "attempt-2-final"], []),
        (["2025-10-01", "2025-13-01"], []),  # no date
        (["2025-10-01T12:00Z", "2025-10-01T13:00"], []),  # with and without a zone
    ],
)
def test_attempts_are_told_by_their_names_or_not_at_all(names, ordered):
    assert in_order(names) == in_order(names[::-1]) == ordered


@given(st.lists(st.datetimes(min_value=datetime(1000, 1, 1)), min_size=2, max_size=20, unique=True))
def test_dated_attempts_are_in_the_order_of_time(moments):
    names = [moment.strftime("%Y-%m-%d %H:%M:%S.%f") for moment in moments]
    assert in_order(names) == [
        moment.strftime("%Y-%m-%d %H:%M:%S.%f") for moment in sorted(moments)
    ]


class TestAttempts:
    @pytest.fixture(autouse=True)
    def _course(self, course, grader):
        self.grader = grader
        for name, text in (("attempt-1", "55555"), ("attempt-2", "999999999"), ("attempt-3", "22")):
            folder = course / "in" / "dora" / name
            folder.mkdir(parents=True)
            (folder / "work.py").write_text(text)

    def set(self, rule):
        folder = Path("solutions", MANY)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "assignment.toml").write_text(f'assignment = "{MANY}"\nattempts = "{rule}"\n')

    def test_the_latest_counts_and_the_others_are_on_record(self):
        assert grade()
        dora = lines()["dora"]
        assert dora["score"] == 2.0 and table()["dora"]["attempt"] == "attempt-3"
        shown = [(each["attempt"], each["score"], each["counts"]) for each in dora["attempts"]]
        assert shown == [
            ("attempt-1", 5.0, False),
            ("attempt-2", 9.0, False),
            ("attempt-3", 2.0, True),
        ]
        assert dora["digest"] == dora["attempts"][2]["digest"]
        assert "attempts" not in lines()["alice"] and len(lines()) == 4

    def test_the_best_counts_where_the_settings_say_so_and_nothing_is_graded_again(self):
        grade()
        self.grader.graded.clear()
        self.set("best")
        grade()
        assert lines()["dora"]["score"] == 9.0 and table()["dora"]["attempt"] == "attempt-2"
        assert self.grader.graded == []

    def test_one_more_attempt_is_all_that_is_graded(self, course):
        grade()
        self.grader.graded.clear()
        (course / "in" / "dora" / "attempt-4").mkdir()
        (course / "in" / "dora" / "attempt-4" / "work.py").write_text("4444")
        grade()
        assert self.grader.graded == ["dora/attempt-4"] and lines()["dora"]["score"] == 4.0

    def test_only_takes_all_attempts_of_a_student(self):
        grade(only=["dora"])
        assert len(self.grader.graded) == 3 and list(lines()) == ["dora"]

    def test_a_file_beside_the_attempts_makes_it_no_attempts(self, course):
        (course / "in" / "dora" / "work.py").write_text("1")
        assert attempts_of(Entry("dora", (str(course / "in" / "dora"),)), MANY) == []

    def test_attempts_lie_in_nbgraders_folders_too(self, course):
        inner = course / "in" / "dora" / MANY
        inner.mkdir()
        for name in ("attempt-1", "attempt-2"):
            (course / "in" / "dora" / name).rename(inner / name)
        found = attempts_of(Entry("dora", (str(course / "in" / "dora"),)), MANY)
        assert [each.name for each in found] == ["dora/attempt-1", "dora/attempt-2"]

    def test_more_attempts_than_are_graded_are_for_the_instructor_to_decide(self, course):
        for number in range(4, 22):
            folder = course / "in" / "dora" / f"attempt-{number}"
            folder.mkdir()
            (folder / "work.py").write_text("1")
        (found,) = attempts_of(Entry("dora", (str(course / "in" / "dora"),)), MANY)
        assert found.name == "dora"
        assert found.undecided.startswith("There are 21 attempts and at most 20 are graded")
        submission = read_submission(found, MANY, source_of)
        assert submission.undecided and submission.reason == found.undecided
        (course / "in" / "dora" / "attempt-3" / "work.py").unlink()
        (course / "in" / "dora" / "attempt-3").rmdir()
        assert len(attempts_of(Entry("dora", (str(course / "in" / "dora"),)), MANY)) == 20

    def test_a_link_is_no_attempt(self, course):
        (course / "in" / "dora" / "attempt-9").symlink_to(course)
        assert attempts_of(Entry("dora", (str(course / "in" / "dora"),)), MANY) == []

    def test_the_record_is_of_the_attempt_that_counts(self, course):
        grade()
        record = decode_result(Path("out", "results.jsonl").read_bytes().splitlines()[3])
        failed = msgspec.structs.replace(record, checks=[check("failed")])
        publish(Path("out"), [failed], run_json())
        found = find_record(Path("out"), "dora", Path("in"), [])
        assert digest(found.files, "") == record.digest

    def test_an_unknown_rule_is_refused(self):
        self.set("first")
        with pytest.raises(UserError, match="attempts = 'first'; it must be one of latest, best"):
            grade()


def attempt(name, score, status="graded"):
    return msgspec.structs.replace(result(f"dora/{name}", status=status), score=score, digest=name)


def counted(results, rule):
    return combined("dora", results, counting(results, rule))


def test_an_attempt_that_the_grader_failed_on_keeps_the_mark_open_unless_another_is_full():
    failed = attempt("attempt-1", None, "grader_error")
    assert counted([failed, attempt("attempt-2", 9.5)], "best").score is None
    assert counted([failed, attempt("attempt-2", 10.0)], "best").score == 10.0
    assert counted([failed, attempt("attempt-2", 1.0)], "latest").score == 1.0


def test_of_equal_attempts_the_latest_is_the_best():
    both = [attempt("attempt-1", 7.0), attempt("attempt-2", 7.0), attempt("attempt-3", 3.0)]
    assert counted(both, "best").digest == "attempt-2"


class TestOverrides:
    @pytest.fixture(autouse=True)
    def _course(self, course, grader):
        self.grader = grader
        grade()

    def test_a_mark_survives_regrading_and_the_automatic_one_stays_on_record(self):
        override(Path("out"), "alice", None, 8.0, "showed it to me")
        for again in (False, True):
            alice = lines()["alice"]
            assert alice["score"] == 1.0 and alice["override"]["score"] == 8.0
            assert alice["override"]["whole"] == {
                "points": 8.0,
                "reason": "showed it to me",
                "stale": False,
            }
            row = table()["alice"]
            assert (row["score"], row["automatic"]) == ("8", "1")
            assert row["override"] == "all: 8, showed it to me"
            if not again:
                grade(fresh=True)

    def test_files_that_changed_since_are_told(self):
        override(Path("out"), "alice", None, 8.0, "as she was")
        submit(Path("in"), alice="4444")
        grade()
        assert lines()["alice"]["override"]["whole"]["stale"] is True
        assert table()["alice"]["score"] == "8"
        assert "the files have changed since" in table()["alice"]["override"]

    def test_taking_it_back_leaves_the_automatic_mark(self):
        override(Path("out"), "alice", None, 8.0, "x")
        override(Path("out"), "alice", None, None)
        assert "override" not in lines()["alice"] and table()["alice"]["score"] == "1"
        assert read_overrides(Path("out")) == []
        with pytest.raises(UserError, match="has no override for alice"):
            override(Path("out"), "alice", None, None)

    def test_the_file_can_be_read_by_a_person_and_fits_its_schema(self):
        import jsonschema

        override(Path("out"), "bob", None, 3.0, "late, by arrangement")
        override(Path("out"), "alice", None, 8.0, "∂C/∂z on paper")
        text = Path("out", FILE).read_text(encoding="utf-8")
        assert '"reason": "∂C/∂z on paper"' in text
        data = json.loads(text)
        assert [each["submission"] for each in data["overrides"]] == ["alice", "bob"]
        jsonschema.validate(data, schema("overrides"))

    def test_what_it_cannot_be_for_is_refused(self):
        with pytest.raises(UserError, match="did you mean alice"):
            override(Path("out"), "alicee", None, 8.0, "x")
        with pytest.raises(UserError, match="alice has no check called"):
            override(Path("out"), "alice", "sigmoid/gradient/z", 8.0, "x")
        assert not Path("out", FILE).exists()

    def test_more_points_than_a_submission_is_worth_ask_for_a_word(self):
        line = ["override", "out", "alice", "--points", "95", "--reason", "extra work"]
        done = command(*line)
        assert done.exit_code == 2 and not Path("out", FILE).exists()
        assert "95 is more than the 10 points that alice is worth: add --allow-more" in done.output
        assert command(*line, "--allow-more").output == "alice: 95 of 10 (automatic mark: 1).\n"

    def test_more_points_than_a_check_is_worth_ask_for_a_word(self):
        publish(Path("out"), [result("alice", check("failed", "sigmoid/gradient/z"))], run_json())
        with pytest.raises(UserError, match=r"more than the 1\.5 points that sigmoid/gradient/z"):
            override(Path("out"), "alice", "sigmoid/gradient/z", 1.6, "x")
        override(Path("out"), "alice", "sigmoid/gradient/z", 1.5, "x")
        more = override(Path("out"), "alice", "sigmoid/gradient/z", 3, "x", allow_more=True)
        assert more.mark == 3.0

    def test_a_damaged_file_stops_a_run_before_it_begins(self):
        Path("out", FILE).write_text("{")
        with pytest.raises(UserError, match="is damaged"):
            grade()

    def test_the_command_gives_and_takes_back(self):
        given = command("override", "out", "alice", "--points", "8", "--reason", "on paper")
        assert given.exit_code == 0
        assert given.output == "alice: 8 of 10 (automatic mark: 1).\n"
        assert command("export", "csv", "out", "--for", "moodle").output.splitlines()[1] == (
            "alice,8,"
        )
        assert command("override", "out", "alice", "--remove").output == (
            "alice: 1 of 10 (automatic mark: 1).\n"
        )

    @pytest.mark.parametrize(
        "line",
        [
            ["alice", "--points", "8"],
            ["alice", "--points", "8", "--reason", " "],
            ["alice"],
            ["alice", "--points", "8", "--reason", "x", "--remove"],
            ["alice", "--points", "nan", "--reason", "x"],
            ["zoe", "--points", "8", "--reason", "x"],
        ],
    )
    def test_a_call_without_a_mark_or_a_reason_is_refused(self, line):
        done = command("override", "out", *line)
        assert done.exit_code == 2 and not Path("out", FILE).exists()


def command(*line):
    return CliRunner().invoke(main, list(line))


FORMATS = Path(__file__).parent / "formats"


def schema(name):
    return json.loads((FORMATS / f"{name}.json").read_text(encoding="utf-8"))


def overridden(base, *all_):
    return Overrides(
        Override(base.submission, id, points, reason, base.digest, "2026-01-01")
        for id, points, reason in all_
    )


def test_a_check_that_is_given_points_moves_the_sum_and_no_other():
    alice = CLASS[0]
    given = overridden(alice, (alice.checks[1].id, 1.0, "a typing mistake")).applied(alice)
    # Both checks of the sample go by one id.
    assert given.score == 1.5 and given.mark == 1.5 - 1.5 + 1.0 + 1.0
    assert as_marked(given).score == given.mark == sum(c.points for c in as_marked(given).checks)


def test_an_open_mark_can_be_given_and_stays_open_for_a_check_only():
    mallory = CLASS[3]
    assert overridden(mallory, (None, 6.0, "by hand")).applied(mallory).mark == 6.0
    assert overridden(mallory, ("training", 1.0, "by hand")).applied(mallory).mark is None


def test_a_whole_mark_is_spread_by_what_checks_are_worth():
    alice = CLASS[0]
    marked = as_marked(overridden(alice, (None, 2.0, "x")).applied(alice))
    assert marked.score == 2.0 and [each.points for each in marked.checks] == [1.0, 1.0]
    assert decode_result(encode_result(marked)) == marked


class TestPreview:
    @pytest.fixture(autouse=True)
    def _course(self, course, grader):
        self.grader = grader

    def preview(self, **wish):
        return preview_folder(Path("in"), MANY, Path("out"), Options(**wish))

    def published(self):
        paths = filter(Path.is_file, Path("out").rglob("[!.j]*"))
        return {str(path): path.read_bytes() for path in paths}

    def test_nothing_is_published_and_nothing_graded_twice(self, capsys):
        grade(seed=0)
        before = self.published()
        submit(Path("in"), alice="4444", zed="1")
        Path("in", "bob.py").unlink()
        assert self.preview(seed=3) == (True, True)
        assert self.published() == before
        said = capsys.readouterr().out
        assert "seed: 0 → 3" in said
        assert "alice" in said and "1 → 4" in said and "the files have changed" in said
        assert "1 new: zed" in said and "1 gone: bob" in said
        assert "1 marks would change (1 up, 0 down), 1 stay." in said
        self.grader.graded.clear()
        grade(seed=3)
        assert self.grader.graded == [] and lines()["alice"]["score"] == 4.0

    def test_where_nothing_moves_it_says_so(self):
        grade()
        assert self.preview() == (True, False)

    def test_the_exit_code_tells(self):
        line = ["grade", "in", "--assignment", MANY, "--out", "out"]
        assert command(*line).exit_code == 0
        assert command(*line, "--preview").exit_code == 0
        submit(Path("in"), alice="4444")
        assert command(*line, "--preview").exit_code == 3
        self.grader.fails = {"alice"}
        submit(Path("in"), alice="55555")
        assert command(*line, "--preview").exit_code == 1
        assert lines()["alice"]["score"] == 1.0


def test_a_moved_maximum_is_counted_apart_from_a_moved_mark():
    old = [result(name, check(id="a"), check("failed", id="b")) for name in ("alice", "bob")]
    worth_more = [msgspec.structs.replace(old[0], max_score=5.0), old[1]]
    text = io.StringIO()
    moves = print_moves(Console(file=text, width=200), (old, {}), (worth_more, {}))
    said = text.getvalue()
    assert moves.any() and "1.5 of 10 → 1.5 of 5" in said
    assert (
        "0 marks would change (0 up, 0 down), 1 stay, and 1 keep their mark with a different"
        in said
    )


def test_a_preview_of_many_moves_has_one_header_and_a_row_for_each():
    old = [result(f"s{number:04}", check(id="a")) for number in range(2 * ROWS + 1)]
    new = [msgspec.structs.replace(each, score=2.5) for each in old]
    text = io.StringIO()
    print_moves(Console(file=text, width=80), (old, {}), (new, {}))
    said = text.getvalue()
    assert said.count("submission ") == 1 and said.count("\ns") == len(old)
    assert f"{len(old)} marks would change ({len(old)} up, 0 down)" in said


def test_a_changed_declaration_is_told_without_its_digest():
    causes = changed({"declaration": "a" * 64}, {"declaration": "b" * 64})
    assert causes == ["declaration: it has changed"]


def test_a_preview_names_the_checks_that_move_a_mark():
    passed, failed = check(id="a"), check("failed", id="b")
    old = result("alice", passed, failed)
    new = result(
        "alice",
        check("failed", id="a"),
        replace(check(id="b"), points=2.0, max_points=2.0),
        check(id="c"),
    )
    (move,) = Moves().between([old], [new])
    assert move.why == [
        "a: 1.5 → 0, passed → failed",
        "b: 0 of 1.5 → 2 of 2, failed → passed",
        "c is new: 1.5 of 1.5",
    ]


SECRETS = ("alice", "hunter2", "/home/alice", "STAFF", "because", "d1g3st")


def telling(name):
    """A result full of what a student wrote."""
    said = replace(
        check("failed", f"/home/alice: hunter2 {name}"), staff="STAFF hunter2", case={"seed": 1}
    )
    made = result(name, said, reason="hunter2")
    return msgspec.structs.replace(
        made,
        digest="d1g3st",
        advice=[Advice("Sigmoid", "hunter2")],
        flags=[Flag("finite-differences", "Sigmoid", "line 3: hunter2")],
        override=Overridden(3.0, Given(3.0, "because")),
    )


def test_shared_results_hold_no_name_and_no_word_of_a_students():
    import jsonschema

    secret = b"s" * 32
    shared = b"".join(pseudonymous([telling("alice"), telling("alice-b"), *CLASS], secret)).decode()
    assert not any(word in shared for word in (*SECRETS, "bob", "eve", "mallory"))
    made = [json.loads(line) for line in shared.splitlines()]
    for line in made:
        jsonschema.validate(line, schema("pseudonymous"))
    assert [line["pseudonym"] for line in made] == sorted(line["pseudonym"] for line in made)
    same = [line for line in made if line["files"] == pseudonym("files", "d1g3st", secret)]
    assert len(same) == 2
    assert made != [json.loads(line) for line in pseudonymous(CLASS, b"t" * 32)]


def test_the_secret_stays_and_is_the_instructors_own(tmp_path):
    first = secret_in(tmp_path)
    assert secret_in(tmp_path) == first and len(first) == 32
    assert (tmp_path / SECRET).stat().st_mode & 0o077 == 0
    (tmp_path / SECRET).write_text("short")
    with pytest.raises(UserError, match="is damaged"):
        secret_in(tmp_path)


def test_the_command_shares_results_and_keeps_the_secret_beside_them(tmp_path):
    publish(tmp_path, CLASS, {})
    done = command("export", "pseudonymous", str(tmp_path), "--out", str(tmp_path / "shared.jsonl"))
    assert done.exit_code == 0
    shared = (tmp_path / "shared.jsonl").read_text()
    assert len(shared.splitlines()) == 4 and "alice" not in shared
    assert (tmp_path / SECRET).read_text().strip() not in shared
