"""Write a stage as a student would, from torch expressions."""

import ast
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import torch

from harness.course.stage import Stage

# A class after the solution's, and one derived from it, with functions that some of them use.
CLASS, HELPERS = (
    Path(__file__).with_name(name).read_text(encoding="utf-8")
    for name in ("class.txt", "helpers.txt")
)


def stage_text(
    stage: Stage, gradients: Mapping[str, str], *, forward: str | None = None, code: str = ""
) -> str:
    """Return a class for ``stage`` whose backward returns ``gradients``, by default the true ones.

    The text follows on the solution, whose forward it uses unless another is given, and whose
    gradients it uses where the stage declares none. ``code`` is the body of a class derived from
    it.
    """
    filled = {**stage.gradients, **gradients}
    called = spelled(stage, forward) if forward else f"Solved.apply({arguments_of(stage)})"
    steps = list(steps_of(stage, filled.values()))
    if given := given_of(stage):
        called += f"\n        ctx.given = ({given})"
        steps.insert(0, f"({given}) = ctx.given")
    if asks_solution(stage, filled):
        upstreams = ", ".join(stage.upstreams)
        steps.append(f"solved = solved_backward(({arguments_of(stage)},), ({upstreams},))")
    own = ast.parse("\n".join([*steps, textwrap.dedent(code)]))
    used = {node.id for node in ast.walk(own) if isinstance(node, ast.Name)}
    helpers = HELPERS.format(names=tuple(stage.inputs), differentiable=stage.differentiable)
    defined = {node.name for node in ast.parse(helpers).body if isinstance(node, ast.FunctionDef)}
    return CLASS.format(
        name=stage.name,
        helpers=helpers if used & defined else "",
        formula=stage.formula,
        inputs=arguments_of(stage),
        tensors=", ".join(tensors_of(stage)),
        outputs=", ".join(stage.outputs),
        upstreams=", ".join(stage.upstreams),
        forward=called,
        steps=textwrap.indent("\n".join(steps), " " * 8),
        gradients=", ".join(returned(stage, filled)),
        code=textwrap.indent(code.strip() or "pass", "    "),
    )


def asks_solution(stage: Stage, gradients: Mapping[str, str]) -> bool:
    """Return whether a class with these gradients asks the solution for others, by autograd."""
    return bool({*stage.differentiable} - {*gradients})


def arguments_of(stage: Stage) -> str:
    """Return the inputs as they stand in the head of a function."""
    return ", ".join(f"*{name}" if each.several else name for name, each in stage.inputs.items())


def tensors_of(stage: Stage) -> tuple[str, ...]:
    """Return the inputs that ctx can save, as they stand in a tuple."""
    tensors = {name: each for name, each in stage.inputs.items() if not each.is_given}
    return tuple(f"*{name}" if each.several else name for name, each in tensors.items())


def given_of(stage: Stage) -> str:
    """Return the given values as they stand in a tuple, with its last comma."""
    return "".join(f"{name}, " for name, each in stage.inputs.items() if each.is_given)


def steps_of(stage: Stage, expressions: Iterable[str]) -> Iterator[str]:
    """Yield an assignment for each intermediate that the expressions use."""
    used = {name for each in expressions for name in stage.intermediates(each)}
    for name, expression in stage.where.items():
        if name in used:
            yield f"{name} = {spelled(stage, expression)}"


def returned(stage: Stage, gradients: Mapping[str, str]) -> Iterator[str]:
    """Yield what backward returns for each input; ``solved`` has what ``gradients`` lack."""
    for at, (name, each) in enumerate(stage.inputs.items()):
        if name not in stage.differentiable:
            yield "None"
        elif name not in gradients:
            yield f"*solved[{at}:]" if each.several else f"solved[{at}]"
        elif each.several:
            yield f"*({spelled(stage, gradients[name])})"
        else:
            value = spelled(stage, gradients[name])
            yield f"None if {name} is None else {value}" if each.optional else value


def spelled(stage: Stage, expression: str) -> str:
    """Return the expression for a student's file, in which ``N`` and ``exp`` are not defined."""
    tree = ast.parse(expression, mode="eval").body
    changed = _Spelled(stage).visit(tree)
    return ast.unparse(changed)


class _Spelled(ast.NodeTransformer):
    def __init__(self, stage: Stage) -> None:
        self.known = {*stage.inputs, *stage.outputs, *stage.upstreams, *stage.where}
        self.counts = {name: _count(stage, name) for name in stage.dimensions}

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id in self.known:
            return node
        module = "torch" if hasattr(torch, node.id) else "torch.nn.functional"
        text = self.counts.get(node.id, f"{module}.{node.id}")
        return ast.parse(text, mode="eval").body


def _count(stage: Stage, dimension: str) -> str:
    """Return how to read a size from the inputs, best from one that is always there."""
    places = [
        (f"{name}[0]" if each.several else name, each.axes)
        for name, each in sorted(stage.inputs.items(), key=lambda item: item[1].optional)
    ]
    return next(
        (f"{name}.shape[{axes.index(dimension)}]" for name, axes in places if dimension in axes),
        dimension,
    )
