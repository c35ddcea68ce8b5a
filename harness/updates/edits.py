"""Mistakes in an optimizer, as edits of its rule: which there are, and what they make of it.

A catalogue is TOML. Its tables are mistakes, by name: ``replace`` maps patterns to what stands in
their place, or ``habit`` says what goes wrong with the state. In a pattern ``_x`` stands for any
expression, the same one wherever it occurs; ``_state`` for state only. A pattern is an expression,
or a whole assignment, which several can replace, or none. Every pattern of a table has to be found.
Of a table with one, each place that it fits is edited by itself, and all together.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import combinations, count
from pathlib import Path
from typing import Any, get_args

from harness.language import tr
from harness.updates.optimizer import Optimizer
from harness.updates.rule import Habit, Rule

# How many of the commonest mistakes are looked for at once.
MOST = 5
Table = Mapping[str, Any]
_Bindings = dict[str, ast.expr]
# What stands in the place of a node of the rule, by the node's identity.
_New = Mapping[int, list[ast.stmt]]


@dataclass(frozen=True)
class Wrong:
    """A rule with mistakes in it, by name."""

    names: tuple[str, ...]
    rule: Rule


@dataclass(frozen=True)
class _Edit:
    """A mistake in one rule: new nodes, or a habit."""

    name: str
    new: _New
    habits: frozenset[Habit] = frozenset()
    is_common: bool = False
    is_rare: bool = False


def catalogue_of(optimizer: Optimizer) -> Mapping[str, Table]:
    """Return the mistakes that the assignment adds or replaces, then those that are known."""
    shipped, own = _shipped(), optimizer.catalogue
    first = {name: {**shipped.get(name, {}), **table} for name, table in own.items()}
    return {**first, **{name: table for name, table in shipped.items() if name not in first}}


@cache
def _shipped() -> Mapping[str, Table]:
    return tomllib.loads(Path(__file__).with_name("mistakes.toml").read_text(encoding="utf-8"))


def hint_of(optimizer: Optimizer, names: Sequence[str]) -> str:
    """Return what leads a student on from these mistakes."""
    catalogue = catalogue_of(optimizer)
    return " ".join(dict.fromkeys(tr(catalogue[name]["hint"]) for name in names))


@lru_cache(maxsize=64)
def conventions_of(optimizer: Optimizer) -> tuple[Wrong, ...]:
    """Return what counts as right too: the other conventions that are in use, and two at once."""
    if optimizer.rule is None or optimizer.conventions == "reference":
        return ()
    found = _edits(optimizer, convention=True)
    several = [*((each,) for each in found), *combinations(found, 2)]
    return tuple(filter(None, (_with(optimizer, each) for each in several)))


def mistakes_of(optimizer: Optimizer) -> tuple[Wrong, ...]:
    """Return the rule with each mistake that fits it, at each of its places."""
    return tuple(filter(None, (_with(optimizer, [each]) for each in _edits(optimizer))))


def combined(optimizer: Optimizer) -> Iterator[Wrong]:
    """Yield rules with one mistake, then with two, and with more of the commonest."""
    known, others = _combined_once(optimizer)
    for at in count():
        if at == len(known):
            if (found := next(others, None)) is None:
                return
            known.append(found)
        yield known[at]


# They are made as far as somebody has asked for them.
@lru_cache(maxsize=64)
def _combined_once(optimizer: Optimizer) -> tuple[list[Wrong], Iterator[Wrong]]:
    return [], _combined(optimizer)


def _combined(optimizer: Optimizer) -> Iterator[Wrong]:
    yield from mistakes_of(optimizer)
    every = [each for each in _edits(optimizer) if not each.is_rare]
    common = [each for each in every if each.is_common]
    for size in range(2, MOST + 1):
        for some in combinations(every if size == 2 else common, size):
            if len({each.name for each in some}) == size and (found := _with(optimizer, some)):
                yield found


@lru_cache(maxsize=64)
def _edits(optimizer: Optimizer, *, convention: bool = False) -> tuple[_Edit, ...]:
    if (rule := optimizer.rule) is None:
        return ()
    return tuple(
        _Edit(name, new, habits, bool(table.get("common")), bool(table.get("rare")))
        for name, table in catalogue_of(optimizer).items()
        if bool(table.get("convention")) == convention
        for new, habits in _ways(rule, table)
    )


def _with(optimizer: Optimizer, edits: Sequence[_Edit]) -> Wrong | None:
    """Return the rule with several mistakes; None if they are about the same place."""
    assert optimizer.rule is not None
    nodes = [node for each in edits for node in each.new]
    if len({*nodes}) < len(nodes):
        return None
    new = {node: filling for each in edits for node, filling in each.new.items()}
    assignments = tuple(_edited(_statements(optimizer.rule), new))
    # What leaves the parameters out is another mistake.
    if not any(target == "p" for target, _ in assignments):
        return None
    habits = frozenset(habit for each in edits for habit in each.habits)
    return Wrong(
        tuple(each.name for each in edits), Rule(assignments, habits, optimizer.rule.fixed)
    )


@lru_cache(maxsize=64)
def _statements(rule: Rule) -> tuple[ast.Assign, ...]:
    return tuple(ast.Assign([ast.Name(t, ast.Load())], value) for t, value in rule.assignments)


def _ways(rule: Rule, table: Table) -> Iterator[tuple[_New, frozenset[Habit]]]:
    """Yield the ways to make a mistake in a rule: none where it does not fit."""
    if (habit := table.get("habit")) and _can(rule, habit):
        yield {}, frozenset([habit])
    if not (changes := table.get("replace")):
        return
    patterns = [ast.parse(text).body[0] for text in changes]
    ways = [
        {node: _filled(text, bound) for node, text in zip(nodes, changes.values(), strict=True)}
        for nodes, bound in _found(patterns, _statements(rule), rule.state, {}, ())
    ]
    yield from ((way, frozenset()) for way in ways)
    if len(changes) == 1 and len(ways) > 1:
        yield {node: new for way in ways for node, new in way.items()}, frozenset()


def fits(optimizer: Optimizer, table: Table) -> bool:
    """Return whether the mistake of a table can be made in an optimizer."""
    return optimizer.rule is not None and any(True for _ in _ways(optimizer.rule, table))


def fault_in(table: Table) -> str:
    """Return what is wrong with the table of a mistake, if anything."""
    if (habit := table.get("habit", "")) and habit not in get_args(Habit):
        return f"habit is one of {', '.join(get_args(Habit))}"
    for old, new in table.get("replace", {}).items():
        try:
            pattern, filling = ast.parse(old).body, ast.parse(str(new)).body
        except SyntaxError:
            return f'"{old}" = "{new}" cannot be read as a pattern and what replaces it'
        whole = len(pattern) == 1 and isinstance(pattern[0], ast.Assign)
        if not whole and not (len(pattern) == 1 and isinstance(pattern[0], ast.Expr)):
            return f"{old} is neither an expression nor an assignment"
        kind = ast.Assign if whole else ast.Expr
        if not all(isinstance(each, kind) for each in filling) or (not whole and len(filling) != 1):
            return f"{new} cannot replace {old}"
    return ""


def _can(rule: Rule, habit: Habit) -> bool:
    """Return whether a habit can make a difference."""
    counts = any(
        isinstance(node, ast.Name) and node.id == "t"
        for _, value in rule.assignments
        for node in ast.walk(value)
    )
    return counts if habit.startswith("counts") else habit == "still" or bool(rule.state)


def _found(
    patterns: Sequence[ast.stmt],
    body: Sequence[ast.Assign],
    state: Sequence[str],
    bound: _Bindings,
    taken: tuple[int, ...],
) -> Iterator[tuple[tuple[int, ...], _Bindings]]:
    """Yield the nodes that all patterns fit, and what their names stand for there."""
    if not patterns:
        yield taken, bound
        return
    first, *others = patterns
    for statement in body:
        nodes = [statement] if isinstance(first, ast.Assign) else ast.walk(statement.value)
        pattern = first.value if isinstance(first, ast.Expr) else first
        for node in nodes:
            if id(node) not in taken:
                for bindings in _matches(pattern, node, state, bound):
                    yield from _found(others, body, state, bindings, (*taken, id(node)))


def _matches(
    pattern: ast.AST, node: ast.AST, state: Sequence[str], bound: _Bindings
) -> Iterator[_Bindings]:
    """Yield what the pattern's names stand for, if it fits a node."""
    pairs: Iterable[tuple[ast.AST, ast.AST]]
    match pattern, node:
        case ast.Name(id=name), ast.expr() if name.startswith("_"):
            is_state = isinstance(node, ast.Name) and node.id in state
            known = bound.get(name, node)
            if (is_state or not name.startswith("_state")) and ast.dump(known) == ast.dump(node):
                yield {**bound, name: node}
        case (ast.Name(id=one), ast.Name(id=other)) | (
            ast.Constant(value=one),
            ast.Constant(value=other),
        ):
            if one == other:
                yield bound
        case ast.Assign([one], value), ast.Assign([other], its):
            yield from _all_match([(one, other), (value, its)], state, bound)
        case ast.BinOp(left, op, right), ast.BinOp(a, its_op, b) if type(op) is type(its_op):
            yield from _all_match([(left, a), (right, b)], state, bound)
            if isinstance(op, ast.Add | ast.Mult):
                yield from _all_match([(left, b), (right, a)], state, bound)
        case ast.UnaryOp(op, operand), ast.UnaryOp(its_op, its) if type(op) is type(its_op):
            yield from _matches(operand, its, state, bound)
        case ast.Call(name, given), ast.Call(its_name, its_given) if len(given) == len(its_given):
            pairs = zip((name, *given), (its_name, *its_given), strict=True)
            yield from _all_match([*pairs], state, bound)


