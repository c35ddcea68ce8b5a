"""Several attempts of one student: the folders that hold them, and the one that counts.

A student's folder holds attempts if it holds only folders called ``attempt-1``, ``attempt-2`` …,
or only folders named by a date and time. Anything else is not guessed at.
"""

import os
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from grading.parsing.zips import ignored, shown_name
from grading.results.lines import Attempt, Result
from grading.submissions.reading import Entry, too_many

NUMBERED = re.compile(r"attempt[-_ ]?(\d{1,6})", re.IGNORECASE)
DATED = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[T_ ](\d\d)[:.-](\d\d)(?:[:.-](\d\d)(?:\.(\d{1,6}))?)?)? ?"
    r"(Z|UTC|[+-]\d\d:?\d\d)?"
)


def attempts_of(entry: Entry, assignment: str) -> list[Entry]:
    """Return the attempts in a student's folder, oldest first; empty if it does not hold attempts.

    They are called like ``alice/attempt-2``. If there are too many, the only entry says so, and is
    undecided.
    """
    if entry.attempts or len(entry.paths) != 1 or entry.names:
        return list(entry.attempts)
    root = Path(entry.paths[0])
    inner = root / assignment
    if os.path.isdir(inner) and not inner.is_symlink():  # noqa: PTH112 - never raises
        root = inner
    names = in_order(_folders_only(root))
    if said := too_many(len(names)):
        return [msgspec.structs.replace(entry, undecided=said)]
    return [
        msgspec.structs.replace(
            entry,
            name=f"{entry.name}/{shown_name(name)}",
            paths=(str(root / name),),
            time=_written(name) or entry.time,
        )
        for name in names
    ]


def in_order(names: Sequence[str]) -> list[str]:
    """Return the names of attempts, oldest first.

    Return nothing unless they are all of one kind, and no two mean the same.
    """
    if len(names) < 2:
        return []
    for kind in (_number, _time):
        places = {name: kind(name) for name in names}
        keys = [key for key in places.values() if key is not None]
        if len(keys) == len(names) == len({*keys}) and len({len(key) for key in keys}) == 1:
            return sorted(names, key=lambda name: places[name] or ())
    return []


def counting(results: Sequence[Result], rule: str) -> int:
    """Return the place of the attempt that counts by the ``rule``.

    The best is the latest of those with the most points. An attempt that the grader failed on
    could be the best, unless another has full marks.
    """
    if rule == "latest":
        return len(results) - 1
    return max(range(len(results)), key=lambda place: (_worth(results[place]), place))


def combined(student: str, results: Sequence[Result], counts: int) -> Result:
    """Return the result of the attempt that counts, with the marks of all."""
    attempts = [
        Attempt(
            result.submission.removeprefix(f"{student}/"),
            *(result.status, result.score, result.digest, place == counts),
        )
        for place, result in enumerate(results)
    ]
    return msgspec.structs.replace(results[counts], submission=student, attempts=attempts)


def _worth(result: Result) -> tuple[float, bool]:
    if result.score is None:
        return result.max_score, False
    return result.score, True


def _number(name: str) -> tuple[object, ...] | None:
    match = NUMBERED.fullmatch(name)
    return (int(match[1]),) if match else None


def _time(name: str) -> tuple[object, ...] | None:
    """Return when it was; with a time zone the key is longer, so the two are never compared."""
    if (match := DATED.fullmatch(name)) is None:
        return None
    day, hour, minute, second, fraction, zone = match.groups()
    text = f"{day}T{hour or '00'}:{minute or '00'}:{second or '00'}"
    try:
        moment = datetime.fromisoformat(text + {"UTC": "Z", None: ""}.get(zone, zone or ""))
    except ValueError:
        return None
    part = int((fraction or "").ljust(6, "0"))
    return (moment, part, "zone") if zone else (moment, part)


def _written(name: str) -> str:
    """Return the time in the name of an attempt, in ISO 8601; "" if there is none."""
    key = _time(name)
    moment = key[0] if key else None
    return moment.isoformat() if isinstance(moment, datetime) else ""


def _folders_only(root: Path) -> list[str]:
    """Return the names of the attempts in a folder; nothing if it holds anything else."""
    names: list[str] = []
    try:
        with os.scandir(root) as entries:
            for each in entries:
                if ignored(each.name):
                    continue
                named = NUMBERED.fullmatch(each.name) or DATED.fullmatch(each.name)
                if not named or not each.is_dir(follow_symlinks=False):
                    return []
                names.append(each.name)
    except OSError:
        return []
    return names
