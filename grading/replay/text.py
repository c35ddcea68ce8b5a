"""What `backprop replay` prints for the instructor: what failed, and what the code returned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from grading.replay.checks import Replay
from grading.replay.moments import case_lines, moment_lines
from grading.results.record import Record
from grading.results.versions import versions
from harness.drawing.visible import visible
from harness.show.outline import MARKS
from harness.show.text import rendered

if TYPE_CHECKING:
    from rich.console import RenderableType

# Keys of a case that are not sizes.
WORDS = frozenset({"seed", "index", "upstream", "second_seed", "second_index", "requires_grad"})


def replay_text(
    record: Record, replays: Sequence[Replay], *, colour: bool = False, width: int = 80
) -> str:
    """Return the checks as text: whether the outcome is the same, the messages and the values.

    ``colour`` adds ANSI styles; no information depends on colour alone.
    """
    return rendered(_blocks(record, replays), colour=colour, width=width)


def _blocks(record: Record, replays: Sequence[Replay]) -> Iterator[RenderableType]:
    run = record.run
    yield Text(f"{visible(record.result.submission)}, {run.assignment}", style="bold")
    for what, now in versions().items():
        if what in run.versions and run.versions[what] != now:
            yield Text(f"It was graded with {what} {visible(run.versions[what])}; now it is {now}.")
    before: Replay | None = None
    for each in replays:
        yield ""
        yield from _check(each)
        if before and _shows_the_same(before, each):
            yield Text("Same call as in the check above.")
        else:
            yield from moment_lines(each.moments)
        if not (before and before.cases is each.cases):
            yield from case_lines(each.cases)
        before = each


def _check(each: Replay) -> Iterator[RenderableType]:
    recorded, now = each.recorded, each.now
    yield Text(f"{MARKS[now.outcome]} {now.id}: {now.title}", style="bold")
    yield Text(_comparison(each), style="green" if each.same else "yellow")
    said = now if each.same else recorded
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column()
    table.add_column(overflow="fold")
    staff = "" if said.staff and said.staff in said.message else said.staff
    case = _in_words(recorded.case)
    for label, text in (("to the student", said.message), ("to you", staff), ("inputs", case)):
        if text:
            table.add_row(label, Text(visible(text)))
    if table.row_count:
        yield table


def _shows_the_same(one: Replay, other: Replay) -> bool:
    pairs = zip(one.moments, other.moments, strict=False)
    same = all(mine.reply is theirs.reply for mine, theirs in pairs)
    return same and len(one.moments) == len(other.moments) > 0


def _comparison(each: Replay) -> str:
    then, now = each.recorded, each.now
    if not each.same:
        came = f"waits for {now.waits_for}" if now.outcome == "not_run" else _said(now.outcome)
        return (
            f"Recorded: {_said(then.outcome)}; now: {came}. Does it depend on chance, or on the "
            "load of the machine?"
        )
    if dict(now.case or {}) != (then.case or {}):
        return f"Same as recorded: {_said(now.outcome)}, but on {_in_words(now.case)}."
    return f"Same as recorded: {_said(now.outcome)}."


def _said(outcome: str) -> str:
    return {"error": "error (exception, crash, timeout)"}.get(outcome, outcome)


def _in_words(case: Mapping[str, Any] | None) -> str:
    """Return a case in words, such as ``seed 0, N = 7, K = 5, index 3, upstream 1``."""
    return ", ".join(
        f"{name.replace('_', ' ')} {number}" if name in WORDS else f"{name} = {number}"
        for name, number in (case or {}).items()
    )
