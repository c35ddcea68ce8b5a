"""The rule by which an optimizer updates one parameter, as a few assignments.

Adam is ``m = beta1 * m + (1 - beta1) * g; v = …; p = p - lr * (m / …)``: over the parameter p, its
gradient g, the number t of the step (from 1), the hyperparameters, of which a tuple ``betas`` is
``beta1`` and ``beta2``, and the state. State is what is read before it is assigned; it begins as 0.
"""

from __future__ import annotations

import ast
import inspect
import math
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from typing import Any, Literal

import torch
from torch import Tensor

from harness.candidate.operations import Value
from harness.updates.trajectory import Trajectory

# How the state goes wrong, where no assignment is: it is set to 0 at every step, all parameters
# have one, it counts the updates of all, and of steps without a gradient too, or it is used before
# it is updated. "still" leaves the parameters as they are.
Habit = Literal["forgets", "shares", "counts updates", "counts steps", "late", "still"]
_SAID: Mapping[Habit, str] = {
    "shares": "parameters share a state",
    "counts updates": "t counts the updates of all parameters",
    "counts steps": "t counts the steps",
}
# What is known besides hyperparameters and state: of the parameter, and of all gradients together.
GIVEN = ("p", "g", "t", "total_norm")


def _either(name: str) -> Callable[..., Any]:
    of_tensors, of_numbers = getattr(torch, name), getattr(math, name, None)

    def function(value: Any) -> Any:
        return of_tensors(value) if isinstance(value, Tensor) else of_numbers(value)  # type: ignore[misc]

    return function


def _extreme(name: str) -> Callable[..., Any]:
    of_tensors, of_numbers = getattr(torch, f"{name}imum"), {"max": max, "min": min}[name]

    def function(*values: Any) -> Any:
        if not (tensors := [each for each in values if isinstance(each, Tensor)]):
            return of_numbers(values)
        dtype = tensors[0].dtype
        return reduce(of_tensors, (torch.as_tensor(each, dtype=dtype) for each in values))

    return function


# The functions in a rule; of Python's, those that work on tensors too.
FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    **{name: _either(name) for name in ("sqrt", "exp", "log", "sin", "cos")},
    **{name: _extreme(name) for name in ("max", "min")},
    "abs": abs,
    "sign": torch.sign,
    "norm": torch.linalg.vector_norm,
    "mean": torch.mean,
    "sum": torch.sum,
    "where": torch.where,
    "clamp": torch.clamp,
    "ones_like": torch.ones_like,
    "zeros_like": torch.zeros_like,
}


