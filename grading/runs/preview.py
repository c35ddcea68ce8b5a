"""Whose mark would change, and why, if the results of a run were published."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from grading.errors import listed, refusal
from grading.results.lines import LINES, RUN, Result, as_marked
from grading.results.record import readable_results
from harness.drawing.visible import visible_line

# A table of so many rows is printed at once.
ROWS = 200


@dataclass(frozen=True)
class Move:
    """A submission whose mark, or its maximum, would change.

    ``before`` and ``after`` are marks, None if open; ``most`` are the two maxima.
    """

    submission: str
    before: float | None
    after: float | None
    most: tuple[float, float]
    why: list[str]


@dataclass
class Moves:
    """What publishing would change; ``same`` is how many keep their mark and its maximum."""

    new: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    up: int = 0
    down: int = 0
    other_maximum: int = 0
    same: int = 0

    def any(self) -> bool:
        """Return whether a mark or its maximum would change, or a mark come or go."""
        return bool(self.new or self.gone or self.up or self.down or self.other_maximum)

    def between(self, before: Iterable[Result], after: Iterable[Result]) -> Iterator[Move]:
        """Count what changes from one to the other, and yield the moves, in the order of names.

        Both are in that order. Few results are in memory at any time.
        """
        for was, new in _side_by_side(before, after):
            if was is None and new is not None:
                self.new.append(new.submission)
            elif was is not None and new is None:
                self.gone.append(was.submission)
            elif was is None or new is None:
                continue
            elif (was.mark, was.max_score) == (new.mark, new.max_score):
                self.same += 1
            else:
                rise = _rank(new.mark) - _rank(was.mark)
                self.up += rise > 0
                self.down += rise < 0
                self.other_maximum += rise == 0
                most = was.max_score, new.max_score
                yield Move(new.submission, was.mark, new.mark, most, _reasons(was, new))


def published(folder: Path) -> tuple[Sequence[Result], dict[str, Any], list[str]]:
    """Return the results in a folder, if any, how they were made, and what could not be read.

    Damage is reported and the rest is used. Raise UserError if a file may not be read.
    """
    results, damaged = readable_results(folder)
    run: dict[str, Any] = {}
    trouble = ""
    troubles: list[str] = []
    try:
        run = msgspec.json.decode((folder / RUN).read_bytes(), type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        trouble = f"{folder / RUN} is damaged."
    except OSError as error:
        trouble = refusal(error, folder / RUN)
    lines = len(results) + damaged
    if not lines and run:
        troubles.append(f"{folder / LINES} is missing or empty: all marks count as new.")
    if damaged:
        troubles.append(
            f"{damaged} of {lines} lines of {folder / LINES} could not be read: their "
            "submissions count as new."
        )
    if lines and trouble:
        troubles.append(f"{trouble} Changes to the grading are unknown.")
    return results, run, troubles


def _side_by_side(
    before: Iterable[Result], after: Iterable[Result]
) -> Iterator[tuple[Result, Result] | tuple[Result, None] | tuple[None, Result]]:
    """Yield the two results of each submission, None for one that it does not have."""
    old, new = iter(before), iter(after)
    was, now = next(old, None), next(new, None)
    while was or now:
        if was and (now is None or was.submission < now.submission):
            yield was, None
            was = next(old, None)
        elif now and (was is None or now.submission < was.submission):
            yield None, now
            now = next(new, None)
        elif was and now:
            yield was, now
            was, now = next(old, None), next(new, None)


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return what differs between two records of how something was graded."""
    was, now = _flat({**before, "missing": 0}), _flat({**after, "missing": 0})
    whose = ("missing", "not_on_roster", "submissions", "listing")
    ignored = ("isolation", "as_root", "schema", *whose)
    # Nobody reads a digest.
    words = {"declaration": "declaration: it has changed"}
    return [
        words.get(name, f"{name}: {was.get(name, 'not set')} → {now.get(name, 'not set')}")
        for name in sorted({*was, *now})
        if was.get(name) != now.get(name) and not name.startswith(ignored)
    ]


