"""Runs a forward once for all the classes that share it: many mutants change backward only."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction

from harness.candidate.operations import (
    Absent,
    Backward,
    Forward,
    Operation,
    Other,
    Output,
    Reply,
    Returned,
    Returns,
    Value,
)
from harness.candidate.values import copied
from harness.candidate.workbench import describe

# What a function may use beside its own names, and what it may ask of ctx.
KNOWN = {"torch", "Solved", "len", "float"}
OF_CTX = {"saved_tensors", "save_for_backward", "needs_input_grad"}
PLAIN = (ast.Import, ast.ImportFrom, ast.Assign, ast.Expr, ast.Pass, ast.ClassDef, ast.FunctionDef)

# What each forward gave: the reply, and the output in its graph, without which older versions of
# torch empty the ctx. Inputs are known by identity, so they live on.
Ran = dict[tuple[int, ...], tuple[Output, Tensor, Sequence[Value]]]


class CannotShare(Exception):
    """A forward does more than others can share."""


def rest_of(code: str) -> str:
    """What a class has beside its backward; empty where either may do more than compute."""
    tree = ast.parse(code)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    statements = [*tree.body, *(each for one in classes for each in one.body)]
    if sorted(each.name for each in functions) != ["backward", "forward"]:
        return ""
    if not all(isinstance(each, PLAIN) for each in statements):
        return ""
    if not all(map(_only_computes, functions)):
        return ""
    for each in functions:
        if each.name == "backward":
            each.body = []
    return ast.dump(tree)


def _only_computes(function: ast.FunctionDef) -> bool:
    """Whether a function changes nothing that it is given, and keeps nothing but in ctx."""
    nodes = [node for statement in function.body for node in ast.walk(statement)]
    own = {each.arg for each in function.args.args}
    own |= {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return all(isinstance(each, ast.Assign | ast.Expr | ast.Return) for each in function.body) and (
        all(_is_harmless(node, own) for node in nodes)
    )


def _is_harmless(node: ast.AST, own: set[str]) -> bool:
    match node:
        case ast.Attribute(ast.Name("ctx"), name):
            return name in OF_CTX and isinstance(node.ctx, ast.Load)
        case ast.Attribute(attr=name):
            return isinstance(node.ctx, ast.Load) and not name.endswith("_")
        case ast.Subscript():
            return isinstance(node.ctx, ast.Load)
        case ast.Name(name):
            return name in own | KNOWN
        case ast.keyword(name):
            return name in ("dim", "keepdim", "dtype")
        case _:
            return not isinstance(node, ast.Lambda | ast.NamedExpr | ast.Await | ast.Yield)


class Sharing:
    """A candidate of one class, whose forward has run already if ``ran`` has its inputs.

    Its own is backward, called as torch's engine would. Raises CannotShare.
    """

    def __init__(self, function: Any, ran: Ran) -> None:
        self._function = function
        self._ran = ran
        self._calls: dict[int, Any] = {}

    def perform(self, operations: Sequence[Operation]) -> list[Reply]:
        """A reply for each operation."""
        with torch.no_grad():
            return [self._perform(each) for each in operations]

    def renew(self) -> Sharing:
        """Itself."""
        return self

    def _perform(self, operation: Operation) -> Reply:
        match operation:
            case Forward():
                key = tuple(map(id, operation.inputs))
                if key not in self._ran:
                    output = self._forward(operation)
                    self._ran[key] = Output((output.detach(),)), output, operation.inputs
                reply, output, _ = self._ran[key]
                self._calls[operation.handle] = output.grad_fn
                return reply
            case Backward():
                return self._backward(self._calls[operation.handle], operation.upstream[0])
            case _:
                return Absent("It has no process of its own to tell of")

    def _forward(self, operation: Forward) -> Tensor:
        leaves = [copied(value, True) for value in operation.inputs]
        try:
            with torch.enable_grad():
                output: Tensor = self._function.apply(*leaves)
        except Exception:
            raise CannotShare from None
        node = getattr(output, "grad_fn", None)
        if not (all(operation.requires_grad) and isinstance(node, BackwardCFunction)):
            raise CannotShare
        return output

    def _backward(self, node: Any, upstream: Tensor | None) -> Reply:
        try:
            found = self._function.backward(node, upstream)
        except (Exception, SystemExit) as error:
            return describe(error)
        return Returns(tuple(map(_plain, found if isinstance(found, tuple) else (found,))))


def _plain(value: object) -> Returned:
    if value is None:
        return None
    return value.detach() if isinstance(value, Tensor) else Other(type(value).__name__)
