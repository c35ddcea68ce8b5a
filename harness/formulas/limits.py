"""Numbers at which a formula changes, and inputs close to them: elsewhere it cannot be told."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator

import torch
from torch import Tensor

from harness.stage import Stage

# How far from a number, as parts of it, a formula is tried on both sides; and at which numbers it
# is tried besides.
NEAR = (0.98, 1.02, 0.9, 1.1, 0.75, 1.3)
BESIDES = (0.03, 0.2, 0.45, 0.8, 1.7, 2.6, 4.5)

Place = tuple[tuple[Tensor, ...], Tensor]


def near_limits(stage: Stage, expression: str, place: Place) -> Iterator[Place]:
    """Inputs and upstreams like the given ones, with values close to each limit in a formula.

    Only limits of the upstream and of inputs are tried: what else is compared cannot be set.
    """
    inputs, upstream = place
    names = ("g", *stage.inputs)
    for name, limit in dict.fromkeys(_limits(expression)):
        if name not in names:
            continue
        values = [upstream, *inputs]
        at = names.index(name)
        for around in _around(limit, values[at]):
            values[at] = around
            yield tuple(values[1:]), values[0]


def _around(limit: float, like: Tensor) -> Iterator[Tensor]:
    """Tensors of a shape that hold values on both sides of a limit, and of minus the limit."""
    sizes = [*(part * limit for part in NEAR if limit), *BESIDES]
    wanted = torch.tensor([sign * size for size in sizes for sign in (1, -1)])
    wanted = wanted.to(torch.float64)
    if not like.dim():
        yield from wanted
        return
    tensors = math.ceil(len(wanted) / like.numel())
    places = torch.arange(tensors * like.numel()) % len(wanted)
    yield from wanted[places].reshape(tensors, *like.shape)


def _limits(expression: str) -> Iterator[tuple[str, float]]:
    """The names that are compared with a number, or clipped at one, and the numbers."""
    for node in ast.walk(ast.parse(expression, mode="eval")):
        match node:
            case ast.Compare(left=left, comparators=[right]):
                yield from _named(left, right)
                yield from _named(right, left)
            case ast.Call(func=ast.Attribute(value=value, attr="clamp"), args=limits):
                for limit in (*limits, *(each.value for each in node.keywords)):
                    yield from _named(value, limit)
            case ast.Call(func=ast.Name(id="relu" | "sign"), args=[value]):
                yield from _named(value, ast.Constant(0))
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
