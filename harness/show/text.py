"""A report as text: the verdict first, then stage by stage, then what to do next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from io import StringIO
from typing import TYPE_CHECKING

from harness.course.report import Outcome, Report
from harness.show.outline import MARKS, TRAINING, Part, advice, next_step, parts, verdict
from harness.show.trained import training_lines

if TYPE_CHECKING:
    from rich.console import RenderableType

    from harness.training.task import Run

LEAST_WIDTH = 20
_STYLES: dict[Outcome, str] = {
    "passed": "green",
    "failed": "bold red",
    "error": "bold yellow",
    "not_run": "dim",
}


def report_text(
    report: Report,
    run: Run | None = None,
    reference: Run | None = None,
    *,
    colour: bool = False,
    width: int = 80,
) -> str:
    """The report for a student, in lines of at most ``width`` (or 20) characters.

    Where there was a training, it says what came of ``run``, beside ``reference``.
    ``colour`` adds ANSI styles; nothing is told by colour alone. Messages are shown as they are,
    with control characters written out.
    """
    return rendered(_blocks(report, run, reference), colour=colour, width=max(width, LEAST_WIDTH))


def rendered(blocks: Iterable[RenderableType], *, colour: bool, width: int) -> str:
    """What rich makes of the blocks, in lines of at most ``width``; ANSI styles with ``colour``."""
    from rich.console import Console

    console = Console(
        file=StringIO(),
        width=width,
        color_system="standard" if colour else None,
        force_terminal=colour,
        no_color=False,
        legacy_windows=False,
    )
    with console.capture() as captured:
        for block in blocks:
            console.print(block)
    return "\n".join(line.rstrip() for line in captured.get().rstrip().split("\n"))


def _blocks(report: Report, run: Run | None, reference: Run | None) -> Iterator[RenderableType]:
    from rich.text import Text

    yield Text(verdict(report), style="bold")
    for part in parts(report):
        yield ""
        yield Text(part.title, style="bold")
        yield from _lines(part)
        if run and part.title == TRAINING:
            yield from (_marked("", "", Text(told)) for told in training_lines(run, reference))
    found = advice(report)
    if found:
        yield ""
        yield Text("Worth knowing (no points lost)", style="bold")
        yield from (_marked("·", "", Text(text)) for text in found)
    yield ""
    yield Text(f"→ {next_step(report)}", style="bold")


def _lines(part: Part) -> Iterator[RenderableType]:
    from rich.text import Text

    if part.passed:
        yield _row("passed", Text(_listed(part.passed)))
    for finding in part.findings:
        said = Text()
        said.append(_listed(finding.labels), style="bold")
        said.append(f"\n{finding.message}")
        yield _row(finding.outcome, said)
    for wait in part.waits:
        what = f": {_listed(wait.labels)}" if wait.labels else ""
        yield _row("not_run", Text(f"waits for {wait.needs}{what}", style="dim"))


def _listed(labels: tuple[str, ...]) -> str:
    return ", ".join(labels)


def _row(outcome: Outcome, text: RenderableType) -> RenderableType:
    return _marked(MARKS[outcome], _STYLES[outcome], text)


def _marked(mark: str, style: str, text: RenderableType) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(width=3, justify="right")
    grid.add_column(overflow="fold")
    grid.add_row(Text(mark, style=style), text)
    return grid
