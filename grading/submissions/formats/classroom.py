"""GitHub Classroom: one repository for each student, as `gh classroom clone student-repos` makes.

As education/classroom (archived) names them, and github/gh-classroom puts them:

    hw1-submissions/hw1-aroe/…     the login, or the team's name
    hw1-submissions/hw1-aroe-1/…   where that was taken

Logins can end like that themselves. The roster (classroom_roster.csv) says which exist.
"""

import re

from grading.submissions.formats.pieces import Download, Piece, Reading, Who, shared_start

TAKEN = re.compile(r"-\d+$")
OUTER = "-submissions"


def read(download: Download) -> Reading:
    """Read the folders' names: what follows on what all of them begin with."""
    outer = next((f"{top}/" for top in download.top if top.endswith(OUTER)), "")
    inner = [name.removeprefix(outer) for name in download.names if name.startswith(outer)]
    folders = dict.fromkeys(name.partition("/")[0] for name in inner if "/" in name)
    slug = outer.removesuffix(f"{OUTER}/") + "-" if outer else _slug([*folders])
    if not slug:
        return Reading()
    pieces: list[Piece] = []
    for name in inner:
        folder, inside, file = name.partition("/")
        if inside and folder.startswith(slug):
            called = folder.removeprefix(slug)
            other = TAKEN.sub("", called)
            # Everybody has one repository: who has their own has no other.
            logins = [called] if slug + other in folders else [called, other]
            readings = tuple((Who(login=one, group=one),) for one in logins)
            pieces.append(Piece(outer + name, file, readings))
    return Reading(tuple(pieces), sure=bool(outer))


def _slug(folders: list[str]) -> str:
    """Return the assignment's part of the names, up to a hyphen; of one folder it is not known."""
    start, hyphen, _ = shared_start(folders).rpartition("-")
    return start + hyphen if len(folders) > 1 else ""
