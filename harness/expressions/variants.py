"""Wrong formulas, made by rule from the syntax tree of a right one."""

import ast
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Any

from harness.course.inputs import Given
from harness.course.stage import Stage
from harness.expressions.data import data

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
    if name not in stage.gradients:
        return ()
    true = ast.parse(stage.gradients[name], mode="eval").body
    found: dict[str, str] = {}
    for tree in written_out(stage, true):
        for how, text in everywhere(tree, _rules(stage)):
            found.setdefault(text, how)
    for how, pattern in _wholes(stage):
        whole = re.sub(r"\b_\b", f"({stage.gradients[name]})", pattern)
        found.setdefault(ast.unparse(ast.parse(whole, mode="eval")), how)
    for tree in written_out(stage, true):
        found.pop(ast.unparse(tree), None)
    return tuple(Variant(how, text) for text, how in found.items())


def written_out(stage: Stage, tree: ast.expr) -> list[ast.expr]:
    """Return a formula as it is and, if it uses names of ``stage.where``, with those written out.

    One name at a time, and all of them.
    """
    found = [tree]
    used = [name for name in stage.where if _uses(tree, name)]
    found += [_inlined(stage, tree, (name,)) for name in used]
    whole = _inlined(stage, tree, tuple(reversed([*stage.where])))
    return [*{ast.unparse(each): each for each in (*found, whole)}.values()]


def with_upstreams(stage: Stage, expression: str, wrong: Iterable[str]) -> Iterator[str]:
    """Yield an expression with each of some others, of ``g``, in the place of every upstream."""
    tree = ast.parse(expression, mode="eval").body
    names = [name for name in reversed([*stage.where]) if _depends(stage, name)]
    whole = ast.unparse(_inlined(stage, tree, names))
    for each in wrong:
        text = whole
        for name in stage.upstreams:
            text = re.sub(rf"\b{name}\b", re.sub(r"\bg\b", name, each), text)
        yield text


def _depends(stage: Stage, name: str) -> bool:
    """Return whether a name of ``stage.where`` depends on an upstream."""
    tree = ast.parse(stage.where[name], mode="eval").body
    if any(_uses(tree, each) for each in stage.upstreams):
        return True
    return any(_uses(tree, each) and _depends(stage, each) for each in stage.where if each != name)


def _uses(tree: ast.AST, name: str) -> bool:
    return any(isinstance(node, ast.Name) and node.id == name for node in ast.walk(tree))


class _Inlined(ast.NodeTransformer):
    def __init__(self, name: str, meaning: ast.expr) -> None:
        self._name, self._meaning = name, meaning

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self._meaning if node.id == self._name else node


def _inlined(stage: Stage, tree: ast.expr, names: Iterable[str]) -> ast.expr:
    """Return a formula with names of ``stage.where`` written out, in this order.

    What a name means is one object wherever it stands, so that a change of it is made everywhere.
    """
    whole = deepcopy(tree)
    for name in names:
        whole = _Inlined(name, ast.parse(stage.where[name], mode="eval").body).visit(whole)
    return whole


def parts_of(*expressions: str) -> list[str]:
    """Return all operations in expressions, the expressions themselves included."""
    trees = (ast.parse(text, mode="eval").body for text in expressions)
    nodes = (node for tree in trees for node in ast.walk(tree))
    kinds = (ast.BinOp, ast.UnaryOp, ast.Call, ast.Compare)
    return list(dict.fromkeys(ast.unparse(node) for node in nodes if isinstance(node, kinds)))


def terms_of(tree: ast.expr) -> tuple[str, tuple[str, ...]] | None:
    """Return what stands around a sum, as a pattern with a gap, and the sum's terms, if any."""
    node = tree
    while not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Add | ast.Sub):
        match node:
            case ast.BinOp(left=left, op=ast.Mult() | ast.MatMult(), right=right):
                node = left if terms_of(left) else right
            case ast.BinOp(left=inner, op=ast.Div()) | ast.UnaryOp(op=ast.USub(), operand=inner):
                node = inner
            case _:
                return None
    outer = ast.unparse(replaced(tree, node, ast.Name("_")))
    terms = tuple(ast.unparse(each) for each in _added(node))
    return re.sub(r"\b_\b", "({})", outer.replace("{", "{{").replace("}", "}}")), terms


def _added(node: ast.expr) -> list[ast.expr]:
    match node:
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub(), right=right):
            return [*_added(left), *_added(right)]
    return [node]


def everywhere(tree: ast.expr, rules: Sequence[Rule]) -> Iterator[tuple[str, str]]:
    """Yield each change, and the formula with one of the rules applied at one of its nodes."""
    whole = ast.Expression(tree)
    places: dict[ast.expr, list[Callable[[ast.expr], None]]] = {}
    for parent in ast.walk(whole):
        for name, value in ast.iter_fields(parent):
            if isinstance(value, ast.expr):
                places.setdefault(value, []).append(partial(setattr, parent, name))
            for at, each in enumerate(value if isinstance(value, list) else ()):
                places.setdefault(each, []).append(partial(value.__setitem__, at))
    # In place, as there are thousands of them.
    for node, puts in places.items():
        for how, new in [change for rule in rules for change in rule(node)]:
            for put in puts:
                put(new)
            yield how, ast.unparse(whole)
            for put in puts:
                put(node)


