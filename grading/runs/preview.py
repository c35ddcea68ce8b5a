"""Whose mark would change, and why, if the results of a run were published."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
    """What publishing would change; ``causes`` are changes to how all is graded."""

    causes: list[str] = field(default_factory=list)
    moved: list[Move] = field(default_factory=list)
    new: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    same: int = 0

    def any(self) -> bool:
        """Return whether a mark or its maximum would change, or a mark come or go."""
        return bool(self.moved or self.new or self.gone)


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


def compared(
    before: tuple[Iterable[Result], Mapping[str, Any]],
    after: Iterable[Result],
    facts: Mapping[str, Any],
) -> Moves:
    """Return the changes from the results ``before`` to those ``after``, made as ``facts`` say.

    Both are in the order of their names.
    """
    moves = Moves(causes=changed(before[1], facts) if before[1] else [])
    for was, new in _side_by_side(before[0], after):
        if was is None and new is not None:
            moves.new.append(new.submission)
        elif was is not None and new is None:
            moves.gone.append(was.submission)
        elif was is None or new is None:
            continue
        elif (was.mark, was.max_score) != (new.mark, new.max_score):
            most = was.max_score, new.max_score
            moves.moved.append(Move(new.submission, was.mark, new.mark, most, _reasons(was, new)))
        else:
            moves.same += 1
    return moves


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
    ignored = ("isolation", "as_root", "schema", "missing", "not_on_roster")
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


def print_moves(console: Console, moves: Moves) -> None:
    """Print the causes, a row with the reasons for each mark that changes, and the totals."""
    if moves.causes:
        console.print("The grading has changed:")
        for cause in moves.causes:
            console.print(f"  {visible_line(cause)}", markup=False, highlight=False, soft_wrap=True)
    if moves.moved:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column("submission", no_wrap=True)
        table.add_column("mark", no_wrap=True)
        table.add_column("why", overflow="fold")
        for move in moves.moved:
            why = "\n".join(map(visible_line, move.why))
            change = _change(move.before, move.after, move.most)
            table.add_row(Text(visible_line(move.submission)), change, Text(why))
        console.print(table)
    for names, what in ((moves.new, "new"), (moves.gone, "gone")):
        if names:
            text = f"{len(names)} {what}: {listed(names)}"
            console.print(text, markup=False, highlight=False)
    up = sum(_rank(move.after) > _rank(move.before) for move in moves.moved)
    down = sum(_rank(move.after) < _rank(move.before) for move in moves.moved)
    same = len(moves.moved) - up - down
    maxima = f", and {same} keep their mark with a different maximum" if same else ""
    console.print(
        f"{up + down} marks would change ({up} up, {down} down), {moves.same} stay{maxima}. "
        "Nothing was published: to publish, run the command without --preview; nothing is graded "
        "twice.",
        highlight=False,
    )


def _rank(score: float | None) -> float:
    return -1.0 if score is None else score
