"""Gradescope's "Export Submissions": a folder for each submission, and a file that says whose.

As the exports look to otter-grader's GradescopeParser and to graders in public repositories:

    assignment_77_export/submission_123/a.py
    assignment_77_export/submission_metadata.yml

The metadata is YAML by the folder's name, and its inner keys begin with a colon: ``:submitters`` is
a list of ``:name``, ``:sid`` and ``:email``, and ``:created_at`` a time in UTC.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import yaml

from grading.submissions.formats.pieces import Download, Piece, Reading, Who

NAMED = re.compile(r"(?:assignment_\d+_export/)?(?P<folder>submission_\d+)/(?P<file>.+)")
METADATA = re.compile(r"(?:assignment_\d+_export/)?submission_metadata\.ya?ml")


def read(download: Download) -> Reading:
    """Read the folders' names, and the metadata beside them."""
    found = {name: each for name in download.names if (each := NAMED.fullmatch(name))}
    extra = frozenset(filter(METADATA.fullmatch, download.names))
    known = {key: value for name in sorted(extra) for key, value in _metadata(download.text(name))}
    pieces = []
    for name, each in found.items():
        about = known.get(each["folder"], {})
        people = tuple(_people(about)) or (Who(unnamed=each["folder"]),)
        time = about.get(":created_at")
        pieces.append(Piece(name, each["file"], (people,), _time(time)))
    return Reading(tuple(pieces), extra)


def _metadata(text: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        read = yaml.safe_load(text)
    except yaml.YAMLError:
        return
    for key, value in read.items() if isinstance(read, dict) else ():
        if isinstance(value, dict):
            yield str(key), value


def _people(about: Mapping[str, Any]) -> Iterator[Who]:
    people = about.get(":submitters")
    for person in people if isinstance(people, list) else ():
        if isinstance(person, dict):
            name, sid, email = (
                str(person.get(f":{key}") or "") for key in ("name", "sid", "email")
            )
            yield Who(name=name, number=sid, email=email)


def _time(value: object) -> datetime | None:
    if not isinstance(value, datetime):
        return None
    return value if value.tzinfo else value.replace(tzinfo=UTC)
