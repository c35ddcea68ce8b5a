"""What a format says of a download: whose each file is, what it was called, and when it came."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import entry_points
from pathlib import PurePosixPath

GROUP = "backprop_harness.downloads"


@dataclass(frozen=True)
class Who:
    """What a download says about who handed something in: an empty text where it says nothing.

    ``name`` is a full name; ``squeezed`` one of which only small letters are left; ``number`` the
    school's number of a person; ``id`` the platform's own, if it stands in its rosters too;
    ``participant`` a number that holds for one assignment. ``group`` is what a team would be
    called. ``unnamed`` only tells one from another.
    """

    login: str = ""
    email: str = ""
    number: str = ""
    id: str = ""
    participant: str = ""
    name: str = ""
    squeezed: str = ""
    group: str = ""
    unnamed: str = ""

    @property
    def label(self) -> str:
        """What the submission is called as long as nobody on the roster is found for it."""
        named = (self.login, self.email, self.name, self.group, self.squeezed)
        return next(filter(None, (*named, self.key)), "")

    @property
    def key(self) -> str:
        """What tells this one from others who are called the same."""
        sure = (self.login, self.email, self.number, self.id, self.participant, self.unnamed)
        return next(filter(None, (*sure, self.name, self.group, self.squeezed)), "")


@dataclass(frozen=True)
class Piece:
    """A file of a submission: where it is in the download, and how it was called.

    ``who`` has what the name may mean, the likeliest first: more than one where a name can be read
    in several ways. Each may be several people, as members of a group are. ``time`` is when it was
    handed in, ``attempt`` orders what one person handed in several times, ``late`` is what the
    platform says, and ``assignment`` what the work is for, where a download has several.
    """

    path: str
    name: str
    who: tuple[tuple[Who, ...], ...]
    time: datetime | None = None
    attempt: str = ""
    late: bool = False
    assignment: str = ""


@dataclass(frozen=True)
class Download:
    """The names of all files in a download, relative to it, and how to read a small text."""

    names: Sequence[str]
    text: Callable[[str], str] = field(default=lambda _: "")

    @property
    def top(self) -> tuple[str, ...]:
        """The names of files and folders at the top."""
        return tuple(dict.fromkeys(PurePosixPath(name).parts[0] for name in self.names))


@dataclass(frozen=True)
class Reading:
    """What a format makes of a download.

    ``extra`` are the files that the platform itself adds. What is in neither is not of this form.
    Where names are ``sure``, no other tool writes such; else only the roster can tell.
    """

    pieces: tuple[Piece, ...] = ()
    extra: frozenset[str] = frozenset()
    sure: bool = True


Format = Callable[[Download], Reading]


def formats() -> Mapping[str, Format]:
    """Return the installed formats by their names for people."""
    found = sorted(entry_points(group=GROUP), key=lambda each: each.name)
    return {each.name: each.load() for each in found}


def splits(text: str, separator: str = "_") -> Iterator[tuple[str, str]]:
    """Yield both sides of each separator, the longest left side first."""
    parts = text.split(separator)
    for at in range(len(parts) - 1, 0, -1):
        yield separator.join(parts[:at]), separator.join(parts[at:])


def shared_start(names: Sequence[str]) -> str:
    """Return with what all names begin."""
    if not names:
        return ""
    low, high = min(names), max(names)
    return next((low[:at] for at, char in enumerate(low) if char != high[at : at + 1]), low)