@dataclass(frozen=True, eq=False)
class Rule:
    """Each assignment's target with its expression, in order, and habits of the state.

    What is ``fixed`` is given again at each step, also if it is assigned.
    """

    assignments: tuple[tuple[str, ast.expr], ...]
    habits: frozenset[Habit] = frozenset()
    fixed: frozenset[str] = frozenset(GIVEN)

    @cached_property
    def state(self) -> tuple[str, ...]:
        """The names that keep their value from step to step, in order of assignment."""
        assigned: set[str] = set()
        kept: dict[str, None] = {}
        later = {target for target, _ in self.assignments} - self.fixed
        for target, value in self._ordered:
            kept |= dict.fromkeys(sorted((names_in(value) & later) - assigned))
            assigned.add(target)
        return tuple(name for name in dict.fromkeys(t for t, _ in self.assignments) if name in kept)

    @cached_property
    def hyperparameters(self) -> frozenset[str]:
        """The names that are neither given nor assigned."""
        used = {name for _, value in self.assignments for name in names_in(value)}
        return frozenset(used - {t for t, _ in self.assignments} - {*GIVEN} - {*FUNCTIONS, "pi"})

    @cached_property
    def _code(self) -> Any:
        made = [ast.Assign([ast.Name(t, ast.Store())], value) for t, value in self._ordered]
        tree = ast.Module(list(made), type_ignores=[])
        return compile(ast.fix_missing_locations(tree), "<rule>", "exec")

    @property
    def _ordered(self) -> Sequence[tuple[str, ast.expr]]:
        """The assignments in the order that they are made."""
        if "late" not in self.habits:
            return self.assignments
        moves = [each for each in self.assignments if each[0] == "p"]
        return [*moves, *(each for each in self.assignments if each[0] != "p")]

    def path(
        self, trajectory: Trajectory, *, guarded: bool = False
    ) -> Iterator[tuple[Tensor, ...]]:
        """Yield the parameters after each step; ``guarded`` ones stay where 0 is divided by 0."""
        values = [each.clone() for each in trajectory.start]
        states = [self._new_state(each) for each in values]
        if "shares" in self.habits:
            states = [states[0]] * len(values)
        counts = [0] * len(values)
        number = 0
        for settings, step in trajectory.with_settings():
            total = total_norm(step.gradients)
            for at, g in [*enumerate(step.gradients)] * step.times:
                if at == 0:
                    number += 1
                if g is None:
                    continue
                if "forgets" in self.habits:
                    states[at] = self._new_state(values[at])
                counts[at] += 1
                t = counts[at]
                if "counts updates" in self.habits:
                    t = sum(counts)
                if "counts steps" in self.habits:
                    t = number
                scope = {**unpacked(settings[at]), "t": t, "total_norm": total, "g": g}
                before, values[at] = values[at], self._moved(values[at], states[at], scope)
                if guarded:
                    stays = values[at].isnan() & (g == 0)
                    values[at] = torch.where(stays, before, values[at])
            yield tuple(values)

    def _new_state(self, p: Tensor) -> dict[str, Any]:
        return {name: torch.zeros_like(p) for name in self.state}

    def _moved(self, p: Tensor, state: dict[str, Any], known: Mapping[str, Any]) -> Tensor:
        scope = {**FUNCTIONS, "pi": math.pi, **known, **state, "p": p, "__builtins__": {}}
        exec(self._code, scope)
        state |= {name: scope[name] for name in self.state}
        return p if "still" in self.habits else scope["p"] + torch.zeros_like(p)

    @cached_property
    def lines(self) -> tuple[str, ...]:
        """The assignments as text; what is not kept reads as 0."""
        gone = {*self.state} if "forgets" in self.habits else set()
        found = []
        for target, value in self._ordered:
            text = ast.unparse(value)
            for name in gone:
                text = re.sub(rf"\b{name}\b", "0", text)
            found.append(f"{target} = {text}")
            gone -= {target}
        return ("p = p",) if "still" in self.habits else tuple(found)

    def __str__(self) -> str:
        return "; ".join((*self.lines, *(_SAID[each] for each in self.habits if each in _SAID)))


def read_rule(text: str) -> Rule:
    """Return the rule in a text: assignments with semicolons between them.

    Raise ValueError if it is none.
    """
    try:
        body = ast.parse(text, "<rule>").body
    except SyntaxError:
        raise ValueError(f"{text} is not a rule: write assignments") from None
    found = []
    for each in body:
        match each:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                found.append((name, value))
            case _:
                raise ValueError(f"{ast.unparse(each)} does not assign to a name")
    if "p" not in dict(found):
        raise ValueError(f"{text} does not assign p")
    return Rule(tuple(found))


def total_norm(gradients: Iterable[Tensor | None]) -> Tensor | None:
    """Return the norm of all gradients together."""
    found = [each.flatten() for each in gradients if each is not None]
    return torch.linalg.vector_norm(torch.cat(found)) if found else None


def unpacked(settings: Mapping[str, Value]) -> dict[str, Value]:
    """Return settings with a name for each number in a tuple, as ``beta1`` of ``betas``."""
    found: dict[str, Value] = dict(settings)
    for name, value in settings.items():
        if isinstance(value, tuple):
            one = name.removesuffix("s")
            found |= {f"{one}{at}": each for at, each in enumerate(value, start=1)}
    return found