def _all_match(
    pairs: Sequence[tuple[ast.AST, ast.AST]], state: Sequence[str], bound: _Bindings
) -> Iterator[_Bindings]:
    if not pairs:
        yield bound
        return
    (pattern, node), *others = pairs
    for bindings in _matches(pattern, node, state, bound):
        yield from _all_match(others, state, bindings)


def _filled(text: str, bound: _Bindings) -> list[ast.stmt]:
    """Return statements with what the names stand for: the rule's own nodes, edited further."""

    class Fill(ast.NodeTransformer):
        def visit_Name(self, node: ast.Name) -> ast.AST:
            return bound.get(node.id, node)

    return [Fill().visit(each) for each in ast.parse(text).body]


def _edited(body: Sequence[ast.stmt], new: _New) -> Iterator[tuple[str, ast.expr]]:
    """Yield the assignments with new nodes in the place of some, inside new ones too."""
    for statement in body:
        if (instead := new.get(id(statement))) is not None:
            yield from _edited(instead, new)
            continue
        assert isinstance(statement, ast.Assign)
        assert isinstance(statement.targets[0], ast.Name)
        yield statement.targets[0].id, _copied(statement.value, new)


def _copied(node: Any, new: _New) -> Any:
    if isinstance(node, list):
        return [_copied(each, new) for each in node]
    if not isinstance(node, ast.AST) or isinstance(node, ast.expr_context | ast.operator):
        return node
    if (instead := new.get(id(node))) is not None:
        (statement,) = instead
        assert isinstance(statement, ast.Expr)
        return _copied(statement.value, new)
    return type(node)(**{name: _copied(value, new) for name, value in ast.iter_fields(node)})
