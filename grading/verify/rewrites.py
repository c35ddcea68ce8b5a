"""Wrong classes, made by rule from the syntax tree of the solution."""

import ast
from collections.abc import Callable, Iterator, Sequence
from copy import copy, deepcopy
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from textwrap import indent

from harness.expressions import variants

Change = tuple[str, ast.AST | None]
# Stands for a statement while the text around it is made.
_HERE = "_statement_"
Rule = Callable[[ast.AST, frozenset[str]], Iterator[Change]]


@dataclass(frozen=True)
class Rewrite:
    """A class that differs from the solution's in one place: how, and its source."""

    how: str
    code: str


def rewrites_of(solved: ast.ClassDef | ast.Module, *, shaped: bool) -> tuple[Rewrite, ...]:
    """Return the sources of a class, or of functions, with one change each.

    All differ from it as text.

    ``shaped`` says whether it works on more than single numbers, so that axes matter.
    """
    rules: tuple[Rule, ...] = RULES
    if shaped:
        rules += (partial(_as_formula, variants.SHAPED_RULES),)
    found: dict[str, str] = {}
    first = getattr(solved, "lineno", 0)
    for function in solved.body:
        if not isinstance(function, ast.FunctionDef):
            continue
        names = _names_in(function)
        for statement in _statements_of(function):
            place = _Place.of(statement, function, solved)
            unchanged = place.filled(statement)
            for node in ast.walk(statement):
                for how, new in (change for rule in rules for change in rule(node, names)):
                    line = getattr(node, "lineno", function.lineno) - first
                    text = place.filled(_with_change(statement, node, new))
                    if text != unchanged:
                        found.setdefault(text, f"{function.name}, line {line}: {how}")
    return tuple(Rewrite(how, text) for text, how in found.items() if _compiles(text))


@dataclass(frozen=True)
class _Place:
    """The text around one statement of a function, which any other statement can replace."""

    before: str
    after: str
    is_only_one: bool

    @classmethod
    def of(
        cls, statement: ast.stmt, function: ast.FunctionDef, solved: ast.ClassDef | ast.Module
    ) -> "_Place":
        marked, whole = copy(function), copy(solved)
        here: ast.stmt = ast.Expr(ast.Name(_HERE))
        marked.body = [here if each is statement else each for each in function.body]
        whole.body = [marked if each is function else each for each in solved.body]
        before, _, after = ast.unparse(whole).partition(_HERE)
        return cls(before, after, len(function.body) == 1)

    def filled(self, statement: ast.stmt | None) -> str:
        """Return the whole with a statement there, or without any."""
        above, _, indentation = self.before.rpartition("\n")
        if statement is None:
            return f"{self.before}pass{self.after}" if self.is_only_one else above + self.after
        return f"{above}\n{indent(ast.unparse(statement), indentation)}{self.after}"


def _statements_of(function: ast.FunctionDef) -> list[ast.stmt]:
    """Return the statements of the function's body except its docstring."""
    return function.body[1:] if ast.get_docstring(function) else function.body


