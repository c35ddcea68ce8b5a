"""Blackboard's "Assignment File Download": files named for assignment, user and time.

As vangef/BBGradebookOrganiser and matthew-e-brown/bb-gradebook read them, Blackboard's own sources
not being public:

    HW 1_aroe_attempt_2025-02-03-14-05-09_a.py    a file
    HW 1_aroe_attempt_2025-02-03-14-05-09.txt     what belongs to it: "Name: Ann Roe (aroe)", …

``attempt`` is in the course's language. Assignment and user can both hold ``_``: the text file
tells, or else what the names of all files begin with.
"""

import re
from datetime import datetime

from grading.submissions.formats.pieces import Download, Piece, Reading, Who, splits

NAMED = re.compile(
    r"(?P<head>[^/]+?)_[^\W\d_]+_(?P<time>\d{4}(?:-\d\d){5})(?:_(?P<file>[^/]+)|(?P<text>\.txt))?"
)
SAID = re.compile(r"^[^\n:]+: (?P<name>.+) \((?P<login>[^()\n]+)\)\s*$", re.MULTILINE)
FILED = re.compile(
    r"^\s*[^\n:]+: (?P<original>[^\n]+)\n\s*[^\n:]+: (?P<path>[^\n]+)$", re.MULTILINE
)


def read(download: Download) -> Reading:
    """Read the names as Blackboard writes them, with what the text files beside them say."""
    found = {name: each for name in download.names if (each := NAMED.fullmatch(name))}
    texts = {name: download.text(name) for name, each in found.items() if each["text"]}
    said: dict[str, Who] = {}
    original: dict[str, str] = {}
    for name, text in texts.items():
        if match := SAID.search(text):
            said[_attempt(found[name])] = Who(login=match["login"].strip(), name=match["name"])
        # What students typed stands there too: it says nothing of others' files.
        original |= {
            path: each["original"].strip()
            for each in FILED.finditer(text)
            if (own := found.get(path := each["path"].strip()))
            and _attempt(own) == _attempt(found[name])
        }
    pieces = [
        Piece(
            name,
            original.get(name, each["file"] or ""),
            _readings(each["head"], said.get(_attempt(each))),
            _time(each["time"]),
            each["time"],
        )
        for name, each in found.items()
        if not each["text"]
    ]
    # Whoever typed their work has a text file only.
    attempts = {_attempt(found[piece.path]) for piece in pieces}
    typed = [
        Piece(name, "", _readings(each["head"], said.get(_attempt(each))), _time(each["time"]))
        for name, each in found.items()
        if each["text"] and _attempt(each) not in attempts
    ]
    return Reading((*pieces, *typed), frozenset(texts) - {piece.path for piece in typed})


def _attempt(found: re.Match[str]) -> str:
    return f"{found['head']} {found['time']}"


def _readings(head: str, said: Who | None) -> tuple[tuple[Who, ...], ...]:
    """Return who it may be: whom the text names, or who the end of the name stands for."""
    if said:
        return ((said,),)
    # The assignment's title comes first, so the shortest login is the likeliest.
    users = [user.strip() for _, user in splits(head)]
    return tuple((Who(login=user, group=user),) for user in users)


def _time(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%Y-%m-%d-%H-%M-%S")
    except ValueError:
        return None
