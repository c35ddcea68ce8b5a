"""Difference quotients in a syntax tree: one function called at two points close together."""

import ast
from collections.abc import Callable, Sequence

SMALL = 0.1
Number = Callable[[str], object]


def difference_quotients(nodes: Sequence[ast.AST], number: Number) -> list[ast.Call]:
    """Return the calls whose arguments are those of an earlier call but for small steps.

    ``number`` returns the value of a name, as far as it is known.
    """
    asked = [node for node in nodes if isinstance(node, ast.Call) and node.args]
    first: dict[tuple[str, ...], tuple[str, ...]] = {}
    found: list[ast.Call] = []
    for call in asked:
        base, shifts = _split(call, number)
        if first.setdefault(base, shifts) != shifts:
            found.append(call)
    return found


def _is_step(node: ast.expr, number: Number) -> bool:
    """Return whether it is a small step: a number, a name for one, or a product with one."""
    match node:
        case ast.Constant(value=value):
            return _is_small(value)
        case ast.Name(id=name):
            return _is_small(number(name))
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            return _is_step(left, number) or _is_step(right, number)
    return False


def _split(call: ast.Call, number: Number) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what a call is without the small shifts of its arguments, and those shifts."""
    base, shifts = [ast.dump(call.func)], []
    for argument in call.args:
        shift = ""
        match argument:
            case ast.BinOp(left=left, op=ast.Add() | ast.Sub() as op, right=right):
                if _is_step(right, number):
                    argument, shift = left, f"{type(op).__name__} {ast.dump(right)}"
        base.append(ast.dump(argument))
        shifts.append(shift)
    base += [ast.dump(each) for each in call.keywords]
    return tuple(base), tuple(shifts)


def _is_small(value: object) -> bool:
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return plain and 0 < abs(value) <= SMALL  # type: ignore[arg-type]
