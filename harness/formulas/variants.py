"""Wrong formulas, made by rule from the syntax tree of a right one."""

import ast
import re
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import TypeVar

from harness.course.stage import Stage
from harness.formulas.data import data

Change = tuple[str, ast.expr]
Tree = TypeVar("Tree", bound=ast.AST)
Rule = Callable[[ast.expr], Iterator[Change]]


@dataclass(frozen=True)
class Variant:
    """An expression that differs from another in one place, and how."""

    how: str
    expression: str


def variants_of(stage: Stage, name: str) -> tuple[Variant, ...]:
    """Return expressions near the true gradient of input ``name`` that differ from it as text.

    Some may have the same value nevertheless, as ``a * g`` has for ``g * a``.
    """
    true = ast.parse(stage.gradients[name], mode="eval").body
    rules = [*RULES, _names(stage), *([] if stage.is_scalar else SHAPED_RULES)]
    found: dict[str, str] = {}
    for how, tree in _everywhere(true, rules):
        found.setdefault(ast.unparse(tree), how)
    for how, pattern in _wholes(stage):
        whole = re.sub(r"\b_\b", stage.gradients[name], pattern)
        found.setdefault(ast.unparse(ast.parse(whole, mode="eval")), how)
    found.pop(ast.unparse(true), None)
    return tuple(Variant(how, text) for text, how in found.items())


def parts_of(*expressions: str) -> list[str]:
    """Return all operations in expressions, the expressions themselves included."""
    trees = (ast.parse(text, mode="eval").body for text in expressions)
    nodes = (node for tree in trees for node in ast.walk(tree))
    kinds = (ast.BinOp, ast.UnaryOp, ast.Call, ast.Compare)
    return list(dict.fromkeys(ast.unparse(node) for node in nodes if isinstance(node, kinds)))


def without_factor(name: str, expression: str) -> str | None:
    """Return a product without the factor of that name, or None if it has no such factor."""
    left = _without(name, ast.parse(expression, mode="eval").body)
    return ast.unparse(left) if left else None


def _without(name: str, tree: ast.expr) -> ast.expr | None:
    match tree:
        case ast.BinOp(left=left, op=ast.Mult() | ast.Div() as operator, right=right):
            if isinstance(operator, ast.Mult):
                for one, other in ((left, right), (right, left)):
                    if isinstance(one, ast.Name) and one.id == name:
                        return other
            rest = _without(name, left)
            return ast.BinOp(rest, operator, right) if rest else None
    return None


