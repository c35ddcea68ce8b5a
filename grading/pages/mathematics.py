"""Recorded formulas, set as mathematics."""

from contextlib import suppress
from functools import lru_cache

from markupsafe import Markup

from harness.course.assignments import load_assignment
from harness.drawing.visible import visible
from harness.expressions.notation import as_written
from harness.show.notebook import formula_html


@lru_cache(maxsize=4096)
def set_formula(assignment: str, stage: str | None, expression: str) -> Markup:
    """Return an expression over a stage's names as HTML, or as code if it is none. Loads torch."""
    if expression != "None":
        with suppress(KeyError, SyntaxError, ValueError, RecursionError):
            declared = load_assignment(assignment).stage(stage or "")
            return Markup(formula_html(as_written(declared, expression)))
    return Markup("<code>{}</code>").format(visible(expression))
