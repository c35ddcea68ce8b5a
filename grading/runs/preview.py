"""Whose mark would move, and why, if the results of a run were published."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from grading.errors import refusal
from grading.results.lines import LINES, RUN, Result, as_marked
from grading.results.record import readable_results
from harness.show.visible import visible_line


@dataclass(frozen=True)
class Move:
    """A submission whose mark, or the maximum that it is out of, would be another one.

    ``before`` and ``after`` are marks, None where one is open; ``most`` are the two maxima.
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
        """Whether a mark or its maximum would move, or a mark come or go."""
        return bool(self.moved or self.new or self.gone)


@dataclass(frozen=True)
class Published:
    """The results that lie in a folder, how they were made, and what of both could not be read."""

    results: list[Result]
    run: dict[str, Any]
    troubles: list[str]


def published(folder: Path) -> Published:
    """Read what lies in the folder; nothing where nothing was published.

    Damage is told, and the rest is used. Raises UserError where it may not be read.
    """
    lines = list(readable_results(folder))
    run, trouble = _published_run(folder / RUN)
    troubles: list[str] = []
    if not lines and not trouble and run:
        troubles.append(f"{folder / LINES} is missing or empty: all marks count as new.")
    if damaged := lines.count(None):
        troubles.append(
            f"{damaged} of {len(lines)} lines of {folder / LINES} could not be read: their "
            "submissions count as new."
        )
    if lines and trouble:
        troubles.append(f"{trouble} What has changed about the grading is not known.")
    return Published([line for line in lines if line], run, troubles)


def _published_run(path: Path) -> tuple[dict[str, Any], str]:
    """Return how the results were made, as far as the file tells, and what is wrong with it."""
    try:
        run = json.loads(path.read_bytes())
        return (run, "") if isinstance(run, dict) else ({}, f"{path} is damaged.")
    except ValueError:
        return {}, f"{path} is damaged."
    except OSError as error:
        return {}, refusal(error, path)


def compared(
    before: tuple[Iterable[Result], Mapping[str, Any]],
    after: Iterable[Result],
    facts: Mapping[str, Any],
) -> Moves:
    """What would change from the results ``before`` to those ``after``, made as ``facts`` say."""
    old = {result.submission: result for result in before[0]}
    moves = Moves(causes=_causes(before[1], facts) if before[1] else [])
    for new in after:
        was = old.pop(new.submission, None)
        if was is None:
            moves.new.append(new.submission)
        elif (was.mark, was.max_score) != (new.mark, new.max_score):
            most = was.max_score, new.max_score
            moves.moved.append(Move(new.submission, was.mark, new.mark, most, _reasons(was, new)))
        else:
            moves.same += 1
    moves.gone = sorted(old)
    return moves


def _causes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What about the way of grading has changed, as far as it is on record."""
    was, now = _flat({**before, "missing": 0}), _flat({**after, "missing": 0})
    ignored = ("isolation", "schema", "missing", "not_on_roster")
    return [
        f"{name}: {was.get(name, 'not set')} → {now.get(name, 'not set')}"
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
    """Why a mark moves: other files, another status, and each check whose points are others."""
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
        old, new = was.get(id), now.get(id)
        if old is None and new is not None:
            reasons.append(f"{id} is new: {new.points:g} of {new.max_points:g}")
        elif new is None and old is not None:
            reasons.append(f"{id} is gone: {old.points:g} of {old.max_points:g}")
        elif old and new and (old.points, old.max_points) != (new.points, new.max_points):
            outcome = "" if old.outcome == new.outcome else f", {old.outcome} → {new.outcome}"
            reasons.append(f"{id}: {_of(old.points, old.max_points, new)}{outcome}")
    return reasons


def _of(points: float, most: float, new: Any) -> str:
    if most == new.max_points:
        return f"{points:g} → {new.points:g}"
    return f"{points:g} of {most:g} → {new.points:g} of {new.max_points:g}"


def print_moves(console: Console, moves: Moves) -> None:
    """Prints the causes, a row for each mark that moves with the reasons, and the sums."""
    if moves.causes:
        console.print("How it is graded has changed:")
        for cause in moves.causes:
            console.print(f"  {visible_line(cause)}", markup=False, highlight=False, soft_wrap=True)
    if moves.moved:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column("submission", no_wrap=True)
        table.add_column("mark", no_wrap=True)
        table.add_column("why", overflow="fold")
        for move in moves.moved:
            why = "\n".join(map(visible_line, move.why))
            table.add_row(Text(visible_line(move.submission)), _moved(move), Text(why))
        console.print(table)
    for names, what in ((moves.new, "new"), (moves.gone, "gone")):
        if names:
            listed = visible_line(", ".join(names[:10])) + (" …" if len(names) > 10 else "")
            console.print(f"{len(names)} {what}: {listed}", markup=False, highlight=False)
    up = sum(_rank(move.after) > _rank(move.before) for move in moves.moved)
    down = sum(_rank(move.after) < _rank(move.before) for move in moves.moved)
    same = len(moves.moved) - up - down
    maxima = f", and {same} keep their mark with another maximum" if same else ""
    console.print(
        f"{up + down} marks would move ({up} up, {down} down), {moves.same} stay{maxima}. "
        "Nothing was published: the same command without --preview does that, and grades nothing "
        "twice.",
        highlight=False,
    )


def _moved(move: Move) -> str:
    before, after = _mark(move.before), _mark(move.after)
    if move.most[0] == move.most[1]:
        return f"{before} → {after}"
    return f"{before} of {move.most[0]:g} → {after} of {move.most[1]:g}"


def _mark(score: float | None) -> str:
    return "open" if score is None else f"{score:g}"


def _rank(score: float | None) -> float:
    return -1.0 if score is None else score
