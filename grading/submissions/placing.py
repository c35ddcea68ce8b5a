"""Whose each file of a download is: what its name says, held against the roster."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from grading.submissions.formats import Download, Piece, Reading, Who, formats
from grading.submissions.people import Person, Roster, described
from harness.errors import UserError

# What a download is if no other format fits: one file, zip or folder for each student.
PLAIN = "plain"
# A format fits if it explains this share of the names, and the roster agrees with half of those.
MOST, HALF = 0.6, 0.5
# What somebody can be known by whatever else is said of them.
ALONE = frozenset({"login", "email", "number", "id"})
WORDS = {"squeezed": "name", "participant": "participant's number"}
# What a group can be called like.
NAMES = frozenset({"name", "squeezed"})
CALLED = NAMES | {"login"}


@dataclass(frozen=True)
class Owner:
    """Whose a piece is: the people on the roster, or what the download calls them.

    ``named`` are the people that the download itself names, ``key`` distinguishes those who are
    called alike, and ``doubt`` says why the instructor has to look.
    """

    label: str
    people: tuple[Person, ...] = ()
    doubt: str = ""
    key: str = ""
    named: tuple[str, ...] = ()


@dataclass(frozen=True)
class Taken:
    """What a download was taken for: its format's name, and the owners of its pieces."""

    format: str
    reading: Reading
    owners: Mapping[str, Owner]

    @property
    def placed(self) -> int:
        """How many pieces belong to somebody on the roster without doubt."""
        return sum(bool(owner.people) and not owner.doubt for owner in self.owners.values())


def owner_of(readings: Sequence[tuple[Who, ...]], roster: Roster, shared: Collection[str]) -> Owner:
    """Return whose a piece is, by the way to read its name that the roster agrees with most.

    ``shared`` are the kinds of names that mean the same in the download and on the roster.
    """
    found: list[tuple[int, tuple[Person, ...]]] = []
    doubt = ""
    for reading in readings:
        hits = [_person(who, roster, shared) for who in reading]
        doubt = doubt or next((said for _, _, said in hits if said), "")
        known = tuple(one for one, _, _ in hits if one)
        kinds = {kind for _, found_by, _ in hits for kind in found_by}
        agree = sum(len(found_by) for _, found_by, _ in hits)
        members = _members(reading[0], roster) if len(reading) == 1 else ()
        if members:
            # A group's work can come with the number of one member. A group can be called like
            # somebody, too: then a number tells that it is not in question.
            inside = {*known} <= {*members}
            if inside or kinds <= CALLED:
                found.append((agree + 1, members))
            if known and (kinds & CALLED or not inside):
                found.append((agree + 1, known))
        elif len(known) == len(hits):
            found.append((agree, known))
    best = max((count for count, _ in found), default=0)
    owners = dict.fromkeys(people for count, people in found if count == best)
    if len(owners) > 1:
        names = " or ".join(" and ".join(one.label for one in people) for people in owners)
        return _doubtful(readings, f"It can be {names}'s.")
    if not owners and doubt:
        return _doubtful(readings, doubt)
    if not owners:
        named = tuple(who.label for who in readings[0] if any(described(who)))
        label, key = _called(readings)
        return Owner(label, key=key, named=named)
    (people,) = owners
    return Owner(people[0].label if len(people) == 1 else _called(readings)[0], people)


def _called(readings: Sequence[tuple[Who, ...]]) -> tuple[str, str]:
    """Return what somebody is called in the download, and what tells them from others."""
    return " and ".join(who.label for who in readings[0]), " ".join(who.key for who in readings[0])


def _doubtful(readings: Sequence[tuple[Who, ...]], doubt: str) -> Owner:
    """Return nobody. By a name alone it would be taken for somebody else's later."""
    label, key = _called(readings)
    return Owner(label if key == label else f"{label} ({key})", key=key, doubt=doubt)


def _members(who: Who, roster: Roster) -> tuple[Person, ...]:
    return next(filter(None, (roster.members(each) for each in (who.group, who.squeezed))), ())