def replaced(tree: Any, old: ast.AST, new: ast.AST | None) -> Any:
    """Return a syntax tree with ``new`` in the place of one of its nodes; the rest is shared."""
    if tree is old:
        return new
    if isinstance(tree, list):
        return [replaced(each, old, new) for each in tree]
    if not isinstance(tree, ast.AST):
        return tree
    fields = {name: (value, replaced(value, old, new)) for name, value in ast.iter_fields(tree)}
    if all(one is other or one == other for one, other in fields.values()):
        return tree
    made = type(tree)(**{name: other for name, (_, other) in fields.items()})
    return ast.copy_location(made, tree)


OPERATORS: dict[type[ast.operator], tuple[ast.operator, ...]] = {
    ast.Add: (ast.Sub(), ast.Mult()),
    ast.Sub: (ast.Add(), ast.Mult()),
    ast.Mult: (ast.Div(), ast.Add(), ast.Sub(), ast.MatMult()),
    ast.Div: (ast.Mult(), ast.Sub()),
    ast.MatMult: (ast.Mult(),),
    ast.Pow: (ast.Mult(),),
}


COMPARISONS = (ast.Gt(), ast.Lt(), ast.GtE(), ast.LtE(), ast.Eq(), ast.NotEq())

# What is done to a name, to a quantity only, to an upstream, and to a difference.
TO_A_NAME = {"sign added": "-{}", "squared": "{} ** 2", "absolute value": "abs({})"}
TO_A_QUANTITY = {"cubed": "{} ** 3"}
TO_AN_UPSTREAM = {
    "upstream missing": "ones_like({})",
    "upstream clipped": "{}.clamp(-1, 1)",
    "upstream in float32": "{}.float()",
}
TO_A_DIFFERENCE = {
    "squared": "({}) ** 2",
    "absolute value": "abs({})",
    "something done to a difference": "({}).clamp(-1, 1)",
}


def _in_any_formula(node: ast.expr) -> Iterator[Change]:
    match node:
        case ast.BinOp(left=left, op=op, right=right):
            swapped = "sign reversed" if isinstance(op, ast.Sub) else "operands swapped"
            yield swapped, ast.BinOp(right, op, left)
            yield from _brackets(node)
            yield "right operand dropped", left
            yield "left operand dropped", right
            for other in OPERATORS.get(type(op), ()):
                yield "another operator", ast.BinOp(left, other, right)
            yield "sign added", ast.UnaryOp(ast.USub(), node)
            if isinstance(op, ast.Sub):
                yield from _done_to(ast.unparse(node), TO_A_DIFFERENCE)
        case ast.Compare(left=left, ops=[_], comparators=comparators):
            for sign in COMPARISONS:
                yield "another comparison", ast.Compare(left, [sign], comparators)
            yield "comparison dropped", left
        case ast.UnaryOp(op=ast.USub() | ast.Invert(), operand=operand):
            yield "sign dropped", operand
        case ast.Constant(value=int() | float() as given):
            for value in (given + 1, given - 1, 2 * given, given / 2, -given):
                yield "another constant", ast.Constant(value)
        case ast.Name(id=name):
            is_upstream = re.fullmatch(r"g|g_\w+", name)
            yield from _done_to(name, TO_A_NAME)
            yield from _done_to(name, TO_AN_UPSTREAM if is_upstream else TO_A_QUANTITY)
        case ast.Call():
            yield from _calls(node)


def _done_to(text: str, patterns: Mapping[str, str]) -> Iterator[Change]:
    for how, pattern in patterns.items():
        yield how, ast.parse(pattern.format(text), mode="eval").body


def _brackets(node: ast.BinOp) -> Iterator[Change]:
    """Yield what other brackets, or none, make of two operations."""
    match node:
        case ast.BinOp(left, ast.Add() | ast.Sub() as sign, ast.BinOp(base, ast.Pow(), power)):
            yield "brackets moved", ast.BinOp(ast.BinOp(left, sign, base), ast.Pow(), power)
        case ast.BinOp(ast.BinOp(left, ast.Add() | ast.Sub() as sign, base), ast.Pow(), power):
            yield "brackets forgotten", ast.BinOp(left, sign, ast.BinOp(base, ast.Pow(), power))
        case ast.BinOp(
            left,
            ast.Mult() | ast.Div() as times,
            ast.BinOp(one, ast.Add() | ast.Sub() as sign, other),
        ):
            yield "brackets forgotten", ast.BinOp(ast.BinOp(left, times, one), sign, other)


FUNCTIONS = ("sigmoid", "tanh", "exp", "relu", "sign", "abs", "log", "sqrt")


