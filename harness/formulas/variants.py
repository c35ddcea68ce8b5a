"""Wrong formulas, made by rule from the syntax tree of a right one."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass

from harness.course.stage import Stage
from harness.formulas.data import data

Change = tuple[str, ast.expr]
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
    wholes = ((how, change(true)) for how, change in _wholes(stage))
    made = [*_everywhere(true, rules), *wholes]
    found: dict[str, str] = {}
    for how, tree in made:
        found.setdefault(ast.unparse(tree), how)
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
    count = sum(isinstance(node, ast.expr) for node in ast.walk(tree))
    for place in range(count):
        node = _nodes(tree)[place]
        for rule in rules:
            for how, new in rule(node):
                yield how, _replaced(tree, place, new)


def _nodes(tree: ast.expr) -> list[ast.expr]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.expr)]


def _replaced(tree: ast.expr, place: int, new: ast.expr) -> ast.expr:
    copy = deepcopy(tree)
    old = _nodes(copy)[place]

    class Put(ast.NodeTransformer):
        def visit(self, node: ast.AST) -> ast.AST:
            return deepcopy(new) if node is old else self.generic_visit(node)

    changed = Put().visit(copy)
    assert isinstance(changed, ast.expr)
    return ast.fix_missing_locations(changed)


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
    known = (*stage.inputs, stage.output, "g")

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


def _wholes(stage: Stage) -> Iterator[tuple[str, Callable[[ast.expr], ast.expr]]]:
    rules = data("neighbours")["wholes"]
    quantities = (*stage.inputs, stage.output)
    for how, text in rules["always"].items():
        yield how, _template(text)
    for name in (*quantities, *_counts(stage)):
        yield f"times {name}", _template(f"(_) * {name}")
        yield f"divided by {name}", _template(f"(_) / {name}")
    for name in quantities:
        yield f"{name} added", _template(f"(_) + {name}")
    if not stage.is_scalar:
        for how, text in rules["shaped"].items():
            yield how, _template(text)


def _template(text: str) -> Callable[[ast.expr], ast.expr]:
    pattern = ast.parse(text, mode="eval").body

    class Fill(ast.NodeTransformer):
        def __init__(self, tree: ast.expr) -> None:
            self.tree = tree

        def visit_Name(self, node: ast.Name) -> ast.expr:
            return deepcopy(self.tree) if node.id == "_" else node

    def filled(tree: ast.expr) -> ast.expr:
        made = Fill(tree).visit(deepcopy(pattern))
        assert isinstance(made, ast.expr)
        return ast.fix_missing_locations(made)

    return filled


def _counts(stage: Stage) -> tuple[str, ...]:
    """Return the sizes that an expression of the stage may use."""
    return () if stage.is_scalar else ("N", "K")


def _call(function: ast.expr, *arguments: ast.expr) -> ast.Call:
    return ast.Call(function, list(arguments), [])
