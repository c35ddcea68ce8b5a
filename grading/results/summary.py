"""What a grading run prints at its end: a table of marks, and where the results lie."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from grading.results.lines import GRADES, LINES, RUN, CheckLine, Result
from harness.show.visible import visible_line

TABLE_ROWS = 100
NAME_WIDTH = 40
SCORE_WIDTH = 9
MISTAKE_ROWS = 10
# What there is to mend: the least that a message needs, and what a check's id takes.
MESSAGE_WIDTH = 40
ID_WIDTH = 28
MEND = "first thing to mend"
_OPEN = {
    "grader_error": "The grader itself failed on {} Their marks stay open, and the next run tries "
    "them again; results.jsonl says what happened.",
    "undecided": "You have to decide what counts of {} Their marks stay open; results.jsonl says "
    "what there is to decide.",
}
MARKS = {"passed": "✓", "failed": "✗", "error": "!", "not_run": "–"}


@dataclass(frozen=True)
class Counts:
    """How many submissions a run has graded, has taken from before, and has left ungraded."""

    now: int
    before: int
    left: int


def print_summary(
    console: Console,
    results: Collection[Result],
    out: Path,
    counts: Counts,
    report: Path | None = None,
) -> None:
    """Prints the marks (the lowest ones only, for a large class) and the files written.

    ``report`` is the first page of the report, where there is one.
    """
    if len(results) > TABLE_ROWS:
        console.print(f"The {TABLE_ROWS} lowest of {len(results)} marks:")
    lowest = nsmallest(TABLE_ROWS, results, key=_rank)
    lowest.sort(key=lambda each: each.submission)
    console.print(_table(lowest, console.width))
    console.print("✓ right  ✗ wrong  ! raised, died or ran on  – waits for another check")
    columns = ", ".join(_columns(lowest))
    if columns:
        console.print(f"The marks are of {columns}.")
    _print_overall(console, results, counts)
    _print_mistakes(console, results)
    files = [
        (out / LINES, "every check of every submission"),
        (out / GRADES, "a row a submission"),
        (out / RUN, "seed, settings, versions"),
    ]
    if report:
        files.append((report, "the class at a glance, and every submission's pages"))
    for path, what in files:
        console.print(f"{path}  ({what})", markup=False, soft_wrap=True, highlight=False)


def _rank(result: Result) -> tuple[bool, float]:
    return result.mark is not None, result.mark or 0.0


def _table(results: Sequence[Result], width: int) -> Table:
    """A row a submission. The marks stand under their stages where there is room, else together."""
    stages = _columns(results)
    submitted = ("submission", *(result.submission for result in results))
    longest = max(len(visible_line(name)) for name in submitted)
    left = width - SCORE_WIDTH - 4
    roomy = left - NAME_WIDTH - sum(len(stage) + 2 for stage in stages) > MESSAGE_WIDTH
    heads = stages if roomy or not stages else [" ".join(stage[0] for stage in stages)]
    left -= sum(len(head) + 2 for head in heads)
    names = min(NAME_WIDTH, longest, max(left - ID_WIDTH, left // 2))
    left -= names
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("submission", min_width=names)
    table.add_column("score", justify="right", min_width=SCORE_WIDTH)
    for head in heads:
        table.add_column(head, justify="center", min_width=len(head))
    if left >= len(MEND):
        table.add_column(MEND, no_wrap=True)
    for result in results:
        score = "open" if result.mark is None else f"{result.mark:.4g} / {result.max_score:.4g}"
        marks = [_mark([c for c in result.checks if _column(c) == stage]) for stage in stages]
        cells: list[Text | str] = [_cropped(result.submission, names), score]
        cells += marks if roomy or not stages else [" ".join(marks)]
        cells += [_cropped(_first(result, left), left)] if left >= len(MEND) else []
        table.add_row(*cells)
    return table


def _cropped(text: str, width: int) -> Text:
    text = visible_line(text)
    return Text(text if len(text) <= width else text[: width - 1] + "…", no_wrap=True)


def _columns(results: Sequence[Result]) -> list[str]:
    checks = next((result.checks for result in results if result.checks), [])
    return list(dict.fromkeys(_column(check) for check in checks))


def _column(check: CheckLine) -> str:
    return check.stage or check.id.split("/")[0]


def _mark(checks: Sequence[CheckLine]) -> str:
    """The gravest outcome among the checks."""
    outcomes = {check.outcome for check in checks}
    for outcome in ("failed", "error", "not_run", "passed"):
        if outcome in outcomes:
            return MARKS[outcome]
    return ""


def _first(result: Result, width: int) -> str:
    """Why there are no checks, or what the first wrong one says: its id, where words do not fit."""
    if result.reason:
        return result.reason.strip().splitlines()[-1]
    wrong = [check for check in result.checks if check.outcome in ("failed", "error")]
    if not wrong:
        return ""
    text = " ".join((wrong[0].message or wrong[0].title).split())
    return text if width >= min(MESSAGE_WIDTH, len(text)) else wrong[0].id


def _print_overall(console: Console, results: Collection[Result], counts: Counts) -> None:
    scores: list[float] = []
    open_: dict[str, list[str]] = {}
    full = unreadable = 0
    for result in results:
        full += result.mark == result.max_score
        unreadable += result.status == "unreadable"
        if result.mark is None:
            open_.setdefault(result.status, []).append(result.submission)
        else:
            scores.append(result.mark)
    middle = f", median {statistics.median(scores):.4g}" if scores else ""
    without = f", {unreadable} without usable code" if unreadable else ""
    console.print(f"{_submissions(len(results))}: {full} with full marks{without}{middle}.")
    if counts.before:
        console.print(
            f"{counts.now} graded now, {counts.before} taken from before; --fresh grades all again."
        )
    if counts.left:
        console.print(f"{_submissions(counts.left)} not graded yet.")
    for status, names in sorted(open_.items()):
        said = f"{len(names)}: {visible_line(', '.join(names[:10]))}."
        console.print(_OPEN.get(status, _OPEN["grader_error"]).format(said), markup=False)


def _print_mistakes(console: Console, results: Collection[Result]) -> None:
    """The commonest mistakes of the class: how many made each, and what they wrote."""
    mistakes = commonest_mistakes(results)
    if not mistakes:
        return
    console.print("Commonest mistakes:")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for mistake in mistakes[:MISTAKE_ROWS]:
        of = f"  {mistake.count} of {len(results)}"
        where = f"{mistake.stage} ∂C/∂{mistake.gradient}"
        formula = f"behaves like {mistake.formula}" if mistake.formula != "None" else "is None"
        row = (of, where, f"{formula}  ({mistake.name})")
        table.add_row(*(Text(visible_line(cell)) for cell in row))
    console.print(table)


@dataclass(frozen=True)
class Common:
    """A mistake in one gradient, with its formula, and how many submissions make it so."""

    stage: str
    gradient: str
    name: str
    formula: str
    count: int


def mistakes_of(result: Result) -> list[tuple[str, str, str, str]]:
    """The mistakes that a submission makes: of each the stage, the gradient, its name and formula.

    Each stands there once.
    """
    found = (
        (
            check.stage or "",
            check.diagnosis["gradient"].removeprefix("grad_"),
            check.diagnosis["mistake"],
            check.diagnosis["formula"],
        )
        for check in result.checks
        if check.diagnosis
    )
    return list(dict.fromkeys(found))


def commonest_mistakes(results: Iterable[Result]) -> list[Common]:
    """The mistakes that more than one submission makes in the same gradient, most of all first."""
    counted = Counter(mistake for result in results for mistake in mistakes_of(result))
    found = [Common(*mistake, count) for mistake, count in counted.items() if count > 1]
    return sorted(found, key=lambda each: (-each.count, each.stage, each.gradient, each.formula))


def _submissions(count: int) -> str:
    return "1 submission" if count == 1 else f"{count} submissions"
