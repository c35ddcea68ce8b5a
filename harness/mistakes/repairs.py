"""Repairs: what the hint of a mistake leads to, as steps that change the formula that was written.

``repair`` stands beside ``hint``, and tells the same in a few verbs, so that it can be proved that
who follows the hint gets it right: "multiply by 1 - a; leave out N". It is about the formula that
the student wrote, as it was read from what backward returns.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping

# What the verbs leave of a formula; {0} is the formula, with brackets.
_WHOLE = {
    "multiply by": "{0} * ({1})",
    "divide by": "{0} / ({1})",
    "negate": "-{0}",
    "transpose": "{0}.T",
    "sum over": "{0}.sum({1})",
    "return": "{1}",
}
VERBS = (*_WHOLE, "take", "put", "leave out", "bracket")


def repaired(steps: str, formula: str, others: Mapping[str, str]) -> str:
    """Return a wrong formula after the steps of a repair; ``others`` has all by input.

    Raise ValueError if a step means nothing there.
    """
    for step in steps.split("; "):
        verb = next((each for each in VERBS if re.match(rf"{each}\b", step)), None)
        if verb is None:
            raise ValueError(f"{step!r} begins with none of {', '.join(VERBS)}")
        formula = _made(verb, step.removeprefix(verb).strip(), formula, others)
    return formula


def _made(verb: str, what: str, formula: str, others: Mapping[str, str]) -> str:
    if verb in _WHOLE:
        return _plain(_WHOLE[verb].format(f"({formula})", what))
    if verb == "take":
        return others[what]
    if verb == "bracket":
        new = _plain(formula.replace(what, f"({what})"))
    else:
        old = what.rpartition(" for ")[2]
        new = ast.unparse((_Put(what) if verb == "put" else _Left(old)).visit(_tree(formula)))
    if new == _plain(formula):
        raise ValueError(f"{verb} {what}: nothing changes in {formula}")
    return new


def _tree(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


def _plain(text: str) -> str:
    return ast.unparse(_tree(text))


class _Put(ast.NodeTransformer):
    """Puts one expression for another, wherever that stands: "a for z"."""

    def __init__(self, what: str) -> None:
        new, _, old = what.rpartition(" for ")
        self._new, self._old = _tree(new), ast.dump(_tree(old))

    def visit(self, node: ast.AST) -> ast.AST:
        return self._new if ast.dump(node) == self._old else self.generic_visit(node)


class _Left(ast.NodeTransformer):
    """Leaves out a factor, a divisor or a term, once, or a function or method wherever it is."""

    def __init__(self, what: str) -> None:
        self._is: Callable[[ast.AST], bool] = lambda node: _plain(what) == ast.unparse(node)
        self._what, self._done = what, False

    def visit(self, node: ast.AST) -> ast.AST:
        match node:
            case ast.Call(func=ast.Attribute(value, attr)) if f".{attr}" == self._what:
                return self.visit(value)
            case ast.Call(func=ast.Name(id), args=[value]) if id == self._what:
                return self.visit(value)
            case ast.BinOp() if not self._done and not self._what.startswith("."):
                one, op, other = node.left, node.op, node.right
                self._done = True
                if self._is(other) and isinstance(op, ast.Mult | ast.Div | ast.Add | ast.Sub):
                    return one
                if self._is(one) and isinstance(op, ast.Mult | ast.Add):
                    return other
                self._done = False
        return self.generic_visit(node)
