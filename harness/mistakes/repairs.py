"""Repairs: what the hint of a mistake leads to, as steps that change the formula that was written.

``repair`` stands beside ``hint``, and tells the same in a few verbs, so that it can be proved that
who follows the hint gets it right: "multiply by 1 - a; leave out N". It is about the formula that
the student wrote, as it was read from what backward returns.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping

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
        try:
            formula = _made(verb, step.removeprefix(verb).strip(), formula, others)
        except (KeyError, SyntaxError):
            raise ValueError(f"{step!r} cannot be read, or means nothing in {formula}") from None
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
    """Puts one expression for another wherever that stands, also with its sign turned: "a for z".

    Of a function of ``a``, as in "a for abs(a)", what it is applied to stays if ``a`` is in it.
    "- for +" turns sums into differences.
    """

    def __init__(self, what: str) -> None:
        new, _, old = what.rpartition(" for ")
        self._turns = what == "- for +"
        self._new, self._old = map(_tree, ("_", "_") if self._turns else (new, old))

    def visit(self, node: ast.AST) -> ast.AST:
        if self._turns and isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            node.op = ast.Sub()
        if sign := _sign(node, self._old):
            return self._new if sign > 0 else ast.UnaryOp(ast.USub(), self._new)
        if (inner := _inside(node, self._old, self._new)) is not None:
            return inner
        return self.generic_visit(node)


def _sign(node: ast.AST, other: ast.AST) -> int:
    """Return 1 if two trees are the same, −1 if one is the other's difference turned, else 0."""
    if ast.dump(node) == ast.dump(other):
        return 1
    match node, other:
        case ast.BinOp(one, ast.Sub(), two), ast.BinOp(left, ast.Sub(), right):
            return -1 if _sign(one, right) > 0 and _sign(two, left) > 0 else 0
    return 0


def _inside(node: ast.AST, old: ast.AST, new: ast.AST) -> ast.AST | None:
    """Return what stands in a function or a power where ``old`` has ``new``, if that is in it."""
    found: list[ast.AST] = []

    def fits(one: object, other: object) -> bool:
        if isinstance(one, ast.AST) and isinstance(other, ast.AST):
            if _sign(other, new) > 0:
                found.append(one)
                return any(_sign(each, new) > 0 for each in ast.walk(one))
            fields = zip(ast.iter_fields(one), ast.iter_fields(other), strict=False)
            return type(one) is type(other) and all(fits(x, y) for (_, x), (_, y) in fields)
        if isinstance(one, list) and isinstance(other, list):
            return len(one) == len(other) and all(map(fits, one, other))
        return one == other

    wraps = isinstance(old, ast.Call) or (
        isinstance(old, ast.BinOp) and isinstance(old.op, ast.Pow)
    )
    return found[0] if wraps and fits(node, old) and len(found) == 1 else None


class _Left(ast.NodeTransformer):
    """Leaves out a factor, a divisor or a term, once; a function, a method or an index wherever."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._old = None if what[0] in ".[" else _tree(what)

    def _is_index(self, index: ast.expr) -> bool:
        return ast.unparse(ast.Subscript(ast.Name("_"), index)) == f"_{self._what}"

    def visit(self, node: ast.AST) -> ast.AST:
        match node:
            case ast.Call(func=ast.Attribute(value, attr)) if f".{attr}" == self._what:
                return self.visit(value)
            case ast.Subscript(value, index) if self._is_index(index):
                return self.visit(value)
            case ast.Call(func=ast.Name(id), args=[value]) if id == self._what:
                return self.visit(value)
            case ast.BinOp(one, op, other) if self._old is not None:
                for part, rest, kinds in (
                    (other, one, ast.Mult | ast.Div | ast.Add | ast.Sub),
                    (one, other, ast.Mult | ast.Add),
                ):
                    if isinstance(op, kinds) and (sign := _sign(part, self._old)):
                        self._old = None
                        return rest if sign > 0 else ast.UnaryOp(ast.USub(), rest)
        return self.generic_visit(node)
