"""Canvas's "Download Submissions": one folder or zip of files, each named for its author.

As lib/content_zipper.rb and app/models/abstract_assignment.rb of instructure/canvas-lms write and
read them:

    roeann_4021_88731_hw1.py         sortable name in small letters, user, attachment, file
    roeann_LATE_4021_88731_hw1.py    the same, late
    anon_x7Fq2_88731_hw1.py          anonymous; LATE_ comes first there
    roeann_4021_text.html            typed text, or _link.html: no attachment

A group's work comes once, with the group's name and the number of one member. ``-1`` before the
ending tells files of one name apart (app/models/attachment.rb).
"""

import re
from collections.abc import Iterator

from grading.submissions.formats.pieces import Download, Piece, Reading, Who

NAMED = re.compile(r"(?P<name>.+?)(?P<late>_LATE)?_(?P<id>\d+)_(?P<attachment>\d+)_(?P<file>.+)")
ANONYMOUS = re.compile(r"(?P<late>LATE_)?anon_(?P<code>[^_]+)_(?P<attachment>\d+)_(?P<file>.+)")
TYPED = re.compile(r"(?P<name>.+?)(?P<late>_LATE)?_(?P<id>\d+)_(?P<file>(?:text|link)\.html)")
DUPLICATE = re.compile(r"-\d+(?=(?:\.tar)?\.[^.]*$|$)")


def read(download: Download) -> Reading:
    """Read the names as Canvas writes them."""
    return Reading(tuple(piece for name in download.names for piece in _pieces(name)))


def _pieces(name: str) -> Iterator[Piece]:
    if "/" in name:
        return
    if found := ANONYMOUS.fullmatch(name):
        who = Who(unnamed=f"anon_{found['code']}")
        yield _piece(name, found["file"], ((who,),), late=bool(found["late"]))
        return
    readings = [*_readings(name)]
    if readings:
        _, file, late = readings[0]
        yield _piece(name, file, tuple((who,) for who, _, _ in readings), late=late)


def _readings(name: str) -> Iterator[tuple[Who, str, bool]]:
    """Yield what a name can mean: a group's name may end in a number, as a file's may begin."""
    if found := TYPED.fullmatch(name):
        yield Who(squeezed=found["name"], id=found["id"]), found["file"], bool(found["late"])
        return
    start = 0
    while found := NAMED.fullmatch(name, start):
        whole = name[: found.end("name")]
        # What follows the first numbers may be the student's own words: they give it to nobody.
        user = "" if start else found["id"]
        yield Who(squeezed=whole, id=user), found["file"], bool(found["late"])
        start = found.end("name") + len(found["late"] or "") + 1


def _piece(path: str, file: str, who: tuple[tuple[Who, ...], ...], *, late: bool) -> Piece:
    return Piece(path, DUPLICATE.sub("", file), who, late=late)