def _flat(values: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{above}{name}.")
        else:
            flat[f"{above}{name}"] = value
    return flat


def _reasons(before: Result, after: Result) -> list[str]:
    """Return why a mark changes: other files, another status, checks with other points."""
    reasons = ["the files have changed"] if before.digest != after.digest else []
    if before.status != after.status:
        reasons.append(f"{before.status} → {after.status}")
    if before.override != after.override:
        reasons.append("the instructor's override")
    was = {check.id: check for check in as_marked(before).checks}
    now = {check.id: check for check in as_marked(after).checks}
    if not (was and now):
        return reasons
    for id in dict.fromkeys((*was, *now)):
        if id not in was:
            reasons.append(f"{id} is new: {now[id].points:g} of {now[id].max_points:g}")
        elif id not in now:
            reasons.append(f"{id} is gone: {was[id].points:g} of {was[id].max_points:g}")
        else:
            old, new = was[id], now[id]
            points = _change(old.points, new.points, (old.max_points, new.max_points))
            outcome = "" if old.outcome == new.outcome else f", {old.outcome} → {new.outcome}"
            if (old.points, old.max_points) != (new.points, new.max_points):
                reasons.append(f"{id}: {points}{outcome}")
    return reasons


def _change(before: float | None, after: float | None, most: tuple[float, float]) -> str:
    old, new = ("open" if score is None else f"{score:g}" for score in (before, after))
    if most[0] == most[1]:
        return f"{old} → {new}"
    return f"{old} of {most[0]:g} → {new} of {most[1]:g}"


def print_moves(
    console: Console,
    before: tuple[Iterable[Result], Mapping[str, Any]],
    after: tuple[Iterable[Result], Mapping[str, Any]],
) -> Moves:
    """Print what changes between two runs, and return it.

    That is what has changed in the grading, a row with the reasons for each mark that moves, and
    the totals. A run is its results, in the order of names, and what run.json says.
    """
    causes = changed(before[1], after[1]) if before[1] else []
    if causes:
        console.print("The grading has changed:")
    for cause in causes:
        console.print(f"  {visible_line(cause)}", markup=False, highlight=False, soft_wrap=True)
    moves = Moves()
    _print_rows(console, moves.between(before[0], after[0]))
    for names, what in ((moves.new, "new"), (moves.gone, "gone")):
        if names:
            text = f"{len(names)} {what}: {listed(names)}"
            console.print(text, markup=False, highlight=False)
    same = moves.other_maximum
    maxima = f", and {same} keep their mark with a different maximum" if same else ""
    console.print(
        f"{moves.up + moves.down} marks would change ({moves.up} up, {moves.down} down), "
        f"{moves.same} stay{maxima}. Nothing was published: to publish, run the command without "
        "--preview; nothing is graded twice.",
        highlight=False,
    )
    return moves


def _print_rows(console: Console, moved: Iterator[Move]) -> None:
    """Print the moves, some rows at a time: a table is in memory as a whole."""
    widths = [0, 0]
    while rows := list(islice(moved, ROWS)):
        cells = [
            (visible_line(each.submission), _change(each.before, each.after, each.most))
            for each in rows
        ]
        head = not any(widths)
        widths = [max(widths[at], *(len(row[at]) for row in cells)) for at in (0, 1)]
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=head)
        table.add_column("submission", no_wrap=True, min_width=widths[0])
        table.add_column("mark", no_wrap=True, min_width=widths[1])
        table.add_column("why", overflow="fold")
        for (name, change), move in zip(cells, rows, strict=True):
            table.add_row(Text(name), change, Text("\n".join(map(visible_line, move.why))))
        console.print(table)


def _rank(score: float | None) -> float:
    return -1.0 if score is None else score
