"""Whose a result is, what its files are called in a download, and how late they came."""

from pathlib import Path

import msgspec
from msgspec import UNSET

from grading.results.lines import Result
from grading.submissions.lateness import lateness
from grading.submissions.reading import Entry
from harness.drawing.visible import visible_line


def with_origin(result: Result, entry: Entry, folder: Path, deadline: str) -> Result:
    """Return the result with what is known of the entry that it is of.

    ``folder`` is where the entry's files are, and the ``deadline`` is in ISO 8601, or "".
    """
    paths = (Path(path).relative_to(folder).as_posix() for path in entry.paths)
    late = lateness(entry.time, deadline, entry.extension, marked=entry.late)
    return msgspec.structs.replace(
        result,
        students=list(entry.students) or UNSET,
        files=dict(zip(entry.names, paths, strict=True)) if entry.names else UNSET,
        time=visible_line(entry.time) or UNSET,
        late=late or UNSET,
    )
