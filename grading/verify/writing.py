"""Write a stage as a student would, from torch expressions."""

import ast
import textwrap
from collections.abc import Mapping
from pathlib import Path

from harness.course.stage import Stage

# A class after the solution's, and one derived from it.
CLASS = Path(__file__).with_name("class.txt").read_text(encoding="utf-8")


def stage_text(
    stage: Stage, gradients: Mapping[str, str], *, forward: str | None = None, code: str = ""
) -> str:
    """Return a class for ``stage`` whose backward returns ``gradients``, by default the true ones.

    The text follows on the solution, whose forward it uses unless another is given. ``code`` is the
    body of a class derived from it.
    """
    filled = {**stage.gradients, **gradients}
    return CLASS.format(
        name=stage.name,
        formula=stage.formula,
        inputs=", ".join(stage.inputs),
        output=stage.output,
        forward=spelled(stage, forward) if forward else f"Solved.apply({', '.join(stage.inputs)})",
        gradients=", ".join(spelled(stage, filled[name]) for name in stage.inputs),
        code=textwrap.indent(code.strip() or "pass", "    "),
    )


def spelled(stage: Stage, expression: str) -> str:
    """Return the expression for a student's file, in which ``N`` and ``exp`` are not defined."""
    tree = ast.parse(expression, mode="eval").body
    changed = _Spelled(stage).visit(tree)
    return ast.unparse(changed)


class _Spelled(ast.NodeTransformer):
    def __init__(self, stage: Stage) -> None:
        self.known = {*stage.inputs, *stage.outputs, *stage.upstreams}
        self.counts = {name: _count(stage, name) for name in stage.dimensions}

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id in self.known:
            return node
        text = self.counts.get(node.id, f"torch.{node.id}")
        return ast.parse(text, mode="eval").body


def _count(stage: Stage, dimension: str) -> str:
    """Return how to read a size from the inputs."""
    places = ((name, each.axes) for name, each in stage.inputs.items())
    return next(
        f"{name}.shape[{axes.index(dimension)}]" for name, axes in places if dimension in axes
    )