def _names_in(function: ast.FunctionDef) -> frozenset[str]:
    """Return the arguments of the function except ctx, and the names that it assigns."""
    arguments = function.args.posonlyargs + function.args.args
    stored = {
        node.id
        for node in ast.walk(function)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    return frozenset({each.arg for each in arguments if each.arg != "ctx"} | stored)


def _with_change(statement: ast.stmt, old: ast.AST, new: ast.AST | None) -> ast.stmt | None:
    changed: ast.stmt | None = variants.replaced(statement, old, new)
    if changed is None:
        return None
    for node in ast.walk(changed):
        for name in ("body", "orelse", "finalbody"):
            if isinstance(block := getattr(node, name, None), list):
                setattr(node, name, [each for each in block if each is not None])
        if isinstance(node, ast.FunctionDef | ast.If | ast.For | ast.With) and not node.body:
            node.body = [ast.Pass()]
    return ast.fix_missing_locations(changed)


def _compiles(text: str) -> bool:
    try:
        compile(text, "<mutant>", "exec")
    except (SyntaxError, ValueError):
        return False
    return True


def _as_formula(
    rules: Sequence[variants.Rule], node: ast.AST, names: frozenset[str]
) -> Iterator[Change]:
    """Apply the rules of formulas to what is read, except names of functions."""
    if not isinstance(node, ast.expr) or not isinstance(getattr(node, "ctx", ast.Load()), ast.Load):
        return
    if isinstance(node, ast.Name) and node.id not in names:
        return
    for rule in rules:
        for how, new in rule(node):
            yield how, _Qualified().visit(new)


class _Qualified(ast.NodeTransformer):
    """``ones_like``, as formulas have it, becomes ``torch.ones_like``."""

    def visit_Name(self, node: ast.Name) -> ast.expr:
        known = node.id == "ones_like"
        return ast.Attribute(ast.Name("torch"), node.id) if known else node


def _other_names(node: ast.AST, names: frozenset[str]) -> Iterator[Change]:
    if isinstance(node, ast.Name) and node.id in names and isinstance(node.ctx, ast.Load):
        for other in sorted(names - {node.id}):
            yield f"{other} for {node.id}", ast.Name(other)


def _functions(node: ast.AST, names: frozenset[str]) -> Iterator[Change]:
    """``f(x)`` becomes ``x``, and another function of torch; ``x.f()`` becomes ``x``."""
    if not isinstance(node, ast.Call):
        return
    if len(node.args) == 1:
        yield "function dropped", node.args[0]
    if isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) == "torch":
        for other in ("tanh", "exp", "neg"):
            function = ast.Attribute(node.func.value, other)
            yield f"{other} for {node.func.attr}", ast.Call(function, node.args, node.keywords)
    for one, two in combinations(range(len(node.args)), 2):
        yield "arguments swapped", ast.Call(node.func, _swap(node.args, one, two), node.keywords)
    for at in range(len(node.args)):
        rest = node.args[:at] + node.args[at + 1 :]
        yield "argument dropped", ast.Call(node.func, rest, node.keywords)


def _statements(node: ast.AST, names: frozenset[str]) -> Iterator[Change]:
    if isinstance(node, ast.Assign | ast.AugAssign | ast.Expr):
        yield "statement dropped", None
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple):
        targets = node.targets[0].elts
        for one, other in combinations(range(len(targets)), 2):
            swapped = ast.Tuple(_swap(targets, one, other), ast.Store())
            yield "names swapped", ast.Assign([swapped], node.value)
    if isinstance(node, ast.If | ast.IfExp):
        turned = deepcopy(node)
        turned.test = ast.UnaryOp(ast.Not(), turned.test)
        yield "condition turned round", turned


def _returns(node: ast.AST, names: frozenset[str]) -> Iterator[Change]:
    """Return in another order, too few, too many, None, lists, numbers, in float32."""
    if not isinstance(node, ast.Return) or node.value is None:
        return
    values = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
    none = ast.Constant(None)
    for one, two in combinations(range(len(values)), 2):
        yield "returns swapped", _return(_swap(values, one, two))
    for at, value in enumerate(values):
        before, after = values[:at], values[at + 1 :]
        if before or after:
            yield "return dropped", _return([*before, *after])
        yield "None returned", _return([*before, none, *after])
        for other in (*values[:at], *values[at + 1 :]):
            yield "return repeated", _return([*before, other, *after])
        for method in ("float", "half", "round", "tolist", "abs", "zero_"):
            if not isinstance(value, ast.Constant):
                call = ast.Call(ast.Attribute(value, method), [], [])
                yield f"{method}() of a return", _return([*before, call, *after])
    yield "list returned", ast.Return(ast.List(values, ast.Load()))
    yield "one return too many", _return([*values, values[0]])


IN_PLACE = {ast.Mult: "mul_", ast.Add: "add_", ast.Sub: "sub_", ast.Div: "div_"}


def _in_place(node: ast.AST, names: frozenset[str]) -> Iterator[Change]:
    """``x * y`` writes into x, where x is a tensor that was given or saved."""
    if not (isinstance(node, ast.BinOp) and isinstance(node.left, ast.Name)):
        return
    method = IN_PLACE.get(type(node.op))
    if method and node.left.id in names:
        yield "in place", ast.Call(ast.Attribute(node.left, method), [node.right], [])


RULES: tuple[Rule, ...] = (
    partial(_as_formula, variants.RULES),
    _other_names,
    _functions,
    _statements,
    _returns,
    _in_place,
)


def _swap(items: list[ast.expr], one: int, other: int) -> list[ast.expr]:
    swapped = list(items)
    swapped[one], swapped[other] = swapped[other], swapped[one]
    return swapped


def _return(values: list[ast.expr]) -> ast.Return:
    return ast.Return(values[0] if len(values) == 1 else ast.Tuple(values, ast.Load()))
