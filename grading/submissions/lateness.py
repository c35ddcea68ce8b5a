"""When something was handed in, and how late that was. Nothing is deducted for it here."""

from __future__ import annotations

import re
from datetime import date, datetime, time

# As GitHub Classroom, Gradescope and nbgrader write times: a zone's name, and more digits of a
# second than can be read.
_ZONE, _DIGITS = re.compile(r" ?(?:UTC|GMT|Z)$"), re.compile(r"(\.\d{6})\d+")
# As Moodle writes them in English: "Monday, 2 March 2026, 10:00 AM".
MOODLE = re.compile(r"\w+, \d+ \w+ \d{4}, \d+:\d\d [AP]M")
# What is said of a submission that the platform calls late, without telling when it came.
LATE = "yes"


def moment(text: str) -> datetime | None:
    """Return a time written as ISO 8601 or nearly so, a date alone as its end; None for others."""
    plain = _DIGITS.sub(r"\1", _ZONE.sub("+00:00", text.strip()))
    plain = re.sub(r" ([+-]\d\d:?\d\d)$", r"\1", plain)
    try:
        if MOODLE.fullmatch(plain):
            return datetime.strptime(plain, "%A, %d %B %Y, %I:%M %p")
        if re.fullmatch(r"\d{4}-\d\d-\d\d", plain):
            return datetime.combine(date.fromisoformat(plain), time.max.replace(microsecond=0))
        return datetime.fromisoformat(plain)
    except ValueError:
        return None


def lateness(handed_in: str, deadline: str, extension: str, *, marked: bool) -> str:
    """Return how late something was, in hours, minutes and seconds; "" if it was not.

    The times are ISO 8601. One without a zone is in the zone of the one that it is compared with.
    An extension counts where it is later. ``marked`` is what the platform says, which decides where
    a time or the deadline is not known.
    """
    came = moment(handed_in)
    due = [each for each in (moment(deadline), moment(extension)) if each]
    if not came or not due:
        return LATE if marked and not extension else ""
    seconds = min(int(_between(each, came)) for each in due)
    if seconds <= 0:
        return ""
    minutes, second = divmod(seconds, 60)
    return f"{minutes // 60}:{minutes % 60:02}:{second:02}"


def _between(due: datetime, came: datetime) -> float:
    """Return the seconds from one time to another."""
    if due.tzinfo and not came.tzinfo:
        came = came.replace(tzinfo=due.tzinfo)
    elif came.tzinfo and not due.tzinfo:
        came = came.astimezone().replace(tzinfo=None)
    return (came - due).total_seconds()
