"""The stages of an assignment as a list, with an edge for each gradient, right or wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from harness.course.report import Check, Report
from harness.drawing.marks import LOOKS
from harness.drawing.mathematics import Block, derivative, row, set_formula
from harness.drawing.svg import BOLD, Picture, caption, picture
from harness.drawing.visible import visible
from harness.drawing.widths import MONOSPACE, sans_width
from harness.expressions.notation import symbol, upright
from harness.language import tr

if TYPE_CHECKING:
    from harness.course.assignment import Assignment
    from harness.course.stage import Stage

LEFT, WIDTH, ROW, GAP = 8.0, 500.0, 48.0, 22.0


def list_picture(
    assignment: Assignment, report: Report | None = None, *, derivatives: bool = False
) -> Picture:
    """Return the stages with the gradients that each has to return, marked if a report judges them.

    ``derivatives`` writes out the declared ones.
    """
    found = {check.id: check for check in report.checks} if report else {}
    body: list[str] = []
    said: list[str] = []
    y = ROW / 2
    for stage in assignment.stages:
        edges = {name: found.get(f"{stage.slug}/gradient/{name}") for name in stage.differentiable}
        if report and not any(edges.values()):
            continue
        name = visible(stage.name)
        body.append(caption(LEFT, y + 5, name, font_weight="bold"))
        x = start = max(130.0, LEFT + BOLD * sans_width(name, 13) + GAP)
        for block in _blocks(stage, edges, derivatives=derivatives):
            if x > start and x + block.width > WIDTH:
                x, y = start, y + ROW
            body.append(block.draw(x, y))
            x += block.width + GAP
        said += _words(stage, edges)
        y += ROW
    title = tr("{title}: the stages, and the gradients that each returns").format(
        title=assignment.title
    )
    told = " ".join(said)
    height = max(y - ROW / 2, ROW)
    return picture(body, WIDTH, height, title=title, description=told, line=told)


def _blocks(stage: Stage, edges: dict[str, Check | None], *, derivatives: bool) -> Iterator[Block]:
    cost = symbol("C")
    for name, check in edges.items():
        blocks = [derivative(cost, symbol(name))]
        if derivatives and name in stage.gradients:
            blocks += [set_formula(upright("=")), _code(stage.gradients[name])]
        yield row(*blocks, *([LOOKS[check.outcome].mark] if check else []))


def _code(expression: str) -> Block:
    def draw(x: float, middle: float) -> str:
        return caption(x, middle + 5, expression, font_family="monospace", font_size=14)

    return Block(14 * MONOSPACE * len(expression), 20, draw)


def _words(stage: Stage, edges: dict[str, Check | None]) -> Iterator[str]:
    if not any(edges.values()):
        yield f"{stage.name} returns {', '.join(f'∂C/∂{name}' for name in edges)}."
        return
    for name, check in edges.items():
        if check:
            yield f"∂C/∂{name} of {stage.name}: {LOOKS[check.outcome].word}."
