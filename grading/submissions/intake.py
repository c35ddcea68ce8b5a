"""What a folder of submissions holds: one for each student, or a learning platform's download."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from grading.parsing.zips import ignored
from grading.submissions.formats import Download, Piece
from grading.submissions.opening import FILES
from grading.submissions.people import SURE, Person, Roster
from grading.submissions.placing import PLAIN, Owner, Taken, by_owner, recognise
from grading.submissions.reading import (
    DEPTH_LIMIT,
    Entry,
    find_submissions,
    require_no_course,
    too_many,
)
from harness.course.numbers import plural
from harness.drawing.visible import visible_line
from harness.errors import UserError

# The most bytes of a text that comes with a download.
TEXT = 64 * 1024 * 1024


class Intake(msgspec.Struct, frozen=True):
    """The submissions in a folder, in order of their names.

    ``told`` says what it was taken for, ``platform`` whose download it is, if it is one. Of those
    on the roster, ``missing`` did not submit; ``unknown`` are submissions of nobody on it.
    """

    entries: tuple[Entry, ...]
    told: str
    platform: str = ""
    missing: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    def lines(self) -> Iterator[str]:
        """Say what it was taken for, and what the instructor has to decide before it counts."""
        yield self.told
        for each in self.entries:
            if each.undecided:
                yield visible_line(f"Left open: {each.name}. {each.undecided}")


def take_in(
    folder: Path,
    assignment: str,
    roster: Roster | None = None,
    wanted: str = "",
    *,
    was_zip: bool = False,
) -> Intake:
    """Return what a folder holds. ``wanted`` is the platform that it is from, if that is said.

    All that is in a zip may lie in one folder. Raise OSError if the folder cannot be read, and
    UserError if it is not of the wanted form, or the course lies in it.
    """
    require_no_course(folder)
    root, names = folder, tuple(_files(folder))
    taken = recognise(_download(root, names), roster, wanted)
    inner = {name.partition("/")[0] for name in names if "/" in name}
    if not taken and len(inner) == 1 and all("/" in name for name in names):
        (only,) = inner
        within = tuple(name.removeprefix(f"{only}/") for name in names)
        taken = recognise(_download(root / only, within), roster, wanted)
        if taken or (was_zip and not (roster and roster.find_any(only))):
            root, names = root / only, within
    if taken is None and wanted not in ("", PLAIN):
        raise UserError(f"Nothing in it is named as {wanted} names submissions.")
    if taken is None:
        placed = [*_plain(root, roster)]
    else:
        placed = [*_entries(root, taken, assignment), *_others(root, taken, names)]
    placed = sorted(_once_each(placed), key=lambda each: each[0].name)
    return _intake([entry for entry, _ in placed], [one for _, one in placed], taken, roster)


# A submission and whose it is.
Placed = tuple[Entry, tuple[Person, ...]]


def _intake(
    entries: Sequence[Entry],
    owners: Sequence[tuple[Person, ...]],
    taken: Taken | None,
    roster: Roster | None,
) -> Intake:
    platform = taken.format if taken else ""
    what = f"a download from {platform}" if taken else "one file or folder per student"
    told = f"Read as {what}: {plural(len(entries), 'submission')}"
    if not roster:
        return Intake(tuple(entries), f"{told}.", platform)
    came = {one.row for people in owners for one in people}
    called = _usual(entries, owners) if taken is None else None
    missing = [
        (one.first(called) if called else "") or one.label
        for one in roster.people
        if one.row not in came
    ]
    unknown = [
        each.name
        for each, people in zip(entries, owners, strict=True)
        if not people and not each.undecided
    ]
    matched = sum(map(bool, owners))
    told += f", {matched} of them by students on the roster."
    return Intake(tuple(entries), told, platform, tuple(sorted(missing)), tuple(unknown))


def _usual(entries: Sequence[Entry], owners: Sequence[tuple[Person, ...]]) -> str | None:
    """Return the kind of column that most submissions are named by."""
    kinds = Counter(
        next((kind for kind in (*SURE, "name") if entry.name in one.known.get(kind, ())), None)
        for entry, people in zip(entries, owners, strict=True)
        for one in people
    )
    del kinds[None]
    return kinds.most_common(1)[0][0] if kinds else None


def _download(folder: Path, names: Sequence[str]) -> Download:
    known = frozenset(names)
    return Download(names, lambda name: _text(folder / name) if name in known else "")


def _files(folder: Path) -> Iterator[str]:
    """Yield the relative paths of all files, without what systems add; links are not followed."""
    count = 0
    for root, folders, files in os.walk(folder):
        inner = Path(root).relative_to(folder)
        folders[:] = sorted(each for each in folders if not ignored(each))
        if len(inner.parts) >= DEPTH_LIMIT:
            folders.clear()
        for name in sorted(files):
            if not ignored(name):
                count += 1
                if count > FILES:
                    return
                yield (inner / name).as_posix()


def _text(path: Path) -> str:
    """Return a text of the download's own; nothing if it is a link, or very long."""
    if path.is_symlink() or path.stat().st_size > TEXT:
        return ""
    return path.read_text(encoding="utf-8-sig", errors="replace")


