"""What a grading run prints at its end: a table of marks, and where the results lie."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from grading.results import CheckLine, Result
from harness.show.visible import visible

TABLE_ROWS = 100
NAME_WIDTH = 40
SCORE_WIDTH = 9
FIRST_WIDTH = 40
MARKS = {"passed": "✓", "failed": "✗", "error": "!", "not_run": "–"}


def print_summary(console: Console, results: Sequence[Result], out: Path) -> None:
    """Prints the marks (the lowest ones only, for a large class) and the files written."""
    ordered = sorted(results, key=lambda each: each.submission)
    if len(ordered) > TABLE_ROWS:
        lowest = sorted(ordered, key=lambda each: (each.score is not None, each.score or 0.0))
        ordered = sorted(lowest[:TABLE_ROWS], key=lambda each: each.submission)
        console.print(f"The {TABLE_ROWS} lowest of {len(results)} marks:")
    console.print(_table(ordered, console.width))
    console.print("✓ right  ✗ wrong  ! raised, died or ran on  – waits for another check")
    columns = ", ".join(_columns(results))
    if columns:
        console.print(f"The marks are of {columns}.")
    console.print(_overall(results))
    failed = [result.submission for result in results if result.status == "grader_error"]
    if failed:
        console.print(
            f"The grader itself failed on {len(failed)}: {', '.join(failed[:10])}. Their "
            "marks stay open; results.jsonl says what happened.",
            markup=False,
        )
    for name, what in (
        ("results.jsonl", "every check of every submission"),
        ("grades.csv", "a row a submission"),
        ("run.json", "seed, settings, versions"),
    ):
        console.print(f"{out / name}  ({what})", markup=False, soft_wrap=True, highlight=False)


def _table(results: Sequence[Result], width: int) -> Table:
    """A row a submission. The marks stand under their stages where there is room, else together."""
    stages = _columns(results)
    roomy = width - NAME_WIDTH - sum(len(stage) + 2 for stage in stages) > FIRST_WIDTH
    heads = stages if roomy else [" ".join(stage[0] for stage in stages)]
    names = min(NAME_WIDTH if roomy else width // 2, max(len(each.submission) for each in results))
    left = width - names - SCORE_WIDTH - sum(len(head) + 2 for head in heads) - 4
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("submission")
    table.add_column("score", justify="right", min_width=SCORE_WIDTH)
    for head in heads:
        table.add_column(head, justify="center", min_width=len(head))
    if left >= FIRST_WIDTH // 3:
        table.add_column("first thing to mend")
    for result in results:
        score = "open" if result.score is None else f"{result.score:.4g} / {result.max_score:.4g}"
        marks = [_mark([c for c in result.checks if _column(c) == stage]) for stage in stages]
        cells: list[Text | str] = [_cropped(result.submission, names), score]
        cells += marks if roomy else [" ".join(marks)]
        cells += [_cropped(_first(result), left)] if left >= FIRST_WIDTH // 3 else []
        table.add_row(*cells)
    return table


def _cropped(text: str, width: int) -> Text:
    text = visible(text)
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


def _first(result: Result) -> str:
    if result.reason:
        return result.reason.strip().splitlines()[-1]
    wrong = [check for check in result.checks if check.outcome in ("failed", "error")]
    if not wrong:
        return ""
    return wrong[0].message or wrong[0].title


def _overall(results: Sequence[Result]) -> str:
    counts = Counter(result.status for result in results)
    scores = [result.score for result in results if result.score is not None]
    best = sum(result.score == result.max_score for result in results)
    middle = f", median {statistics.median(scores):.4g}" if scores else ""
    unreadable = f", {counts['unreadable']} without usable code" if counts["unreadable"] else ""
    one = "submission" if len(results) == 1 else "submissions"
    return f"{len(results)} {one}: {best} with full marks{unreadable}{middle}."
