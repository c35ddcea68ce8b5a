"""Moodle's "Download all submissions": a folder for each participant, or flat files.

As mod/assign/classes/downloader.php of moodle/moodle names them:

    Ann Roe_512_assignsubmission_file/src/a.py       folders, the default
    Ann Roe_512_assignsubmission_file_/a.py          the same before 4.1
    Ann Roe_512_assignsubmission_file_a.py           without folders
    Team 3_77_assignsubmission_file/a.py             a group's, with the group's number
    Default group_assignsubmission_file/a.py         of those who are in no group
    Participant_512_assignsubmission_file/a.py       anonymous

The number is the participant's in this assignment, as in the grading worksheet's column Identifier
("Participant 512"). In names ``_`` becomes a space, and quotation marks, slashes and the like go.
"""

import re
from collections import Counter

from grading.submissions.formats.pieces import Download, Piece, Reading, Who

NAMED = re.compile(
    r"(?P<name>[^_/]*?)(?:_(?P<number>\d+))?_assignsubmission_(?P<kind>[a-z]+)(?:_?/|_)(?P<file>.+)"
)
UNNAMED = "participant"
# The most people of one name that are likely in a class.
NAMESAKES = 2


def read(download: Download) -> Reading:
    """Read the names as Moodle writes them; typed text is a file without code."""
    pieces: list[Piece] = []
    named = {name: found for name in download.names if (found := NAMED.fullmatch(name))}
    # The word for participants is in the course's language; it stands for all of them.
    each_once = {(found["name"].strip(), found["number"] or "") for found in named.values()}
    words = Counter(called for called, _ in each_once)
    for name, found in named.items():
        called, number = found["name"].strip(), found["number"] or ""
        if called.casefold() == UNNAMED or words[called] > NAMESAKES:
            readings = [Who(participant=number, unnamed=f"{called} {number}")]
        else:
            person = Who(name=called, participant=number)
            readings = [person, Who(group=called)]
        pieces.append(Piece(name, found["file"], tuple((each,) for each in readings)))
    return Reading(tuple(pieces))
