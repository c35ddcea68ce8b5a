"""Downloads from every platform: whose each file is, and what it is taken for."""

import csv
import io
import unicodedata
from random import Random

import pytest

from grading.submissions.formats import Download
from grading.submissions.intake import take_in
from grading.submissions.people import read_roster
from grading.submissions.placing import recognise
from tests.downloads import PLATFORMS, a_class, metadata, roster_of

METADATA = "assignment_7_export/submission_metadata.yml"


def written(folder, platform, students, encoding="utf-8", separator=","):
    head, rows = roster_of(platform, students)
    text = io.StringIO()
    csv.writer(text, delimiter=separator).writerows([head, *rows])
    path = folder / "roster.csv"
    path.write_bytes(text.getvalue().encode(encoding, "replace"))
    return read_roster(path)


ENCODINGS = {1: ("utf-8-sig", ","), 2: ("utf-16", ";"), 3: ("utf-8", "\t")}


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("platform", PLATFORMS)
def test_every_file_is_given_to_whoever_handed_it_in(platform, seed, form, tmp_path):
    students = a_class(Random(seed), 200)
    made = [*PLATFORMS[platform](students, Random(seed))]
    owners = {unicodedata.normalize(form, name): one for name, one in made}
    names = [*owners, *([METADATA] if platform == "Gradescope" else [])]
    texts = {METADATA: metadata(students)}
    download = Download(names, lambda name: texts.get(name, ""))
    roster = written(tmp_path, platform, students, *ENCODINGS[seed])
    taken = recognise(download, roster)
    assert taken and taken.format == platform
    place = {one.row: student for one, student in zip(roster.people, students, strict=True)}
    open_, wrong = [], []
    for name, student in owners.items():
        owner = taken.owners[name]
        if not owner.people or owner.doubt:
            open_.append((name, owner))
        elif [place[one.row] for one in owner.people] != [student]:
            wrong.append((name, owner))
    assert not wrong
    assert len(open_) <= 0.005 * len(owners), open_


# What is anonymous, a group's, typed, or of nobody on the roster, in the form of its platform.
ODD = {
    "Canvas": ("LATE_anon_x7Fq2_88731_hw1.py", "teamred_4000_88732_hw1.py", "zzz_99_text.html"),
    "Moodle": (
        "Participant_512_assignsubmission_file/a.py",
        "Team red_77_assignsubmission_file/a.py",
        "Default group_assignsubmission_onlinetext/onlinetext.html",
    ),
    "Blackboard": ("HW_1 neurons_zzz_attempt_2025-02-03-14-00-09.txt",),
    "Brightspace": ("9-88 - Team red - Oct 3, 2025 1159 PM/a.py", "index.html"),
    "Sakai": ("HW 1/grades.csv", "HW 1/Nobody, No(zzz)/timestamp.txt"),
    "GitHub Classroom": ("hw1-submissions/hw1-team-red/a.py",),
    "Gradescope": ("assignment_7_export/submission_1/a.pdf",),
}
ADDED = ("__MACOSX/._a.py", ".DS_Store", "notes.txt", "more/deep/b.ipynb")


@pytest.mark.parametrize("platform", PLATFORMS)
def test_every_file_is_somebodys_or_told_or_the_platforms_own(platform, tmp_path):
    students = a_class(Random(7), 60)
    names = [name for name, _ in PLATFORMS[platform](students, Random(7))]
    names += [*ODD.get(platform, ()), *ADDED, *([METADATA] if platform == "Gradescope" else [])]
    for name in names:
        path = tmp_path / "all" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(metadata(students) if name == METADATA else "1")
    found = take_in(tmp_path / "all", "one-neuron", written(tmp_path, platform, students))
    assert found.platform == platform
    held = [
        str(path)
        for each in found.entries
        for attempt in each.attempts or (each,)
        for path in attempt.paths
    ]
    assert len(held) == len(set(held))
    left = {str(tmp_path / "all" / name) for name in names} - set(held)
    own = (*ADDED[:2], METADATA, "index.html", "grades.csv", "timestamp.txt")
    assert not [path for path in left if not path.endswith(own)]
    told = "\n".join(found.lines())
    assert "notes.txt is not named as" in told and "more/deep/b.ipynb is not named as" in told
    owners = [each for each in found.entries if each.students and not each.undecided]
    assert len(owners) >= len(students)
