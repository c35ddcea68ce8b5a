"""Groups of submissions that share more than chance explains: evidence for a person to judge.

Honest solutions of short exercises look alike. What counts is therefore how few others write the
same: what many have, or was in the handout, says nothing, and a group is reported only if a pair
like it is unlikely by chance in a class of this size.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
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
    read: dict[str, Details] = {}
    unread: dict[str, str] = {}
    # No code is run: any isolation level will do.
    with open_spawner() as spawner, Reader(spawner) as reader:
        try:
            given = _details_of(Entry("handout", (str(handout),)), assignment, reader)
        except Unreadable as why:
            raise UserError(hinted(f"The handout {handout} cannot be read: {why}")) from None
        for entry, one in zip(entries, latest, strict=True):
            try:
                read[entry.name] = _details_of(one, assignment, reader)
            except Unreadable as why:
                unread[entry.name] = str(why)
    return groups(read, given), unread


def _details_of(entry: Entry, assignment: str, reader: Reader) -> Details:
    """Return what can be compared of a submission. Raise Unreadable if there is nothing."""
    try:
        files, reason = read_files(entry, assignment)
    except OSError as error:
        raise Unreadable(refusal(error, entry.paths[0])) from None
    if reason:
        raise Unreadable(reason)
    return reader.details(files, sought(assignment, entry.file))


def groups(read: Mapping[str, Details], handout: Details) -> list[Group]:
    """Return the groups among submissions, the least likely by chance first."""
    given = set(_features(handout))
    own: dict[str, dict[Feature, int]] = {}
    having: defaultdict[Feature, list[str]] = defaultdict(list)
    for name, details in read.items():
        features = {each: size for each, size in _features(details).items() if each not in given}
        # At least one function is not as it was handed out.
        if any(kind == "unit" for kind, _ in features):
            own[name] = features
            for feature in features:
                having[feature].append(name)
    called = {
        ("unit", digest): name for each in read.values() for digest, (name, _) in each.units.items()
    }
    closest: list[tuple[float, str, str, list[Shared]]] = []
    for one, other in sorted(_candidates(having)):
        chance, shared = _judged(own[one], own[other], having, called, len(own))
        telling = (*TELLING, "unit") if len(own) >= LEAST_CLASS else TELLING
        if chance < EXPECTED and any(each.kind in telling for each in shared):
            closest.append((chance, one, other, shared))
    return _joined(sorted(closest, key=lambda pair: pair[:3]))


def _features(details: Details) -> dict[Feature, int]:
    """Return what can be shared, with the size of functions, 0 for the rest."""
    found = {("unit", digest): size for digest, (_, size) in details.units.items()}
    kinds = {"comment": details.comments, "name": details.names, "string": details.strings}
    found |= {(kind, text): 0 for kind, texts in kinds.items() for text in texts}
    return found | {("file", details.file): 0, ("text", details.text): 0}


def _candidates(having: Mapping[Feature, Sequence[str]]) -> set[tuple[str, str]]:
    """Return the pairs to compare: those that share what few others have, or whole files."""
    found: set[tuple[str, str]] = set()
    for (kind, _), names in having.items():
        if kind == "file":
            found |= set(pairwise(sorted(names)))
        elif 2 <= len(names) <= MOST_SHARING:
            found |= set(combinations(sorted(names), 2))
    return found


def _judged(
    one: Mapping[Feature, int],
    other: Mapping[Feature, int],
    having: Mapping[Feature, Sequence[str]],
    called: Mapping[Feature, str],
    count: int,
) -> tuple[float, list[Shared]]:
    """Return how many pairs that share as much to expect by chance, and what they share."""
    both = one.keys() & other.keys()
    files = [feature for feature in both if feature[0] == "file"]
    rare = {
        feature: -math.log10(_likely(feature, one[feature], len(having[feature]), count))
        for feature in both.difference(files)
    }
    counted: Counter[str] = Counter()
    surprise = 0.0
    shared = [Shared("file", "", len(having[file]) - 2) for file in files]
    for feature in sorted(rare, key=lambda each: (-rare[each], each)):
        kind, what = feature
        counted[kind] += 1
        if counted[kind] <= COUNTED[kind]:
            surprise += rare[feature]
            others = len(having[feature]) - 2
            shared.append(Shared(kind, called.get(feature, "" if kind == "text" else what), others))
    if files:
        return 0.0, shared
    return float(f"{math.comb(count, 2) * 10**-surprise:.2g}"), shared


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


def _joined(pairs: Sequence[tuple[float, str, str, list[Shared]]]) -> list[Group]:
    """Join pairs with a member in common to groups, with the evidence of the closest pair."""
    group_of: dict[str, int] = {}
    members: dict[int, set[str]] = {}
    evidence: dict[int, tuple[float, list[Shared]]] = {}
    for number, (chance, one, other, shared) in enumerate(pairs):
        joined = {one, other}
        first = number
        for old in {group_of[name] for name in (one, other) if name in group_of}:
            joined |= members.pop(old)
            first = min(first, old)
        members[first] = joined
        evidence.setdefault(first, (chance, shared))
        group_of |= dict.fromkeys(joined, first)
    return [Group(sorted(members[number]), *evidence[number]) for number in sorted(members)]


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
