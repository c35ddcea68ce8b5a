"""What a grading run prints at its end: a table of marks, and where the results are."""

import statistics
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from grading.errors import listed
from grading.results.lines import GRADES, LINES, RUN, Result, mistakes_of
from harness.course.numbers import plural
from harness.course.report import Check, Outcome
from harness.drawing.visible import visible_line
from harness.show.outline import MARKS

TABLE_ROWS = 100
NAME_WIDTH = 40
SCORE_WIDTH = 9
MISTAKE_ROWS = 10
# The column of first problems: the least that a message needs, and the width of a check's id.
MESSAGE_WIDTH = 40
ID_WIDTH = 28
PROBLEM = "first problem to fix"
_OPEN = {
    "grader_error": "The grader itself failed on {}. Their marks are open, and the next run tries "
    "them again; results.jsonl says what happened.",
    "undecided": "You have to decide what counts for {}. Their marks are open; results.jsonl says "
    "what to decide.",
}


@dataclass(frozen=True)
class Counts:
    """How many submissions were graded in this run, in earlier ones, and not at all."""

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
    """Print the marks (of a large class, only the lowest) and the files written.

    ``report`` is the first page of the report, if there is one.
    """
    if len(results) > TABLE_ROWS:
        console.print(f"The {TABLE_ROWS} lowest of {len(results)} marks:")
    lowest = nsmallest(TABLE_ROWS, results, key=_rank)
    lowest.sort(key=lambda each: each.submission)
    console.print(_table(lowest, console.width))
    console.print("✓ passed  ✗ failed  ! error (exception, crash, timeout)")
    console.print("– not run (depends on a failed check)")
    if columns := ", ".join(_columns(lowest)):
        console.print(f"Columns, in order: {columns}")
    _print_overall(console, results, counts)
    _print_mistakes(console, results)
    files = {
        out / LINES: "every check of every submission",
        out / GRADES: "one row per submission",
        out / RUN: "seed, settings, versions",
        report: "an overview of the class, with pages for every submission",
    }
    for path, what in files.items():
        if path:
            console.print(f"{path}  ({what})", markup=False, soft_wrap=True, highlight=False)


def _rank(result: Result) -> tuple[bool, float]:
    return result.mark is not None, result.mark or 0.0


def _table(results: Sequence[Result], width: int) -> Table:
    """Return a table with a row per submission, and a column per stage if there is room."""
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
    if left >= len(PROBLEM):
        table.add_column(PROBLEM, no_wrap=True)
    for result in results:
        score = "open" if result.mark is None else f"{result.mark:.4g} / {result.max_score:.4g}"
        marks = [_mark([c for c in result.checks if _column(c) == stage]) for stage in stages]
        cells: list[Text | str] = [_cropped(result.submission, names), score]
        cells += marks if roomy or not stages else [" ".join(marks)]
        cells += [_cropped(_first(result, left), left)] if left >= len(PROBLEM) else []
        table.add_row(*cells)
    return table


def _cropped(text: str, width: int) -> Text:
    text = visible_line(text)
    return Text(text if len(text) <= width else text[: width - 1] + "…", no_wrap=True)


def _columns(results: Sequence[Result]) -> list[str]:
    checks = next((result.checks for result in results if result.checks), [])
    return list(dict.fromkeys(_column(check) for check in checks))


def _column(check: Check) -> str:
    return check.stage or check.id.split("/")[0]


def _mark(checks: Sequence[Check]) -> str:
    """Return the sign of the worst outcome among the checks."""
    worst_first: tuple[Outcome, ...] = ("failed", "error", "not_run", "passed")
    outcomes = {check.outcome for check in checks}
    return next((MARKS[outcome] for outcome in worst_first if outcome in outcomes), "")


def _first(result: Result, width: int) -> str:
    """Return why there are no checks, or the first wrong one's message (its id if that is long)."""
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
    total = plural(len(results), "submission")
    console.print(f"{total}: {full} with full marks{without}{middle}.")
    if counts.before:
        console.print(
            f"{counts.now} graded, {counts.before} unchanged since the last run (--fresh regrades "
            "all)."
        )
    if counts.left:
        console.print(f"{plural(counts.left, 'submission')} not graded yet.")
    for status, names in sorted(open_.items()):
        text = _OPEN[status].format(f"{plural(len(names), 'submission')}: {listed(names)}")
        console.print(text, markup=False)


def _print_mistakes(console: Console, results: Collection[Result]) -> None:
    """Print the most common mistakes of the class: how many made each, and what they wrote."""
    counted = Counter(mistake for result in results for mistake in mistakes_of(result))
    common = [(-count, mistake) for mistake, count in counted.items() if count > 1]
    if not common:
        return
    console.print("Most common mistakes:")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for count, (stage, gradient, name, formula) in sorted(common)[:MISTAKE_ROWS]:
        wrote = f"behaves like {formula}" if formula != "None" else "is None"
        row = (f"  {-count} of {len(results)}", f"{stage} ∂C/∂{gradient}", f"{wrote}  ({name})")
        table.add_row(*(Text(visible_line(cell)) for cell in row))
    console.print(table)