def _person(
    who: Who, roster: Roster, shared: Collection[str]
) -> tuple[Person | None, Collection[str], str]:
    """Return who it is, by what kinds of names, and what does not agree."""
    said = dict(described(who))
    found = {kind: one for kind, value in said.items() if (one := roster.find(kind, value))}
    # Of two people with nearly one name, the login tells who it is.
    sure = dict.fromkeys(one for kind, one in found.items() if kind in ALONE)
    if len(sure) == 1:
        (one,) = sure
        found = {
            kind: one if roster.agrees(one, kind, said[kind]) else found[kind] for kind in found
        }
    people = dict.fromkeys(found.values())
    if len(people) > 1:
        names = " and ".join(f"its {kind} is {one.label}'s" for kind, one in found.items())
        return None, (), f"Of what it is called, {names}."
    person = next(iter(people), None)
    if person and not sure:
        # Somebody who has left may have the name, and a group the number, of somebody else.
        for kind, value in said.items():
            if (kind == "name" or kind in shared) and not roster.agrees(person, kind, value):
                has = " and ".join(WORDS.get(each, each) for each in found)
                other = WORDS.get(kind, kind)
                return None, (), f"It has the {has} of {person.label}, but not the {other}."
    return person, found, ""


def _shared(reading: Reading, roster: Roster) -> frozenset[str]:
    """Return the kinds of names of which the roster knows one that stands in the download."""
    said = {
        pair
        for piece in reading.pieces
        for who in piece.who
        for one in who
        for pair in described(one)
    }
    return frozenset(kind for kind, value in said if roster.find(kind, value))


def recognise(download: Download, roster: Roster | None, wanted: str = "") -> Taken | None:
    """Return what the download is, or None if it is one file, zip or folder for each student.

    ``wanted`` is the format that the instructor names: None if nothing is of that form. Raise
    UserError if there is no such format.
    """
    if wanted == PLAIN:
        return None
    known = formats()
    if wanted and wanted not in known:
        raise UserError(f"{wanted} is not a known format: choose one of {', '.join(known)}.")
    taken = [
        _taken(name, read(download), roster) for name, read in known.items() if wanted in ("", name)
    ]
    fitting = [each for each in taken if each.reading.pieces]
    if wanted:
        return next(iter(fitting), None)
    fitting = [each for each in fitting if _fits(each, download, roster)]
    return max(fitting, key=lambda each: (each.placed, len(each.owners)), default=None)


def _taken(name: str, reading: Reading, roster: Roster | None) -> Taken:
    people = roster or Roster()
    shared = _shared(reading, people)
    known = {who: owner_of(who, people, shared) for who in {each.who for each in reading.pieces}}
    for who, owner in _claimed(known, people):
        doubt = f"Others in the download are called like {owner.people[0].label}, too."
        known[who] = _doubtful(who, doubt)
    return Taken(name, reading, {each.path: known[each.who] for each in reading.pieces})


Readings = tuple[tuple[Who, ...], ...]


def _claimed(owners: Mapping[Readings, Owner], roster: Roster) -> Sequence[tuple[Readings, Owner]]:
    """Return what several people of one name handed in, of which the roster has one, unnumbered."""
    found: defaultdict[Person, dict[str, list[tuple[Readings, Owner]]]] = defaultdict(dict)
    for who, owner in owners.items():
        named = who[0][0]
        if len(who[0]) == len(owner.people) == 1 and not any(
            roster.find(kind, value) for kind, value in described(named) if kind not in NAMES
        ):
            found[owner.people[0]].setdefault(named.key, []).append((who, owner))
    return [
        each
        for keys in found.values()
        if len(keys) > 1
        for claims in keys.values()
        for each in claims
    ]


def _fits(taken: Taken, download: Download, roster: Roster | None) -> bool:
    """Return whether names and roster agree that a download has this form."""
    explained = len(taken.reading.pieces) + len(taken.reading.extra)
    if explained < MOST * len(download.names):
        return False
    if not taken.reading.sure and not roster:
        return False
    named = [piece for piece in taken.reading.pieces if not _is_unnamed(piece)]
    if not roster or not named:
        return taken.reading.sure
    at_top = sum(bool(roster.find_any(name)) for name in download.top)
    return taken.placed >= HALF * len(named) or (taken.reading.sure and taken.placed > at_top)


def _is_unnamed(piece: Piece) -> bool:
    return all(not [*described(who)] for people in piece.who for who in people)


def by_owner(
    pieces: Iterable[Piece], owners: Mapping[str, Owner]
) -> dict[Owner, dict[str, list[Piece]]]:
    """Return the pieces of each owner, by attempt, the attempts in order."""
    found: defaultdict[Owner, defaultdict[str, list[Piece]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for piece in pieces:
        found[owners[piece.path]][piece.attempt].append(piece)
    return {owner: dict(sorted(attempts.items())) for owner, attempts in found.items()}
