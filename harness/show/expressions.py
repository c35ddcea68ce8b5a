"""Read a stage's gradient, a torch expression, as the local derivative of mathematics."""

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.formulas.notation import Formula, Piece, symbol, upright

UPSTREAM = "g"
_THIN = "\u2009"
_IN_BRACKETS = (ast.BinOp, ast.Compare, ast.BoolOp, ast.IfExp)


@dataclass(frozen=True)
class _Product:
    negative: bool
    above: tuple[ast.expr, ...]
    below: tuple[ast.expr, ...] = ()


def local_derivative(expression: str, names: Mapping[str, Formula]) -> Formula | None:
    """Return the factor of the upstream gradient ``g`` in the expression, for one sample.

    ``g * a * (1 - a)`` gives a(1 − a), ``g.T @ a_prev`` gives a_prev, ``g.sum(0)`` gives 1.
    ``names`` replaces symbols of names. Return None if the expression is not ``g`` times the rest.
    """
    product = _product(ast.parse(expression, mode="eval").body)
    rest = tuple(factor for factor in product.above if not _is_upstream(factor))
    used = [each for factor in (*rest, *product.below) for each in ast.walk(factor)]
    if len(rest) != len(product.above) - 1 or any(_is_upstream(each) for each in used):
        return None
    return _set_product(_Product(product.negative, rest, product.below), names)


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


def _product(node: ast.expr) -> _Product:
    match node:
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            inner = _product(operand)
            return _Product(not inner.negative, inner.above, inner.below)
        case ast.BinOp(left=left, op=ast.Mult() | ast.MatMult() | ast.Div() as sign, right=right):
            one, two = _product(left), _product(right)
            if isinstance(sign, ast.Div):
                two = _Product(two.negative, two.below, two.above)
            return _Product(
                one.negative != two.negative, one.above + two.above, one.below + two.below
            )
    return _Product(False, (node,))


def _set_product(product: _Product, names: Mapping[str, Formula]) -> Formula:
    pieces = [Piece("−")] if product.negative else []
    pieces += _factors(product.above, names) or upright("1")
    for divisor in product.below:
        pieces += (Piece(" / "), *_enclosed(divisor, names))
    return tuple(pieces)


def _factors(factors: Sequence[ast.expr], names: Mapping[str, Formula]) -> Formula:
    pieces: list[Piece] = []
    for place, factor in enumerate(factors):
        if place and not isinstance(factor, _IN_BRACKETS):
            pieces.append(Piece(_THIN))
        pieces += _enclosed(factor, names)
    return tuple(pieces)


def _enclosed(node: ast.expr, names: Mapping[str, Formula]) -> Formula:
    inner = _set(node, names)
    power = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow)
    if isinstance(node, _IN_BRACKETS) and not power:
        return (Piece("("), *inner, Piece(")"))
    return inner


def _set(node: ast.expr, names: Mapping[str, Formula]) -> Formula:
    match node:
        case ast.Name(id=name):
            return names.get(name, symbol(name))
        case ast.Constant(value=value):
            return upright(str(value))
        case ast.Attribute(value=value, attr="T"):
            return _set(value, names)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return (Piece("−"), *_enclosed(operand, names))
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() as sign, right=right):
            between = Piece(" + " if isinstance(sign, ast.Add) else " − ")
            is_taken_away = isinstance(sign, ast.Sub) and isinstance(right, ast.BinOp)
            second = _enclosed(right, names) if is_taken_away else _set(right, names)
            return (*_set(left, names), between, *second)
        case ast.BinOp(left=left, op=ast.Pow(), right=ast.Constant(value=power)):
            return (*_enclosed(left, names), Piece(str(power), place="above"))
        case ast.BinOp(op=ast.Mult() | ast.MatMult() | ast.Div()):
            return _set_product(_product(node), names)
        case ast.Call(func=ast.Name(id=function), args=[argument], keywords=[]):
            return (Piece(f"{function}("), *_set(argument, names), Piece(")"))
    return upright(ast.unparse(node))