def _everywhere(tree: ast.expr, rules: Sequence[Rule]) -> Iterator[Change]:
    """Yield the tree with one of the rules applied at one of its nodes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.expr):
            for rule in rules:
                for how, new in rule(node):
                    yield how, replaced(tree, node, new)


def replaced(tree: Tree, old: ast.AST, new: ast.AST | None) -> Tree:
    """Return a copy of a syntax tree with ``new`` in the place of one of its nodes."""
    copy: Tree = deepcopy(tree, {id(old): new})
    return copy


def _operands(node: ast.expr) -> Iterator[Change]:
    if not isinstance(node, ast.BinOp):
        return
    yield "operands swapped", ast.BinOp(node.right, node.op, node.left)
    yield "right operand dropped", node.left
    yield "left operand dropped", node.right


OPERATORS: dict[type[ast.operator], tuple[ast.operator, ...]] = {
    ast.Add: (ast.Sub(), ast.Mult()),
    ast.Sub: (ast.Add(), ast.Mult()),
    ast.Mult: (ast.Div(), ast.Add(), ast.Sub(), ast.MatMult()),
    ast.Div: (ast.Mult(), ast.Sub()),
    ast.MatMult: (ast.Mult(),),
    ast.Pow: (ast.Mult(),),
}


def _operators(node: ast.expr) -> Iterator[Change]:
    if isinstance(node, ast.BinOp):
        for other in OPERATORS.get(type(node.op), ()):
            yield "another operator", ast.BinOp(node.left, other, node.right)


COMPARISONS = (ast.Gt(), ast.Lt(), ast.GtE(), ast.LtE(), ast.Eq(), ast.NotEq())


def _comparisons(node: ast.expr) -> Iterator[Change]:
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        for other in COMPARISONS:
            yield "another comparison", ast.Compare(node.left, [other], node.comparators)


def _signs(node: ast.expr) -> Iterator[Change]:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield "sign dropped", node.operand
    elif isinstance(node, ast.Name | ast.BinOp):
        yield "sign added", ast.UnaryOp(ast.USub(), node)


def _constants(node: ast.expr) -> Iterator[Change]:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        given = node.value
        for value in (given + 1, given - 1, 2 * given, given / 2, -given):
            yield "another constant", ast.Constant(value)


def _powers(node: ast.expr) -> Iterator[Change]:
    if isinstance(node, ast.Name):
        yield "squared", ast.BinOp(node, ast.Pow(), ast.Constant(2))
        yield "absolute value", _call(ast.Name("abs"), node)


def _calls(node: ast.expr) -> Iterator[Change]:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        yield "method dropped", node.func.value
    elif isinstance(node, ast.Call) and len(node.args) == 1:
        yield "function dropped", node.args[0]


def _names(stage: Stage) -> Rule:
    known = (*stage.quantities, *stage.upstreams)

    def names(node: ast.expr) -> Iterator[Change]:
        if isinstance(node, ast.Name) and node.id in (*known, *_counts(stage)):
            for other in (*known, *_counts(stage)):
                yield f"{other} for {node.id}", ast.Name(other)

    return names


def _upstream(node: ast.expr) -> Iterator[Change]:
    if isinstance(node, ast.Name) and node.id == "g":
        yield "upstream missing", _call(ast.Name("ones_like"), node)
        yield (
            "upstream clipped",
            _call(ast.Attribute(node, "clamp"), ast.Constant(-1), ast.Constant(1)),
        )
        yield "upstream in float32", _call(ast.Attribute(node, "float"))


def _transposes(node: ast.expr) -> Iterator[Change]:
    if isinstance(node, ast.Attribute) and node.attr == "T":
        yield "transpose dropped", node.value
    elif isinstance(node, ast.Name):
        yield "transpose added", ast.Attribute(node, "T")


REDUCTIONS = ("sum", "mean", "amax")


def _reductions(node: ast.expr) -> Iterator[Change]:
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        return
    if node.func.attr not in REDUCTIONS:
        return
    of = node.func.value
    for method in REDUCTIONS:
        if method != node.func.attr:
            yield f"{method} for {node.func.attr}", _call(ast.Attribute(of, method), *node.args)
    for axis in (0, 1):
        yield "over another axis", _call(ast.Attribute(of, node.func.attr), ast.Constant(axis))
    yield "over all", _call(ast.Attribute(of, node.func.attr))
    keep = ast.keyword("keepdim", ast.Constant(True))
    yield "axis kept", ast.Call(node.func, node.args, [keep])


RULES = (_operands, _operators, _comparisons, _signs, _constants, _powers, _calls, _upstream)
SHAPED_RULES = (_transposes, _reductions)


def _wholes(stage: Stage) -> Iterator[tuple[str, str]]:
    """Yield what is done to a true gradient, which stands for _, as a whole."""
    rules = data("neighbours")["wholes"]
    quantities = stage.quantities
    yield from rules["always"].items()
    for name in (*quantities, *_counts(stage)):
        yield f"times {name}", f"(_) * {name}"
        yield f"divided by {name}", f"(_) / {name}"
    for name in quantities:
        yield f"{name} added", f"(_) + {name}"
    if not stage.is_scalar:
        yield from rules["shaped"].items()


def _counts(stage: Stage) -> tuple[str, ...]:
    """Return the sizes that an expression of the stage may use."""
    return stage.dimensions


def _call(function: ast.expr, *arguments: ast.expr) -> ast.Call:
    return ast.Call(function, list(arguments), [])
