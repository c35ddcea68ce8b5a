"""Sakai's "Download All": a folder for each student, with everything that belongs to a submission.

As AssignmentServiceImpl.java of sakaiproject/sakai writes it:

    HW 1/Roe, Ann(aroe)/Submission attachment(s)/a.py    what was handed in
    HW 1/Roe, Ann(aroe)/timestamp.txt                    when
    HW 1/Roe, Ann(aroe)/Roe, Ann(aroe)_submissionText.html, feedbackText.html, comments.txt, …
    HW 1/grades.csv

The folder's name is the sortable name with the login; members of a group are joined by "; ". The
names of files and folders inside are in the site's language; the folder of what was handed in has
"(s)" in English and is the first of the two in all languages.
"""

import re
from datetime import UTC, datetime
from pathlib import PurePosixPath

from grading.submissions.formats.pieces import Download, Piece, Reading, Who

NAMED = re.compile(r"(?P<top>[^/]+)/(?P<who>[^/]*\([^()/]+\))/(?P<rest>.+)")
PERSON = re.compile(r"(?P<name>.*?)\s*\((?P<login>[^()]+)\)")
FEEDBACK = re.compile(r"feedback", re.IGNORECASE)
TIMESTAMP, TYPED = "timestamp.txt", "_submissionText.html"
STAMPED = re.compile(r"\d{17}")


def read(download: Download) -> Reading:
    """Read the folders as Sakai writes them."""
    pieces: list[Piece] = []
    extra: set[str] = set()
    named = {name: found for name in download.names if (found := NAMED.fullmatch(name))}
    attached = {found["who"] for found in named.values() if _is_attached(found["rest"])}
    for name in download.names:
        found = named.get(name)
        if not found:
            if re.fullmatch(r"[^/]+/grades\.(csv|xls)", name):
                extra.add(name)
            continue
        # Whoever typed their work has a text only, which is empty where they did not.
        typed = (
            name.endswith(TYPED) and found["who"] not in attached and download.text(name).strip()
        )
        if not typed and not _is_attached(found["rest"]):
            extra.add(name)
            continue
        file = found["rest"].partition("/")[2] or PurePosixPath(name).name
        people = tuple(
            Who(login=each["login"].strip(), name=each["name"].strip())
            for one in found["who"].split("; ")
            if (each := PERSON.fullmatch(one))
        )
        time = _time(download.text(f"{found['top']}/{found['who']}/{TIMESTAMP}"))
        pieces.append(Piece(name, file, (people,), time))
    return Reading(tuple(pieces), frozenset(extra) if pieces else frozenset())


def _is_attached(rest: str) -> bool:
    folder, inside, _ = rest.partition("/")
    return bool(inside) and not FEEDBACK.search(folder)


def _time(text: str) -> datetime | None:
    """Return the time in a timestamp.txt: year to milliseconds as digits, in UTC."""
    found = STAMPED.search(text)
    if not found:
        return None
    try:
        return datetime.strptime(found[0][:14], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None
