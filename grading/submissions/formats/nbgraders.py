"""What nbgrader's exchange and `nbgrader zip_collect` hold, and the folders that it works in.

As nbgrader/exchange/default and nbgrader/plugins/zipcollect.py of jupyter/nbgrader name them:

    aroe+ps1+2025-02-03 14:05:09.1 UTC/ps1.ipynb    inbound, with 12 random characters after 0.7
    submitted/aroe/ps1/ps1.ipynb                    collected
    aroe/ps1/ps1.ipynb                              the same from inside
"""

import re
from datetime import UTC, datetime

from grading.submissions.formats.pieces import Download, Piece, Reading, Who

INBOUND = re.compile(
    r"(?P<login>[^/]+)\+(?P<assignment>[^+/]+)\+(?P<time>\d{4}-[^+/]*?)(?:\+[\w-]{12})?/(?P<file>.+)"
)
COLLECTED = re.compile(r"(?:submitted/)(?P<login>[^/]+)/(?P<assignment>[^/]+)/(?P<file>.+)")
TIMESTAMP = "timestamp.txt"


def read(download: Download) -> Reading:
    """Read the folders' names, and the timestamps in them."""
    pieces: list[Piece] = []
    extra: set[str] = set()
    for name in download.names:
        found = INBOUND.fullmatch(name) or COLLECTED.fullmatch(name)
        if not found:
            continue
        if found["file"] == TIMESTAMP:
            extra.add(name)
            continue
        stamp = name.removesuffix(found["file"]) + TIMESTAMP
        said = found.groupdict().get("time") or download.text(stamp)
        time = _time(said)
        order = time.isoformat() if time else said
        who = (Who(login=found["login"]),)
        work = found["assignment"]
        pieces.append(Piece(name, found["file"], (who,), time, order, assignment=work))
    return Reading(tuple(pieces), frozenset(extra))


def _time(text: str) -> datetime | None:
    """Return a time as nbgrader writes it: with a zone's name, in UTC by default."""
    try:
        time = datetime.fromisoformat(text.strip().removesuffix(" UTC"))
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