def _calls(node: ast.Call) -> Iterator[Change]:
    arguments = node.args
    if isinstance(node.func, ast.Attribute):
        yield "method dropped", node.func.value
    elif arguments:
        yield "function dropped", arguments[0]
        for each in arguments[1:] if _is_called(node, "where") else ():
            yield "one branch dropped", each
        if isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS:
            for other in FUNCTIONS:
                yield "another function", _call(ast.Name(other), *arguments)
    for place, one in enumerate(arguments):
        for to in range(place + 1, len(arguments)):
            swapped = [*arguments]
            swapped[place], swapped[to] = arguments[to], one
            yield "arguments swapped", ast.Call(node.func, swapped, node.keywords)
        if isinstance(one, ast.Name | ast.UnaryOp) and len(arguments) > 1:
            for number in (0, 1, -1):
                others = [*arguments[:place], ast.Constant(number), *arguments[place + 1 :]]
                yield "another constant", ast.Call(node.func, others, node.keywords)


def _is_called(node: ast.Call, name: str) -> bool:
    return isinstance(node.func, ast.Name) and node.func.id == name


def _names(stage: Stage) -> Rule:
    """Return the rule that puts one name in the place of another, or one of its values."""
    given = tuple(name for name, each in stage.inputs.items() if each.is_given)
    tensors = tuple(each.name for each in stage.inputs.values() if not each.is_given)
    known = (*tensors, *stage.outputs, *stage.upstreams, *stage.where, *stage.dimensions, *given)

    def names(node: ast.expr) -> Iterator[Change]:
        if not isinstance(node, ast.Name) or node.id not in known:
            return
        for other in known:
            yield f"{other} for {node.id}", ast.Name(other)
        if node.id in given:
            kind = stage.inputs[node.id].kind
            for value in kind.choices if isinstance(kind, Given) else ():
                yield "another constant", ast.Constant(value)
            yield "over another axis", ast.BinOp(ast.Constant(1), ast.Sub(), node)

    return names


def _transposes(node: ast.expr) -> Iterator[Change]:
    if isinstance(node, ast.Attribute) and node.attr in ("T", "mT"):
        yield "transpose dropped", node.value
    elif isinstance(node, ast.Name):
        yield "transpose added", ast.Attribute(node, "T")
        yield "transpose added", ast.Attribute(node, "mT")


REDUCTIONS = ("sum", "mean", "amax")
# The methods, and the functions of one tensor, whose first other argument is an axis.
ALONG = (*REDUCTIONS, "softmax", "log_softmax", "flip", "cumsum", "logsumexp", "unsqueeze", "amin")


def _axes(most: int) -> Rule:
    """Return the rule that reduces over other axes, of so many at most, or in another way."""

    def axes(node: ast.expr) -> Iterator[Change]:
        if not isinstance(node, ast.Call):
            return
        method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        name = method or (node.func.id if isinstance(node.func, ast.Name) else "")
        if name not in ALONG:
            return
        given = node.args if method else node.args[1:]
        before = [] if method else node.args[:1]
        for axis in (*range(most), *([] if most < 3 else combinations(range(most), 2))):
            new = ast.parse(repr(axis), mode="eval").body
            yield "over another axis", ast.Call(node.func, [*before, new], node.keywords)
            if method in REDUCTIONS and not node.keywords:
                yield "over another axis", ast.Call(node.func, [*before, new], [_KEEP])
        if method not in REDUCTIONS or not isinstance(node.func, ast.Attribute):
            return
        for other in REDUCTIONS:
            if other != method:
                function = ast.Attribute(node.func.value, other)
                yield f"{other} for {method}", ast.Call(function, given, node.keywords)
        yield "over all", _call(node.func)
        yield "axis kept", ast.Call(node.func, node.args, [_KEEP])
        yield "axis not kept", ast.Call(node.func, node.args, [])

    return axes


_KEEP = ast.keyword("keepdim", ast.Constant(True))
SHAPED_RULES = (_transposes, _axes(2))
RULES = (_in_any_formula,)


def _rules(stage: Stage) -> tuple[Rule, ...]:
    if stage.is_scalar:
        return (*RULES, _names(stage))
    most = max([2, *(len(each.axes) for each in stage.inputs.values())])
    return (*RULES, _names(stage), _transposes, _axes(most))


def _wholes(stage: Stage) -> Iterator[tuple[str, str]]:
    """Yield what is done to a true gradient, which stands for _, as a whole."""
    rules = data("neighbours")["wholes"]
    quantities = (*stage.quantities, *stage.where)
    yield from rules["always"].items()
    for name in (*quantities, *stage.dimensions):
        yield f"times {name}", f"(_) * {name}"
        yield f"divided by {name}", f"(_) / {name}"
    for name in quantities:
        yield f"{name} added", f"(_) + {name}"
    if not stage.is_scalar:
        yield from rules["shaped"].items()


def _call(function: ast.expr, *arguments: ast.expr) -> ast.Call:
    return ast.Call(function, list(arguments), [])
