"""Groups of submissions that share more than chance explains: evidence for a person to judge.

Honest solutions of short exercises look alike. What counts is therefore how few others write the
same: what many have, or was in the handout, says nothing, and a group is reported only if a pair
like it is unlikely by chance in a class of this size.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from grading.errors import hinted, refusal
from grading.parsing.features import Details
from grading.parsing.source import Unreadable
from grading.results.attempts import attempts_of
from grading.sandbox import open_spawner
from grading.sandbox.reader import Reader
from grading.submissions.intake import take_in
from grading.submissions.opening import opened
from grading.submissions.people import Roster
from grading.submissions.reading import Entry, read_files, sought
from harness.course.numbers import plural
from harness.drawing.visible import visible_line
from harness.errors import UserError

# A pair is reported if fewer pairs like it than this are expected by chance.
EXPECTED = 0.02
# The weight of the guesses below, as a number of students.
WEIGHT = 2.0
# What more students than this have in common makes no pairs of them.
MOST_SHARING = 30
# How likely two students have a detail in common, before looking at the class.
GUESSES = {"text": 0.3, "string": 0.05, "name": 0.4}
# Natural words are common even if nobody else in this class uses them.
FLOORS = {"unit": 0.01, "text": 0.1, "comment": 0.003, "string": 0.03, "name": 0.15}
# How many of a kind count: those of one kind come together.
COUNTED = {"unit": 8, "text": 1, "comment": 4, "string": 2, "name": 3}
# Without one of these, names and strings prove nothing. In a class smaller than this, neither do
# functions: there are too few others to tell how common a function is.
TELLING = ("file", "comment")
LEAST_CLASS = 10
# The same for a comment of at least so many words: short ones are common.
COMMENTS = ((5, 0.01), (3, 0.03), (0, 0.3))
MOST_SHOWN = 80
MOST_LINE = 300
Feature = tuple[str, str]


@dataclass(frozen=True)
class Shared:
    """Something that a pair has in common, and how many others have it too."""

    kind: str
    what: str
    others: int


@dataclass(frozen=True)
class Group:
    """Submissions that share something, with the evidence of the closest pair among them.

    ``chance`` is the number of pairs like that one to expect in this class, ``shared`` what it has
    in common.
    """

    submissions: list[str]
    chance: float
    shared: list[Shared]


def similar_in(
    folder: Path, assignment: str, handout: Path, roster: Roster | None = None
) -> tuple[list[Group], dict[str, str]]:
    """Return the groups in a folder of submissions, and why others could not be read, by name.

    Of several attempts, the latest is compared. Raise UserError if ``folder`` is neither a folder
    nor a zip, or the handout cannot be read.
    """
    with opened(folder) as (inside, was_zip):
        if not inside.is_dir():
            raise UserError(
                f"{folder} is not a folder or zip: give the one that holds the submissions."
            )
        entries = take_in(inside, assignment, roster, was_zip=was_zip).entries
        return _similar_among(entries, assignment, handout)


def _similar_among(
    entries: Sequence[Entry], assignment: str, handout: Path
) -> tuple[list[Group], dict[str, str]]:
    latest = [(attempts_of(each, assignment) or [each])[-1] for each in entries]
    unread: dict[str, str] = {}
    # No code is run: any isolation level will do.
    with open_spawner() as spawner, Reader(spawner) as reader:
        try:
            given = _details_of(Entry("handout", (str(handout),)), assignment, reader)
        except Unreadable as why:
            raise UserError(hinted(f"The handout {handout} cannot be read: {why}")) from None

        def read() -> Iterator[tuple[str, Details]]:
            for entry, one in zip(entries, latest, strict=True):
                try:
                    yield entry.name, _details_of(one, assignment, reader)
                except Unreadable as why:
                    unread[entry.name] = str(why)

        return groups(read(), given), unread


def _details_of(entry: Entry, assignment: str, reader: Reader) -> Details:
    """Return what can be compared of a submission. Raise Unreadable if there is nothing."""
    try:
        files, reason = read_files(entry, assignment)
    except OSError as error:
        raise Unreadable(refusal(error, entry.paths[0])) from None
    if reason:
        raise Unreadable(reason)
    return reader.details(files, sought(assignment, entry.file))


def groups(read: Iterable[tuple[str, Details]], handout: Details) -> list[Group]:
    """Return the groups among submissions, given by name, the least likely by chance first."""
    index = Index(handout)
    for name, details in read:
        index.add(name, details)
    return _joined(index)


class Index:
    """Who shares which features.

    Features are numbers, and pairs are compared as they come: of a large class neither all details
    nor all pairs are in memory.
    """

    def __init__(self, handout: Details) -> None:
        self._given = set(_features(handout))
        self._numbers: dict[Feature, int] = {}
        self._sizes = array("I")
        self._called: dict[int, str] = {}
        self._own: dict[str, array[int]] = {}

    def add(self, name: str, details: Details) -> None:
        """Take the details of a submission, unless its functions are all as handed out."""
        features = _features(details)
        own = features.keys() - self._given
        if not any(kind == "unit" for kind, _ in own):
            return
        numbers = array("I")
        for feature in own:
            number = self._numbers.setdefault(feature, len(self._numbers))
            if number == len(self._sizes):
                self._sizes.append(features[feature])
            if feature[0] == "unit":
                self._called[number] = details.units[feature[1]][0]
            numbers.append(number)
        self._own[name] = numbers

    def pairs(self) -> Iterator[tuple[float, str, str]]:
        """Yield how many pairs to expect by chance, and the pair, where that is few."""
        telling = (*TELLING, "unit") if len(self._own) >= LEAST_CLASS else TELLING
        for one, other in self._candidates():
            chance, shared = self.judged(one, other)
            if chance < EXPECTED and any(each.kind in telling for each in shared):
                yield chance, one, other

    def _candidates(self) -> Iterator[tuple[str, str]]:
        """Yield the pairs to compare: those that share what few others have, or whole files."""
        names = self._names
        for at, name in enumerate(names):
            found: set[int] = set()
            for number in self._own[name]:
                having = self._having.get(number, ())
                later = having[bisect_right(having, at) :]
                if self._features[number][0] == "file":
                    found.update(later[:1])
                elif len(having) <= MOST_SHARING:
                    found.update(later)
            yield from ((name, names[other]) for other in found)

    def judged(self, one: str, other: str) -> tuple[float, list[Shared]]:
        """Return how many pairs that share as much to expect by chance, and what they share."""
        both = set(self._own[one]).intersection(self._own[other])
        files = [number for number in both if self._features[number][0] == "file"]
        rare = {number: self._rarity(number) for number in both.difference(files)}
        counted: Counter[str] = Counter()
        surprises: list[float] = []
        shared = [Shared("file", "", len(self._having[file]) - 2) for file in files]
        for number in sorted(rare, key=lambda each: (-rare[each], self._features[each])):
            kind, what = self._features[number]
            counted[kind] += 1
            if counted[kind] <= COUNTED[kind]:
                surprises.append(rare[number])
                others = len(self._having[number]) - 2
                what = self._called.get(number, "" if kind == "text" else what)
                shared.append(Shared(kind, what, others))
        if files:
            return 0.0, shared
        # The sum is exact: its last digit would depend on the order, and may decide a rounding.
        chance = math.comb(len(self._own), 2) * 10 ** -math.fsum(surprises)
        return float(f"{chance:.2g}"), shared

    def _rarity(self, number: int) -> float:
        having, size = len(self._having[number]), self._sizes[number]
        return -math.log10(_likely(self._features[number], size, having, len(self._own)))

    @cached_property
    def _names(self) -> list[str]:
        return sorted(self._own)

    @cached_property
    def _features(self) -> list[Feature]:
        return list(self._numbers)

    @cached_property
    def _having(self) -> dict[int, array[int]]:
        """Those who have each feature that not only one has, as places among the names."""
        counts = array("I", bytes(len(self._sizes) * self._sizes.itemsize))
        for numbers in self._own.values():
            for number in numbers:
                counts[number] += 1
        found: dict[int, array[int]] = {}
        for at, name in enumerate(self._names):
            for number in self._own[name]:
                if counts[number] > 1:
                    found.setdefault(number, array("I")).append(at)
        return found


def _features(details: Details) -> dict[Feature, int]:
    """Return what can be shared, with the size of functions, 0 for the rest."""
    found = {("unit", digest): size for digest, (_, size) in details.units.items()}
    kinds = {"comment": details.comments, "name": details.names, "string": details.strings}
    found |= {(kind, text): 0 for kind, texts in kinds.items() for text in texts}
    return found | {("file", details.file): 0, ("text", details.text): 0}


def _likely(feature: Feature, size: int, having: int, count: int) -> float:
    """Estimate how likely a student has a feature from the guesses and all but the two compared."""
    kind, text = feature
    if kind == "unit":
        guess = min(0.5, max(0.02, 16 / size))
    elif kind == "comment":
        guess = next(guess for least, guess in COMMENTS if len(text.split()) >= least)
    else:
        guess = GUESSES[kind]
    seen = (having - 2 + WEIGHT * guess) / (count - 2 + WEIGHT)
    return min(1.0, max(seen, FLOORS[kind]))


def _joined(index: Index) -> list[Group]:
    """Join pairs with a member in common to groups, with the evidence of the closest pair."""
    group_of: dict[str, int] = {}
    members: dict[int, set[str]] = {}
    closest: dict[int, tuple[str, str]] = {}
    for number, (_, one, other) in enumerate(sorted(index.pairs())):
        joined = {one, other}
        first = number
        for old in {group_of[name] for name in (one, other) if name in group_of}:
            joined |= members.pop(old)
            first = min(first, old)
        members[first] = joined
        closest.setdefault(first, (one, other))
        group_of |= dict.fromkeys(joined, first)
    return [
        Group(sorted(members[number]), *index.judged(*closest[number]))
        for number in sorted(members)
    ]


def group_lines(groups: Sequence[Group], unread: Mapping[str, str]) -> Iterator[str]:
    """Yield the groups as lines for the terminal."""
    for group in groups:
        yield visible_line(", ".join(group.submissions))
        for each in group.shared:
            yield f"  {_said(each)}"
        if group.chance:
            yield f"  By chance, {group.chance:g} such pairs would be expected in this class."
    yield f"{plural(len(groups), 'group')}: evidence for a person to judge, which changes no mark."
    for name, why in sorted(unread.items()):
        yield visible_line(f"Not compared: {name}: {why}")[:MOST_LINE]


def _said(shared: Shared) -> str:
    what = visible_line(shared.what)[:MOST_SHOWN]
    said = {
        "file": "the same file, byte for byte",
        "text": "the same code, comments and spaces included",
        "unit": f"{what} is the same, names and comments aside",
        "comment": f'the comment "{what}"',
        "string": f'the text "{what}"',
        "name": f"the name {what}",
    }[shared.kind]
    others = {0: "nobody else", 1: "1 other"}.get(shared.others, f"{shared.others} others")
    return f"{said} ({others})"
