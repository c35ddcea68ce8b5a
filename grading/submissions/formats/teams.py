"""Microsoft Teams' files of an assignment, as OneDrive or SharePoint downloads them.

As lwchkg/teams_assignment_explorer reads them:

    Submitted files/Ann Roe/HW 1/Version 2/a.py     each version that was handed in
"""

import re

from grading.submissions.formats.pieces import Download, Piece, Reading, Who

NAMED = re.compile(
    r"(?:.*?/)??Submitted files/(?P<name>[^/]+)/(?P<assignment>[^/]+)/"
    r"[^\d/]*(?P<version>\d+)/(?P<file>.+)"
)


def read(download: Download) -> Reading:
    """Read the folders as Teams makes them."""
    pieces: list[Piece] = []
    for name in download.names:
        if found := NAMED.fullmatch(name):
            version = f"{int(found['version']):09}"
            pieces.append(
                Piece(name, found["file"], ((Who(name=found["name"]),),), attempt=version)
            )
    return Reading(tuple(pieces))
