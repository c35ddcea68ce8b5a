"""The numbers at which a formula changes, and inputs close to them that show what it does there."""

import ast
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from harness.course.inputs import is_real_tensor
from harness.course.stage import Stage, Upstream, Values

# At which multiples of a limit a formula is tried, and at which numbers besides.
NEAR = (0.98, 1.02, 0.9, 1.1, 0.75, 1.3)
BESIDES = (0.03, 0.15, 0.35, 0.6, 0.9, 1.2, 1.8, 2.7, 4.5)
# What makes a function piecewise.
BENDS = {"round", "sign", "abs", "relu", "clamp", "amax"}

Place = tuple[Values, Upstream]


def near_limits(stage: Stage, expression: str, place: Place) -> Iterator[Place]:
    """Yield inputs and upstreams like the given ones, with values close to each limit in a formula.

    Only the upstream and the inputs can be set. If a formula is piecewise at all, each of these is
    also moved around zero by itself.
    """
    inputs, upstream = place
    names = (*stage.upstreams, *stage.names_of(inputs))
    tree = ast.parse(expression, mode="eval")
    limits = [*_limits(tree), *((name, 0.0) for name in names if _bends(tree))]
    for name, limit in dict.fromkeys(limits):
        values: list[Any] = [*upstream, *inputs]
        at = names.index(name) if name in names else -1
        if at < 0 or not is_real_tensor(values[at]):
            continue
        for around in _around(limit, values[at]):
            values[at] = around
            yield tuple(values[len(upstream) :]), tuple(values[: len(upstream)])


def _bends(tree: ast.AST) -> bool:
    """Return whether anything is compared, rounded, clipped, or loses its sign."""
    for node in ast.walk(tree):
        match node:
            case ast.Compare():
                return True
            case ast.Name(id=name) | ast.Attribute(attr=name) if name in BENDS:
                return True
    return False


def _around(limit: float, like: Tensor) -> Iterator[Tensor]:
    """Yield tensors of a shape with values on both sides of a limit and of its negative."""
    sizes = [*(part * limit for part in NEAR if limit), *BESIDES]
    wanted = torch.tensor([sign * size for size in sizes for sign in (1, -1)])
    wanted = wanted.to(torch.float64)
    if not like.dim():
        yield from wanted
        return
    tensors = math.ceil(len(wanted) / like.numel())
    places = torch.arange(tensors * like.numel()) % len(wanted)
    yield from wanted[places].reshape(tensors, *like.shape)


def _limits(tree: ast.AST) -> Iterator[tuple[str, float]]:
    """Yield the names that are compared with a number or clipped at one, with those numbers."""
    for node in ast.walk(tree):
        match node:
            case ast.Compare(left=left, comparators=[right]):
                yield from _named(left, right)
                yield from _named(right, left)
            case ast.Call(func=ast.Attribute(value=value, attr="clamp"), args=limits):
                for limit in (*limits, *(each.value for each in node.keywords)):
                    yield from _named(value, limit)
            case ast.Call(func=ast.Name(id="clamp"), args=[value, *limits]):
                for limit in limits:
                    yield from _named(value, limit)


def _named(value: ast.expr, limit: ast.expr) -> Iterator[tuple[str, float]]:
    names = {node.id for node in ast.walk(value) if isinstance(node, ast.Name)} - {"abs"}
    if len(names) == 1:
        try:
            number = ast.literal_eval(limit)
        except ValueError:
            return
        if isinstance(number, int | float):
            yield names.pop(), abs(float(number))
