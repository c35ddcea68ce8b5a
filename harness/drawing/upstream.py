"""The upstream gradient where a student's formula leaves it out, as a mark at its value."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from harness.drawing.layout import Node
from harness.drawing.marks import LOOKS
from harness.drawing.mathematics import Block, row, set_formula
from harness.drawing.svg import BAD, line
from harness.expressions.notation import depends_on, symbol

if TYPE_CHECKING:
    from harness.course.report import Diagnosis
    from harness.course.stage import Stage


def lacks_upstream(stage: Stage, diagnosis: Diagnosis) -> bool:
    """Return whether the formula that a student wrote has no upstream, and is not nothing."""
    formula = diagnosis.formula
    if not stage.has_upstream or formula == "None" or "zeros_like" in formula:
        return False
    return not depends_on(ast.parse(formula, mode="eval").body, stage.upstreams)


def is_right_without(diagnosis: Diagnosis) -> bool:
    """Return whether the upstream is all that is missing: the local derivative is right."""
    return diagnosis.mistake.endswith("upstream-missing") and not diagnosis.also


def crossed_g() -> Block:
    """Return the mark: g and a cross."""
    return row(set_formula(symbol("g")), LOOKS["failed"].mark, gap=3)


def upstream_mark(node: Node) -> str:
    """Draw the mark over the value at which the upstream arrives, and is not used."""
    (x, y), (_, down) = node.centre, node.extent
    tick = line((x, y - down - 7), (x, y - down), stroke=BAD, stroke_width=2)
    return crossed_g().centred(x, y - down - 15) + tick
