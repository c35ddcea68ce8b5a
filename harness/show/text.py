"""A report as text: the verdict first, then stage by stage, then what to do next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from io import StringIO
from typing import TYPE_CHECKING

from harness.course.report import Outcome, Report
from harness.language import tr
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
    """Return the report for a student, in lines of at most ``width`` (or 20) characters.

    After a training it describes ``run``, beside ``reference``. ``colour`` adds ANSI styles;
    nothing is told by colour alone. Messages are shown as they are, with control characters
    escaped.
    """
    return rendered(_blocks(report, run, reference), colour=colour, width=max(width, LEAST_WIDTH))


def rendered(blocks: Iterable[RenderableType], *, colour: bool, width: int) -> str:
    """Return rich's rendering of the blocks, in lines of at most ``width`` characters.

    ``colour`` adds ANSI styles.
    """
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
    if found := advice(report):
        yield ""
        yield Text(f"{tr('Worth knowing')} {tr('(no points lost)')}", style="bold")
        yield from (_marked("·", "", Text(text)) for text in found)
    yield ""
    yield Text(f"→ {next_step(report)}", style="bold")


def _lines(part: Part) -> Iterator[RenderableType]:
    from rich.text import Text

    if part.passed:
        yield _row("passed", Text(", ".join(part.passed)))
    for finding in part.findings:
        said = Text.assemble((finding.labels, "bold"), f"\n{finding.message}")
        yield _row(finding.outcome, said)
    for wait in part.waits:
        yield _row("not_run", Text(str(wait), style="dim"))


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
