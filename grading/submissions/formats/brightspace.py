"""Brightspace's download of a submission folder: folders or files with user, name and time.

As graders in public repositories read them, D2L's sources not being public:

    40-88 - Ann Roe - Oct 3, 2025 1159 PM/a.py     a folder for each submission
    40-88 - Ann Roe - Oct 3, 2025 1159 PM - a.py   flat

The first number is the user's inside Brightspace, not the OrgDefinedId of its gradebook. The second
one's meaning is not known. A group's name stands for the person's. ``index.html`` is a list.
"""

import re
from datetime import datetime

from grading.submissions.formats.pieces import Download, Piece, Reading, Who

NAMED = re.compile(
    r"(?P<id>\d+)-\d+ - (?P<name>.+?) - (?P<time>\w{3,9} \d\d?, \d{4} \d{3,4} [AP]M)"
    r"(?:/| - | ?-? )(?P<file>.+)"
)


def read(download: Download) -> Reading:
    """Read the names as Brightspace writes them."""
    pieces: list[Piece] = []
    for name in download.names:
        if found := NAMED.fullmatch(name):
            person, group = (
                Who(name=found["name"], unnamed=found["id"]),
                Who(group=found["name"], unnamed=found["id"]),
            )
            time = _time(found["time"])
            order = time.isoformat() if time else ""
            pieces.append(Piece(name, found["file"], ((person,), (group,)), time, order))
    extra = {"index.html"} & set(download.names) if pieces else set()
    return Reading(tuple(pieces), frozenset(extra))


def _time(text: str) -> datetime | None:
    """Return the time, whose hours and minutes stand without a colon: 905 is 9:05."""
    date, clock, half = text.rsplit(" ", 2)
    for month in ("%b", "%B"):
        try:
            return datetime.strptime(f"{date} {clock.zfill(4)} {half}", f"{month} %d, %Y %I%M %p")
        except ValueError:
            continue
    return None
