"""Read a stage's gradient, a torch expression, as the local derivative of mathematics."""

import ast
from collections.abc import Iterator, Mapping
from functools import reduce

from harness.expressions.notation import POWER, PRODUCT, Formula, Typeset, Writer

UPSTREAM = "g"
_THIN = "\u2009"
_MINUS = ast.Constant(-1)


def local_derivative(expression: str, names: Mapping[str, Formula]) -> Formula | None:
    """Return the factor of the upstream gradient ``g`` in the expression, for one sample.

    ``g * a * (1 - a)`` gives a(1 − a), ``g.T @ a_prev`` gives a_prev, ``g.sum(0)`` gives 1.
    ``names`` replaces symbols of names. Return None if the expression is not ``g`` times the rest.
    """
    factors = [*_factors(ast.parse(expression, mode="eval").body)]
    rest = [(node, below) for node, below in factors if below or not _is_upstream(node)]
    used = (each for node, _ in rest for each in ast.walk(node))
    if len(rest) != len(factors) - 1 or any(map(_is_upstream, used)):
        return None
    signless = [(node, below) for node, below in rest if node is not _MINUS]
    above = [node for node, below in signless if not below] or [ast.Constant(1)]
    product = reduce(lambda one, other: ast.BinOp(one, ast.Mult(), other), above)
    for divisor in (node for node, below in signless if below):
        product = ast.BinOp(product, ast.Div(), divisor)
    if (len(rest) - len(signless)) % 2:
        product = ast.UnaryOp(ast.USub(), product)
    return _Local(names).set(product).within(PRODUCT)


def _factors(node: ast.expr, below: bool = False) -> Iterator[tuple[ast.expr, bool]]:
    """Yield the factors of a product, and whether it is divided by them."""
    match node:
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            yield _MINUS, below
            yield from _factors(operand, below)
        case ast.BinOp(left=left, op=ast.Mult() | ast.MatMult() | ast.Div() as sign, right=right):
            yield from _factors(left, below)
            yield from _factors(right, below != isinstance(sign, ast.Div))
        case _:
            yield node, below


def _is_upstream(node: ast.AST) -> bool:
    match node:
        case ast.Name(id=name):
            return name == UPSTREAM
        case (
            ast.Attribute(value=value, attr="T")
            | ast.Call(func=ast.Attribute(value=value, attr="sum"))
        ):
            return _is_upstream(value)
    return False


class _Local(Writer):
    """Writes for one sample: without transposes, and products without signs."""

    def __init__(self, names: Mapping[str, Formula]) -> None:
        super().__init__()
        self._names = names

    def named(self, name: str) -> Formula:
        return self._names.get(name) or super().named(name)

    def times(self, left: Typeset, right: Typeset) -> str:
        return _THIN if right.binds >= POWER else ""

    def set(self, node: ast.expr) -> Typeset:
        match node:
            case ast.Attribute(value=value, attr="T"):
                return self.set(value)
        return super().set(node)
