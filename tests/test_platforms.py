"""From a learning platform's download to marks, and back to what the platform takes."""

from __future__ import annotations

import csv
import json
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from grading.runs.run import _Run
from grading.submissions.intake import Intake, take_in
from grading.submissions.lateness import lateness, moment
from grading.submissions.opening import opened
from grading.submissions.people import read_roster
from harness.errors import UserError
from tests.own_course import SUBMISSION, backprop

WRONG = SUBMISSION.replace("g * a * (1 - a)", "g * a")
GRADEBOOK = """Student,ID,SIS User ID,SIS Login ID,Section,Many neurons (1234),Extension
Points Possible,,,,,10,
"Doe, Jane",12345,u12345,jdoe,1,,
"Roe, John",12346,u12346,jroe,1,,2026-03-12
"Poe, Zoë",12347,u12347,zpoe,1,,
"""


def zip_of(path: Path, files: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """Canvas's zip, graded with the gradebook that Canvas exports."""
    folder = tmp_path_factory.mktemp("canvas")
    (folder / "canvas.csv").write_bytes(GRADEBOOK.encode("cp1252"))
    zip_of(
        folder / "submissions.zip",
        {
            "doejane_12345_678901_many-neurons-1.py": SUBMISSION,
            "roejohn_LATE_12346_678902_many-neurons.py": WRONG,
            "poezo_99999_678903_many-neurons.py": SUBMISSION,
            "notes from the tutor.py": SUBMISSION,
        },
    )
    command = ("grade", "submissions.zip", "--assignment", "many-neurons", "--out", "out")
    said = backprop(*command, "--roster", "canvas.csv", cwd=folder, code=1)
    return folder, said


def lines(folder: Path) -> dict[str, dict]:
    text = (folder / "out/results.jsonl").read_text(encoding="utf-8")
    return {line["submission"]: line for line in map(json.loads, text.splitlines())}


@pytest.mark.slow
class TestCanvas:
    def test_it_says_what_it_read_and_leaves_open_what_is_nobodys(self, graded):
        folder, said = graded
        told = "Read as a download from Canvas: 4 submissions, 2 of them by students on the roster."
        assert told in said and "canvas.csv is not UTF-8 and was read as windows-1252." in said
        assert "Left open: notes from the tutor.py." in said
        assert "1 submission not on the roster: poezo." in said
        assert "No submission from 1 student on the roster: zpoe." in said
        found = lines(folder)
        assert {name: line["score"] for name, line in found.items() if name != "jroe"} == {
            "jdoe": 10.0,
            "poezo": 10.0,
            "notes from the tutor.py": None,
        }
        assert found["jdoe"]["students"] == ["jdoe"]
        assert found["jdoe"]["files"] == {
            "many-neurons.py": "doejane_12345_678901_many-neurons-1.py"
        }
        assert "late" not in found["jdoe"]

    def test_a_failed_check_is_replayed_from_the_zip(self, graded):
        folder, _ = graded
        replay = ("replay", "out", "jroe", "--submissions", "submissions.zip")
        assert "Same as recorded: failed." in backprop(*replay, cwd=folder)

    def test_canvas_takes_back_marks_and_feedback(self, graded):
        folder, _ = graded
        export = ("export", "csv", "out", "--for", "canvas", "--roster", "canvas.csv")
        assert "has no student for 2 of the submissions" in backprop(*export, cwd=folder, code=2)
        command = ("grade", "submissions.zip", "--assignment", "many-neurons", "--out", "two")
        only = ("--only", "jdoe", "--only", "jroe", "--roster", "canvas.csv")
        backprop(*command, *only, cwd=folder)
        backprop(*("export", "csv", "two", *export[3:]), "--out", "marks.csv", cwd=folder)
        rows = list(csv.reader((folder / "marks.csv").read_text().splitlines()))
        assert [row[3] for row in rows[2:]] == ["jdoe", "jroe", "zpoe"]
        assert rows[0][-1] == "Many neurons (1234)" and rows[2][-1] == "10" and rows[4][-1] == ""
        said = backprop("export", "feedback", "two", cwd=folder)
        assert "2 pages, named for Canvas's upload" in said
        with zipfile.ZipFile(folder / "feedback.zip") as file:
            assert sorted(file.namelist()) == [
                "doejane_12345_678901_many-neurons-1.html",
                "roejohn_LATE_12346_678902_many-neurons.html",
            ]

    def test_a_platform_that_it_is_not_from_is_refused(self, graded):
        folder, _ = graded
        command = ("grade", "submissions.zip", "--assignment", "many-neurons", "--out", "three")
        said = backprop(*command, "--from", "Moodle", cwd=folder, code=2)
        assert "Nothing in it is named as Moodle names submissions." in said
        assert "choose one of" in backprop(*command, "--from", "Mudle", cwd=folder, code=2)


class TestOpening:
    def test_a_zip_is_opened_without_leaving_its_folder(self, tmp_path):
        names = [
            "../../a.py",
            "/b.py",
            "c\\d.py",
            "e.py",
            "E.PY",
            "e.py/f.py",
            "g/" + "x" * 300 + ".py",
        ]
        archive = zip_of(tmp_path / "all.zip", dict.fromkeys([*names, "__MACOSX/._a.py"], "1"))
        with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(archive, "a") as more:
            more.writestr("e.py", "2")
        with opened(archive, tmp_path) as (folder, was_zip):
            assert was_zip
            files = sorted(
                path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
            )
            assert [each for each in files if "xx" not in each] == [
                *("E~.PY", "a.py", "b.py", "c/d.py", "e.py", "e.py~/f.py", "e~~.py"),
            ]
            (long,) = (each for each in files if "xx" in each)
            assert long.endswith(".py") and len(files) == 8
        assert not folder.exists()

    def test_every_submission_of_nobody_on_the_roster_is_named(self):
        names = tuple(f"student-{at:02}" for at in range(30))
        found: Any = SimpleNamespace(intake=Intake((), "", unknown=names))
        (said,) = _Run.attendance(found)
        assert said == f"30 submissions not on the roster: {', '.join(names)}."

    def test_names_are_utf_8_where_macos_does_not_say_so(self, tmp_path):
        archive = zip_of(tmp_path / "all.zip", {"zo?.py": "1"})
        archive.write_bytes(archive.read_bytes().replace(b"zo?.py", b"z\xc3\xab.py"))
        with opened(archive) as (folder, _):
            assert [path.name for path in folder.iterdir()] == ["zë.py"]

    def test_a_damaged_zip_is_told_in_a_sentence(self, tmp_path):
        archive = zip_of(tmp_path / "all.zip", {"a.py": "1" * 100})
        data = archive.read_bytes()
        archive.write_bytes(data.replace(b"1" * 100, b"2" * 100))
        with pytest.raises(UserError, match="cannot be unpacked"), opened(archive):
            pass

    def test_the_only_folder_of_a_zip_is_the_class(self, tmp_path):
        archive = zip_of(tmp_path / "all.zip", {"class/alice.py": "1", "class/bob/a.py": "1"})
        with opened(archive) as (folder, was_zip):
            assert [
                each.name for each in take_in(folder, "one-neuron", was_zip=was_zip).entries
            ] == [
                "alice",
                "bob",
            ]
            assert [each.name for each in take_in(folder, "one-neuron").entries] == ["class"]

    def test_a_platform_that_is_named_is_looked_for_in_the_only_folder_too(self, tmp_path):
        name = "all/Ann Roe_7_assignsubmission_file/a.py"
        with opened(zip_of(tmp_path / "all.zip", {name: "1"})) as (folder, was_zip):
            found = take_in(folder, "one-neuron", wanted="Moodle", was_zip=was_zip)
            assert found.platform == "Moodle"
            with pytest.raises(UserError, match="Nothing in it is named as Canvas names"):
                take_in(folder, "one-neuron", wanted="Canvas", was_zip=was_zip)


class TestPeople:
    def taken(self, tmp_path, names, roster=""):
        for name in names:
            path = tmp_path / "in" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("1")
        (tmp_path / "class.csv").write_text(roster)
        found = take_in(
            tmp_path / "in", "one-neuron", read_roster(tmp_path / "class.csv") if roster else None
        )
        return {each.name: each for each in found.entries}

    def test_two_who_are_called_alike_are_told_apart_by_number(self, tmp_path):
        found = self.taken(tmp_path, ["lijia_1_21_a.py", "lijia_2_22_a.py", "roe_3_23_a.py"])
        assert {name: len(each.paths) for name, each in found.items()} == {
            "lijia (1)": 1,
            "lijia (2)": 1,
            "roe": 1,
        }

    def test_a_group_hands_in_once_for_all_of_its_members(self, tmp_path):
        names = ["team3_11_21_a.py", "team4_13_22_a.py"]
        roster = "login,id,group\nann,11,Team 3\nbob,12,Team 3\neve,13,Team 4\n"
        found = self.taken(tmp_path, names, roster)
        assert {name: each.students for name, each in found.items()} == {
            "team3": ("ann", "bob"),
            "eve": ("eve",),
        }

    def test_what_is_called_like_somebody_else_is_nobodys_later_either(self, tmp_path):
        names = [f"Ann Roe_{number}_assignsubmission_file/a.py" for number in (7, 9)]
        roster = "Identifier,Full name\nParticipant 7,Ann Roe\n"
        found = self.taken(tmp_path, names, roster)
        assert {name: each.students for name, each in found.items()} == {
            "7": ("7",),
            "Ann Roe (9)": (),
        }
        said = "It has the name of 7, but not the participant's number."
        assert found["Ann Roe (9)"].undecided == said
        assert not read_roster(tmp_path / "class.csv").find_any("Ann Roe (9)")

    def test_files_of_one_name_stay_two_and_the_roster_can_say_which_counts(self, tmp_path):
        names = ["roeann_1_21_a.py", "roeann_1_22_a-1.py", "doejo_2_23_a.py"]
        roster = 'Student,ID,File\n"Roe, Ann",1,roeann_1_22_a-1.py\n"Doe, Jo",2,\n'
        found = self.taken(tmp_path, names, roster)
        assert found["1"].names == ("roeann_1_21_a.py", "roeann_1_22_a-1.py")
        assert (found["1"].file, found["2"].file) == ("roeann_1_22_a-1.py", "")
        assert found["2"].names == ("a.py",)

    def test_work_for_another_assignment_is_not_looked_at(self, tmp_path):
        names = [f"submitted/ann/{work}/{work}.ipynb" for work in ("one-neuron", "many-neurons")]
        (ann,) = self.taken(tmp_path, names).values()
        assert ann.names == ("one-neuron.ipynb",)

    def test_whoever_has_a_submission_besides_the_groups_is_left_open(self, tmp_path):
        roster = "student,group\nok,g1\nbob,g1\neve,\n"
        found = self.taken(tmp_path, ["g1.py", "bob.py", "eve.py"], roster)
        why = "bob and g1 are both bob's: keep one."
        assert {name: each.undecided for name, each in found.items()} == {
            "bob": why,
            "g1": why,
            "eve": "",
        }

    def test_a_file_that_two_people_are_called_like_is_neithers(self, tmp_path):
        roster = "student,name\nam1,Anna M\nam2,Anna M\n"
        (anna,) = self.taken(tmp_path, ["Anna M.py"], roster).values()
        assert anna.undecided == "It can be am1 or am2's." and anna.students == ()

    def test_attempts_are_in_the_order_of_their_times(self, tmp_path):
        names = [
            f"HW_aroe_attempt_2025-02-0{day}-14-05-09_{file}"
            for day, file in ((4, "b.py"), (3, "a.py"))
        ]
        (aroe,) = self.taken(tmp_path, names, "username\naroe\nzoe\n").values()
        assert aroe.name == "aroe" and [each.time for each in aroe.attempts] == [
            "2025-02-03T14:05:09",
            "2025-02-04T14:05:09",
        ]

    def test_the_time_and_the_extension_are_the_rosters(self, tmp_path):
        roster = (
            "Identifier,Full name,Last modified (submission),Extension\n"
            'Participant 7,Ann R,"Monday, 2 March 2026, 11:00 PM",2026-03-03\n'
            "Participant 8,Bo,-,\n"
        )
        names = ["Ann R_7_assignsubmission_file/a.py", "Bo_8_assignsubmission_file/a.py"]
        ann, bo = self.taken(tmp_path, names, roster).values()
        assert lateness(ann.time, "2026-03-02", ann.extension, marked=False) == ""
        assert lateness(ann.time, "2026-03-02T22:00", "", marked=False) == "1:00:00"
        assert lateness(bo.time, "2026-03-02", bo.extension, marked=False) == ""

    def test_an_extension_that_is_no_time_is_refused_with_its_line(self, tmp_path):
        with pytest.raises(UserError, match=r"class.csv, line 2: extension 'later' is not a date"):
            self.taken(tmp_path, ["ann.py"], "login,extension\nann,later\n")


@pytest.mark.parametrize(
    ("came", "due", "extension", "marked", "late"),
    [
        ("2026-03-09T23:00:00", "2026-03-09T23:00:00", "", True, ""),
        ("2026-03-10T00:30:01", "2026-03-09T23:00:00", "", False, "1:30:01"),
        ("2026-03-12T00:00:00", "2026-03-09", "", False, "48:00:01"),
        ("2026-03-09T23:30:00+00:00", "2026-03-10T00:00:00+01:00", "", False, "0:30:00"),
        ("2026-03-10T00:30:00", "2026-03-10T00:00:00+01:00", "", False, "0:30:00"),
        ("2026-03-11T00:00:00", "2026-03-09", "2026-03-10", False, "0:00:01"),
        ("2026-03-11T00:00:00", "2026-03-12", "2026-03-10", False, ""),
        ("2026-03-11T00:00:00", "", "", True, "yes"),
        ("", "2026-03-09", "", True, "yes"),
        ("", "2026-03-09", "2026-03-10", True, ""),
        ("whenever", "2026-03-09", "", False, ""),
    ],
)
def test_how_late_something_was(came, due, extension, marked, late):
    assert lateness(came, due, extension, marked=marked) == late


@pytest.mark.parametrize(
    "text",
    [
        "2025-02-03 14:05:09.123456789 Z",
        "2025-02-03 14:05:09.123456 UTC",
        "2025-02-03T14:05:09.123456+00:00",
        "2025-02-03 15:05:09.123456 +0100",
    ],
)
def test_times_are_read_as_platforms_write_them(text):
    assert str(moment("Monday, 2 March 2026, 10:05 PM")) == "2026-03-02 22:05:00"
    found = moment(text)
    assert found and found.timestamp() == 1738591509.123456
