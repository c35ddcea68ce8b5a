"""Difference quotients in a syntax tree: one function called at two points close together."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass

SMALL = 0.1


@dataclass(frozen=True)
class _Call:
    """A call, its arguments without their small shifts, and those shifts."""

    node: ast.Call
    base: tuple[str, ...]
    shifts: tuple[str, ...]


def difference_quotients(
    nodes: Sequence[ast.AST], number: Callable[[str], object]
) -> list[ast.Call]:
    """Return the calls whose arguments are those of an earlier call but for small steps.

    ``number`` returns the value of a name that is not assigned among the ``nodes``.
    """
    asked = [node for node in nodes if isinstance(node, ast.Call) and node.args]
    if not any(_is_shifted(argument) for node in asked for argument in node.args):
        return []
    small = _Small(nodes, number)
    calls = [_split(node, small) for node in asked]
    first: dict[tuple[str, ...], _Call] = {}
    found: list[ast.Call] = []
    for call in calls:
        before = first.setdefault(call.base, call)
        if before.shifts != call.shifts:
            found.append(call.node)
    return found


class _Small:
    """Knows which expressions are a small step: a number, a name for one, or a product of one."""

    def __init__(self, nodes: Sequence[ast.AST], number: Callable[[str], object]) -> None:
        self._number = number
        self._constants: dict[str, object] = {}
        for node in nodes:
            match node:
                case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=value)):
                    self._constants[name] = value
                case ast.arguments():
                    self._learn_defaults(node)

    def _learn_defaults(self, given: ast.arguments) -> None:
        positional = [*given.posonlyargs, *given.args]
        pairs = [*zip(reversed(positional), reversed(given.defaults), strict=False)]
        for argument, default in [*pairs, *zip(given.kwonlyargs, given.kw_defaults, strict=True)]:
            if isinstance(default, ast.Constant):
                self._constants[argument.arg] = default.value

    def is_step(self, node: ast.expr) -> bool:
        """Return whether the expression is a small step."""
        match node:
            case ast.Constant(value=value):
                return _is_small(value)
            case ast.Name(id=name):
                known = self._constants
                return _is_small(known[name] if name in known else self._number(name))
            case ast.BinOp(left=left, op=ast.Mult(), right=right):
                return self.is_step(left) or self.is_step(right)
        return False


def _is_shifted(argument: ast.expr) -> bool:
    return isinstance(argument, ast.BinOp) and isinstance(argument.op, ast.Add | ast.Sub)


def _split(call: ast.Call, small: _Small) -> _Call:
    base, shifts = [ast.dump(call.func)], []
    for argument in call.args:
        shift = ""
        match argument:
            case ast.BinOp(left=left, op=ast.Add() | ast.Sub() as op, right=right):
                if small.is_step(right):
                    argument, shift = left, f"{type(op).__name__} {ast.dump(right)}"
        base.append(ast.dump(argument))
        shifts.append(shift)
    base += [ast.dump(each) for each in call.keywords]
    return _Call(call, tuple(base), tuple(shifts))


def _is_small(value: object) -> bool:
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return plain and 0 < abs(value) <= SMALL  # type: ignore[arg-type]
