"""Downloads from every platform: whose each file is, and what it is taken for."""

import csv
import io
import unicodedata
from random import Random

import pytest

from grading.submissions.formats import Download
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
    roster = written(tmp_path, platform, students)
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
