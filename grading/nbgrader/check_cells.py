"""The check cells of a notebook, and which checks they make, read from their code."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from harness.errors import UserError

if TYPE_CHECKING:
    from nbformat import NotebookNode

    from harness.probes import Planned


def check_cells(notebook: NotebookNode) -> Iterator[NotebookNode]:
    """Yield the cells whose marks the judge gives: those of nbgrader's tests.

    A written answer, and code that a person marks, are not among them.
    """
    for cell in notebook.cells:
        mark = cell.metadata.get("nbgrader", {})
        if mark.get("grade") and not mark.get("solution"):
            yield cell


def stages_checked(source: str) -> frozenset[str | None] | None:
    """Return the stages whose checks a cell makes in its last line; None if it makes none.

    The stage None stands for the chain and the training.
    """
    try:
        body = ast.parse(source).body
    except SyntaxError:
        return None
    call = body[-1].value if body and isinstance(body[-1], ast.Expr) else None
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name)):
        return None
    if call.func.id == "train":
        return frozenset({None})
    if call.func.id == "check":
        return frozenset(arg.id for arg in call.args if isinstance(arg, ast.Name))
    return None


def cell_points(name: str, source: str, planned: Iterable[Planned]) -> float:
    """Return the points of the checks that a cell makes. Raise UserError if it makes none."""
    if (wanted := stages_checked(source)) is None:
        raise UserError(f"The last line of check cell {name} calls neither check() nor train().")
    return round(sum(check.max_points for check in planned if check.stage in wanted), 9)
