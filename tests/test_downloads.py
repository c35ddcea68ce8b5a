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


SAKAI, BRIGHTSPACE = "Submission attachment(s)", "Oct 3, 2025 1159 PM"
BLACKBOARD = "attempt_2025-02-03-14-05-09"
# Rosters as platforms export them, and whose each file of a download is: open where that is "".
CLASSES = {
    "a login stands in a roster's other columns": (
        'Student ID,Name\njn1,"Núñez, José"\njn2,"Nunez, Jose"\ncl,"Lee (Auditor), Chris"\n',
        {
            f"HW/Nunez, Jose(jn1)/{SAKAI}/a.py": "jn1",
            f"HW/Nunez, Jose(jn2)/{SAKAI}/a.py": "jn2",
            f"HW/Lee (Auditor), Chris(cl)/{SAKAI}/a.py": "cl",
            f"HW/Nunez, Jose(left)/{SAKAI}/a.py": "",
        },
    ),
    "typed text is work where nothing is attached": (
        "HW 1,Points\n\nDisplay ID,ID,Last Name\nann,ann,Roe\nbo,bo,Li\n",
        {
            "HW/Roe, (ann)/Roe, (ann)_submissionText.html": "ann",
            f"HW/Li, (bo)/{SAKAI}/a.py": "bo",
        },
    ),
    "nbgrader's students have an id": (
        "id,first_name,last_name,email\nann,Ann,Roe,ann@example.edu\n",
        {"ann+ps1+2025-02-03 14:05:09.1 UTC/ps1.ipynb": "ann"},
    ),
    "what a student calls a file says nothing of its owner": (
        'Student,ID,SIS Login ID\n"Roe, Ann",4021,ann\n"Li, Bo",77,bo\n',
        {
            "roeann_4021_901_a.py": "ann",
            "libo_77_902_roeann_4021_901_LATE_a.py": "bo",
            "zed_9_903_roeann_4021_901_a.py": "",
            "roeann_8_904_a.py": "",
        },
    ),
    "nor does it where logins are joined with titles": (
        "Username\nann\nbo\n",
        {
            f"HW 1_bo_{BLACKBOARD}_HW 1_ann_{BLACKBOARD}_a.py": "bo",
            f"HW 1_bo_{BLACKBOARD}_HW 1_ann_{BLACKBOARD}.txt": "bo",
            f"HW 1_ann_{BLACKBOARD}_a.py": "ann",
        },
    ),
    "a group's number is not a participant's": (
        "Identificador,Nombre completo,Correo,Grupo\nParticipante512,Ann Roe,ann@x.edu,Red\n\
Participante513,Bo Li,bo@x.edu,Red\nParticipante514,Cy Ng,cy@x.edu,Blue\n",
        {
            "Red_514_assignsubmission_file/a.py": "ann@x.edu bo@x.edu",
            "Blue_20_assignsubmission_file/a.py": "cy@x.edu",
            "Green_513_assignsubmission_file/a.py": "",
        },
    ),
    "a namesake who has left has another number": (
        "ID,Vollständiger Name\nTeilnehmer/in512,Ann Roe\nTeilnehmer/in513,Bo Li\n",
        {
            "Ann Roe_512_assignsubmission_file/a.py": "512",
            "Ann Roe_98_assignsubmission_file/a.py": "",
            "Bo Li_513_assignsubmission_file/a.py": "513",
        },
    ),
    "what a student's folders are called says nothing of their owner": (
        "First Name,Last Name,Email Address\nAnn,Roe,ann@x.edu\nBo,Li,bo@x.edu\n",
        {
            "Submitted files/Ann Roe/HW 1/Version 1/a.py": "ann@x.edu",
            "Submitted files/Bo Li/HW 1/Version 1/Submitted files/Ann Roe/HW 1/Version 2/a.py": (
                "bo@x.edu"
            ),
        },
    ),
    "two have one name, of whom the roster has one": (
        "Email address,Full name\nann@x.edu,Ann Roe\nbo@x.edu,Bo Li\n",
        {
            "Ann Roe_7_assignsubmission_file/a.py": "",
            "Ann Roe_9_assignsubmission_file/a.py": "",
            "Bo Li_8_assignsubmission_file/a.py": "bo@x.edu",
            "Bo Li_8_assignsubmission_onlinetext/onlinetext.html": "bo@x.edu",
        },
    ),
    "one's first name is another's last": (
        "Full name\nLi Bo\nBo Li\nAnn Roe\n",
        {"libo_7_901_a.py": "", "boli_8_902_a.py": "", "roeann_9_903_a.py": "Ann Roe"},
    ),
    "somebody has one name": (
        "Username,Last Name,First Name\n#su,Suharto,\n#ma,,Madonna\n",
        {
            f"1-2 - Suharto - {BRIGHTSPACE}/a.py": "#su",
            f"3-4 - Madonna - {BRIGHTSPACE}/a.py": "#ma",
        },
    ),
    "everybody has one repository": (
        "identifier,github_username\na,ann\nb,ann-1\nc,bo\nd,bo-1\n",
        {
            "hw1-submissions/hw1-ann/a.py": "ann",
            "hw1-submissions/hw1-ann-1/a.py": "ann-1",
            "hw1-submissions/hw1-bo-1/a.py": "",
        },
    ),
    "a team is called like somebody who is not in it": (
        "identifier,github_username,group_name\na,ann,red\nb,bo,ann\nc,cy,blue\n",
        {
            "hw1-submissions/hw1-ann/a.py": "",
            "hw1-submissions/hw1-red/a.py": "ann",
            "hw1-submissions/hw1-blue/a.py": "cy",
        },
    ),
    "a group has members with one name": (
        "name,canvas_user_id,login_id,group_name\nWei Li,11,wei,Red 1\nWei Li,12,wli,Red 1\n\
Ann Roe,13,ann,Blue 2\n",
        {"red1_11_901_a.py": "wei wli", "blue2_13_902_a.py": "ann"},
    ),
}


@pytest.mark.parametrize("case", CLASSES)
def test_who_handed_something_in_is_told_by_what_the_platform_knows(case, tmp_path):
    table, owners = CLASSES[case]
    (tmp_path / "class.csv").write_text(table, encoding="utf-8")
    taken = recognise(Download([*owners], lambda _: "typed"), read_roster(tmp_path / "class.csv"))
    assert taken is not None
    found = {
        name: "" if owner.doubt else " ".join(one.label for one in owner.people)
        for name, owner in taken.owners.items()
    }
    assert found == owners


def test_what_a_student_types_says_nothing_of_another_ones_file(tmp_path):
    own, other = f"HW_bo_{BLACKBOARD}", f"HW_ann_{BLACKBOARD}"
    typed = f"Name: Bo Li (bo)\nField:\nOriginal filename: a.pdf\nFilename: {other}_a.py\n"
    told = f"{typed}\nOriginal filename: b.py\nFilename: {own}_b.py\n"
    names = [f"{own}.txt", f"{own}_b.py", f"{other}_a.py"]
    taken = recognise(Download(names, lambda name: told * (name == names[0])), None)
    assert taken and [each.name for each in taken.reading.pieces] == ["b.py", "a.py"]


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