def _plain(folder: Path, roster: Roster | None) -> Iterator[Placed]:
    """Yield a file, zip or folder for each student, and who they are."""
    for each in find_submissions(folder):
        people = _people(each.name, roster)
        names = [one.label for one in roster.called(each.name)] if roster and not people else []
        doubt = f"It can be {' or '.join(names)}'s." if len(names) > 1 else ""
        yield _known(each, people, doubt), people


def _once_each(placed: Sequence[Placed]) -> list[Placed]:
    """Leave open the submissions of somebody who has another one, also as a group's member."""
    having: defaultdict[Person, list[str]] = defaultdict(list)
    for entry, people in placed:
        for one in people:
            having[one].append(entry.name)
    told = []
    for entry, people in placed:
        doubt = ""
        for one in people:
            if len(names := having[one]) > 1:
                which = "both" if len(names) == 2 else "all"
                doubt = f"{' and '.join(names)} are {which} {one.label}'s: keep one."
        told.append((_known(entry, people, doubt), people))
    return told


def _people(name: str, roster: Roster | None) -> tuple[Person, ...]:
    if roster is None:
        return ()
    person = roster.find_any(name)
    return (person,) if person else roster.members(name)


def _known(entry: Entry, people: Sequence[Person], doubt: str = "") -> Entry:
    """Return the entry with what is known of its people."""
    times = sorted(filter(None, (one.first("time") for one in people)))
    return msgspec.structs.replace(
        entry,
        undecided=entry.undecided or doubt,
        file=next(filter(None, (one.first("file") for one in people)), ""),
        students=tuple(one.label for one in people) or entry.students,
        time=entry.time or (times[-1] if times else ""),
        extension=max((one.first("extension") for one in people), default=""),
    )


def _entries(folder: Path, taken: Taken, assignment: str) -> Iterator[Placed]:
    """Yield an entry for each owner, with what they handed in before as other attempts.

    Work for other assignments is not looked at, where a download has this one's.
    """
    pieces = taken.reading.pieces
    here = [piece for piece in pieces if piece.assignment == assignment]
    owned = by_owner(here or pieces, taken.owners)
    counts = Counter(owner.label for owner in owned)
    numbers: Counter[str] = Counter()
    for owner, attempts in owned.items():
        label = owner.label.replace("/", "-") or "submission"
        numbers[owner.label] += 1
        name = f"{label} ({numbers[owner.label]})" if counts[owner.label] > 1 else label
        tries = [
            _entry(folder, f"{name}/{said}" if len(attempts) > 1 else name, owner, pieces)
            for said, pieces in attempts.items()
        ]
        last = tries[-1]
        if len(tries) > 1:
            doubt = owner.doubt or too_many(len(tries))
            several = () if doubt else tuple(tries)
            last = msgspec.structs.replace(last, name=name, undecided=doubt, attempts=several)
        yield last, owner.people


def _entry(folder: Path, name: str, owner: Owner, pieces: Sequence[Piece]) -> Entry:
    times = [piece.time for piece in pieces if piece.time]
    called = Counter(piece.name for piece in pieces)
    entry = Entry(
        name,
        tuple(str(folder / piece.path) for piece in pieces),
        owner.doubt,
        students=owner.named,
        names=tuple(
            piece.name if called[piece.name] == 1 else Path(piece.path).name for piece in pieces
        ),
        time=max(times, key=datetime.timestamp).isoformat() if times else "",
        late=any(piece.late for piece in pieces),
    )
    return _known(entry, owner.people)


def _others(folder: Path, taken: Taken, names: Sequence[str]) -> Iterator[Placed]:
    """Yield what is in the download and is not named as its platform names submissions."""
    known = {*taken.owners, *taken.reading.extra}
    for name in names:
        if name not in known:
            why = (
                f"{visible_line(name)} is not named as {taken.format} names submissions: whose is "
                "it? Rename it like the others, or remove it."
            )
            yield Entry(name.replace("/", "-"), (str(folder / name),), why), ()
