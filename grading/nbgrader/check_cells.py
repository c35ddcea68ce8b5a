"""Which checks a cell of a notebook makes, read from its code without running it."""

from __future__ import annotations

import ast


def stages_checked(source: str) -> frozenset[str | None] | None:
    """The stages whose checks a cell makes in its last line; None if it makes none.

    The stage None stands for the chain and the training. Raises SyntaxError for what is not
    Python.
    """
    body = ast.parse(source).body
    call = body[-1].value if body and isinstance(body[-1], ast.Expr) else None
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name)):
        return None
    if call.func.id == "train":
        return frozenset({None})
    if call.func.id == "check":
        return frozenset(arg.id for arg in call.args if isinstance(arg, ast.Name))
    return None
