"""The simplest form of an expression that the rules here reach without a change of its values."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from functools import lru_cache, reduce

from harness.course.stage import Stage
from harness.expressions.notation import as_written, plain
from harness.expressions.variants import Change, everywhere
from harness.formulas.factors import constant_text

# A number and the factors above and below a fraction's line.
Product = tuple[Fraction, list[ast.expr], list[ast.expr]]
# The methods of which a factor that is a number can stand outside.
_LINEAR = ("sum", "mean", "norm", "reshape", "expand", "expand_as", "flip", "roll", "double")
_ONE = Fraction(1)
# How many characters more torch may need for what is shorter to read.
MORE = 8


def simplest(stage: Stage, expression: str, has_same_values: Callable[[str], bool]) -> str:
    """Return the shortest expression that steps of the rules lead to, each with the same values.

    An expression that no step makes shorter to read stays as it is written.
    """
    refused: set[str] = set()
    while True:
        most, characters = length(stage, expression), len(expression)
        likely = (text for text in shortened(stage, expression) if len(text) <= characters + MORE)
        steps = [(length(stage, text), text) for text in likely if text not in refused]
        for size, text in sorted(steps):
            if size < most:
                if has_same_values(text):
                    expression = text
                    break
                refused.add(text)
        else:
            return expression


@lru_cache(maxsize=4096)
def length(stage: Stage, expression: str) -> tuple[int, int]:
    """Return how many characters a person reads, brackets aside, and how many torch does."""
    return len(re.sub(r"[ ()]", "", plain(as_written(stage, expression)))), len(expression)


@lru_cache(maxsize=4096)
def shortened(stage: Stage, expression: str) -> tuple[str, ...]:
    """Return what one step of the rules makes of an expression; some have other values."""
    rules = _Rules(stage)
    every = (_parts, rules.names, rules.products, rules.sums)
    tree = ast.parse(expression, mode="eval").body
    return tuple(dict.fromkeys(text for _, text in everywhere(tree, every)))


def _parts(node: ast.expr) -> Iterator[Change]:
    """Yield a part of an operation in the place of the whole, and signs and transposes joined."""
    match node:
        case ast.BinOp(left=left, right=right):
            yield from (("", left), ("", right))
        case ast.UnaryOp(operand=inner) | ast.Attribute(value=inner):
            yield "", inner
        case ast.Call(func=ast.Attribute(value=inner)):
            yield "", inner
        case ast.Call(args=args):
            yield from (("", each) for each in args)
    match node:
        case ast.Call(ast.Attribute(inner, "norm"), []):
            # That of a single number.
            yield "", ast.Call(ast.Name("abs"), [inner], [])
        case ast.Call(function, args, [_, *_]):
            yield "", ast.Call(function, args, [])
        case ast.Attribute(ast.BinOp(left, ast.MatMult(), right), "T"):
            yield "", ast.BinOp(_transposed(right), ast.MatMult(), _transposed(left))
        case ast.Attribute(ast.Attribute(inner)) | ast.UnaryOp(_, ast.UnaryOp(_, inner)):
            yield "", inner
        case ast.Call(
            ast.Name("exp"),
            [ast.BinOp(power, ast.Mult(), ast.Call(ast.Name("log"), [base]))],
        ):
            yield "", ast.BinOp(base, ast.Pow(), power)
        case ast.Call(ast.Name("ones_like")):
            yield "", ast.Constant(1)
        case ast.Compare(left):
            # It may hold everywhere.
            yield "", ast.Call(ast.Name("ones_like"), [left], [])
        # A condition has to become a number.
        case ast.BinOp(ast.Call(ast.Name("ones_like")), ast.Mult(), ast.Compare() as test):
            yield "", ast.Call(ast.Attribute(test, "double"), [], [])
        case ast.BinOp(
            ast.Constant(int() | float() as one),
            ast.Add() | ast.Sub() as sign,
            ast.Constant(int() | float() as other),
        ):
            yield "", ast.Constant(one + other if isinstance(sign, ast.Add) else one - other)
        case ast.BinOp(left, ast.Add(), ast.UnaryOp(ast.USub(), right)):
            yield "", ast.BinOp(left, ast.Sub(), right)
        case ast.BinOp(ast.UnaryOp(ast.USub(), left), ast.Add(), right):
            yield "", ast.BinOp(right, ast.Sub(), left)


def _transposed(node: ast.expr) -> ast.expr:
    match node:
        case ast.Attribute(inner, "T"):
            return inner
    return ast.Attribute(node, "T")


class _Rules:
    """The rules that depend on what the names of a stage mean."""

    def __init__(self, stage: Stage) -> None:
        self._names = tuple(ast.Name(each) for each in (*stage.quantities, *stage.where))
        self._numbers = {*stage.dimensions}

    def names(self, node: ast.expr) -> Iterator[Change]:
        """Yield names in the place of an operation: one may have its value."""
        if isinstance(node, ast.BinOp | ast.Call):
            yield from (("", name) for name in self._names)
        match node:
            case ast.Call(ast.Attribute(attr="sum"), []):
                # Probabilities add up to the number of samples.
                yield from (("", ast.Name(each)) for each in self._numbers)

    def products(self, node: ast.expr) -> Iterator[Change]:
        """Yield a product with one number and one sign, without what cancels."""
        if not isinstance(node, ast.BinOp | ast.UnaryOp | ast.Call | ast.Attribute):
            return
        constant, above, below = self._product(node)
        _take_common(above, below)
        yield "", _written(constant, above, below)
        for side in (above, below):
            for at, each in enumerate(side):
                match each:
                    case ast.BinOp(left, ast.Sub(), right) if constant < 0:
                        side[at] = ast.BinOp(right, ast.Sub(), left)
                        yield "", _written(-constant, above, below)
                    # A mean times a size may be a sum.
                    case ast.Call(ast.Attribute(inner, "mean"), args, keywords):
                        side[at] = ast.Call(ast.Attribute(inner, "sum"), args, keywords)
                        for number in (x for x in above if self._is_number(x)):
                            rest = [x for x in above if x is not number]
                            yield "", _written(constant, rest, below)
                side[at] = each

    def sums(self, node: ast.expr) -> Iterator[Change]:
        """Yield a sum with the factors that its terms share before it, or below it."""
        match node:
            case ast.BinOp(left, ast.Add() | ast.Sub() as sign, right):
                one, above, below = self._product(left)
                other, more, less = self._product(right)
                shared = _take_common(above, more), _take_common(below, less)
                whole: ast.expr = ast.BinOp(
                    _written(one, above, below), sign, _written(other, more, less)
                )
                if one < 0 and isinstance(sign, ast.Add):
                    whole = ast.BinOp(
                        _written(other, more, less), ast.Sub(), _written(-one, above, below)
                    )
                if any(shared):
                    yield "", _written(_ONE, [*shared[0], whole], shared[1])

    def _is_number(self, node: ast.expr) -> bool:
        match node:
            case ast.BinOp(base, ast.Pow()):
                return self._is_number(base)
            case ast.Name(name):
                return name in self._numbers
        return isinstance(node, ast.Constant)

    def _product(self, node: ast.expr) -> Product:
        match node:
            case ast.Constant(int() | float() as value) if 1e-9 < abs(value) < 1e9:
                return Fraction(value).limit_denominator(10**9), [], []
            case ast.UnaryOp(ast.USub(), inner):
                constant, above, below = self._product(inner)
                return -constant, above, below
            case ast.BinOp(left, ast.Mult() | ast.Div() as sign, right):
                factor = self._product(right)
                if isinstance(sign, ast.Div):
                    factor = 1 / factor[0], factor[2], factor[1]
                return _multiplied(self._product(left), factor)
            case ast.BinOp(base, ast.Pow(), ast.Constant(int() as times)) if 1 < times < 4:
                return reduce(_multiplied, [self._product(base)] * times)
            case ast.BinOp(left, ast.MatMult() as sign, right):
                (ours, kept), (theirs, rest) = self._number_of(left), self._number_of(right)
                whole: Product = _ONE, [ast.BinOp(kept, sign, rest)], []
                return reduce(_multiplied, (ours, theirs, whole))
            case ast.Attribute(inner, "T"):
                number, kept = self._number_of(inner)
                return _multiplied(number, (_ONE, [ast.Attribute(kept, "T")], []))
            case ast.Call(ast.Attribute(inner, method), args, keywords) if method in _LINEAR:
                number, kept = self._number_of(inner)
                called = ast.Call(ast.Attribute(kept, method), args, keywords)
                return _multiplied(number, (_ONE, [called], []))
        return _ONE, [node], []

    def _number_of(self, node: ast.expr) -> tuple[Product, ast.expr]:
        """Return the numbers in a product, and the rest of it."""
        constant, above, below = self._product(node)
        numbers = [[x for x in side if self._is_number(x)] for side in (above, below)]
        rest = [[x for x in side if not self._is_number(x)] for side in (above, below)]
        return (constant, numbers[0], numbers[1]), _written(_ONE, rest[0], rest[1])


def _multiplied(one: Product, other: Product) -> Product:
    return one[0] * other[0], [*one[1], *other[1]], [*one[2], *other[2]]


def _take_common(ours: list[ast.expr], theirs: list[ast.expr]) -> list[ast.expr]:
    """Return what two lists share, as often as both have it, and take it out of them."""
    common: list[ast.expr] = []
    for each in list(ours):
        same = [other for other in theirs if ast.dump(other) == ast.dump(each)]
        if same:
            common.append(each)
            ours.remove(each)
            theirs.remove(same[0])
    return common


def _written(constant: Fraction, above: Sequence[ast.expr], below: Sequence[ast.expr]) -> ast.expr:
    """Return a product, its number first."""
    over, under = constant_text(abs(float(constant)))
    factors = [*_parsed(over), *_with_powers(above)] or [ast.Constant(1)]
    if constant < 0:
        factors[0] = ast.UnaryOp(ast.USub(), factors[0])
    whole = reduce(_times, factors)
    if divisors := [*_parsed(under), *_with_powers(below)]:
        whole = ast.BinOp(whole, ast.Div(), reduce(_times, divisors))
    return whole


def _times(left: ast.expr, right: ast.expr) -> ast.expr:
    return ast.BinOp(left, ast.Mult(), right)


def _with_powers(factors: Sequence[ast.expr]) -> Iterator[ast.expr]:
    """Yield factors, those that are there several times as powers."""
    often = Counter(map(ast.dump, factors))
    for text, factor in {ast.dump(each): each for each in factors}.items():
        times = often[text]
        yield factor if times == 1 else ast.BinOp(factor, ast.Pow(), ast.Constant(times))


def _parsed(text: str) -> list[ast.expr]:
    return [ast.parse(text, mode="eval").body] if text else []