def names_in(tree: ast.AST) -> set[str]:
    """Return the names in an expression."""
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def rule_of(function: Callable[..., Any]) -> Rule | None:
    """Return the rule that a function ``reference(p, g, state, *, lr)`` is, if it is a plain one.

    Its statements are assignments to names and to ``state["v"]``, and it returns the new p.
    """
    try:
        (node,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
        if not isinstance(node, ast.FunctionDef):
            return None
        body = node.body[ast.get_docstring(node) is not None :]
        found = read_rule("; ".join(_line(each) for each in body if not _is_beginning(each)))
    except (OSError, TypeError, ValueError, SyntaxError):
        return None
    asked = {*inspect.signature(function).parameters} - {"state"}
    kept = {each.value for each in ast.walk(node) if isinstance(each, ast.Constant)}
    used = {re.sub(r"\d+$", "s", name) for name in found.hyperparameters - asked}
    if not used <= asked or kept & asked:
        return None
    return replace(found, fixed=frozenset(asked | {*GIVEN} - kept))


def _is_beginning(statement: ast.stmt) -> bool:
    """Return whether a statement does nothing but have the state begin as 0."""
    match statement:
        case ast.If(body=body, orelse=[]):
            return all(
                isinstance(each, ast.Assign) and _is_zero(each.value) and "state" in names_in(each)
                for each in body
            )
    return False


def _is_zero(value: ast.expr) -> bool:
    return ast.unparse(value).removeprefix("torch.") in (
        "0",
        "0.0",
        "zeros_like(p)",
        "zeros_like(g)",
    )


def _line(statement: ast.stmt) -> str:
    match _Plain().visit(statement):
        case ast.Assign(targets=[ast.Name()]) as plain:
            return ast.unparse(plain)
        case ast.AugAssign(target=ast.Name(name), op=op, value=value):
            return f"{name} = {ast.unparse(ast.BinOp(ast.Name(name), op, value))}"
        case ast.Return(value=ast.expr() as value):
            return f"p = {ast.unparse(value)}"
        case _:
            raise ValueError("not a plain assignment")


class _Plain(ast.NodeTransformer):
    """Puts names in the place of ``state["v"]``, and functions of rules in that of methods."""

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        self.generic_visit(node)
        match node:
            case ast.Subscript(ast.Name("state"), ast.Constant(str(name))):
                return ast.Name(name)
            case ast.Subscript(ast.Name(name), ast.Constant(int(at))) if name.endswith("s"):
                return ast.Name(f"{name.removesuffix('s')}{at + 1}")
        raise ValueError("not a state or a hyperparameter")

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        match node:
            case ast.Attribute(ast.Name("torch" | "math"), "pi"):
                return ast.Name("pi")
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if node.keywords:
            raise ValueError("not a function of a rule")
        match node:
            case ast.Call(
                ast.Attribute(ast.Name("state"), "get" | "setdefault"),
                [ast.Constant(str(name)), zero],
            ) if _is_zero(zero):
                return ast.Name(name)
            case ast.Call(ast.Attribute(ast.Name("torch" | "math"), name), arguments):
                return self._function(name, arguments)
            case ast.Call(ast.Attribute(value, name), arguments):
                return self._function(name, [value, *arguments])
            case ast.Call(ast.Name(name), arguments):
                return self._function(name, arguments)
        raise ValueError("not a function of a rule")

    def _function(self, name: str, arguments: list[ast.expr]) -> ast.AST:
        name = {"maximum": "max", "minimum": "min"}.get(name, name)
        if name == "square":
            return ast.BinOp(arguments[0], ast.Pow(), ast.Constant(2))
        if name not in FUNCTIONS:
            raise ValueError(f"{name} is not a function of a rule")
        return ast.Call(ast.Name(name), arguments, [])
