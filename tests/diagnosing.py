"""Candidates for one stage, judged by its gradients alone, and their formulas held against them."""

from __future__ import annotations

import textwrap
import tomllib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from grading.verify.writing import stage_text
from harness.candidate.operations import Backward, Forward, Operation, Output, Returns
from harness.candidate.workbench import Workbench
from harness.cases.cases import make_case
from harness.course.assignment import Assignment
from harness.course.assignments import SHIPPED, load_assignment
from harness.course.settings import Settings
from harness.course.sizes import fresh_sizes
from harness.formulas.same import close
from harness.judging.judge import judge
from tests.right import RIGHT

STAGES = [(name, stage) for name in SHIPPED for stage in load_assignment(name).stages]
# Sizes and cases that neither a check nor a diagnosis looks at.
SIZES = ({"N": 6, "n_in": 4, "K": 9}, {"N": 8, "n_in": 7, "K": 2}, {"N": 3, "n_in": 5, "K": 4})
INDEX = 977


def candidate_for(assignment, stage, gradients, forward=None, code=""):
    """A class for the stage whose backward returns these expressions, the right ones elsewhere."""
    scope = {"__name__": "candidate", **RIGHT[assignment]}
    exec(stage_text(stage, gradients, forward=forward, code=code), scope)
    return scope[stage.name]


def gradient_checks(assignment, stage, candidate, settings=None):
    """The checks of the stage's gradients, by input."""
    only = [f"{stage.slug}/gradient/{name}" for name in stage.inputs]
    names = {**RIGHT[assignment], stage.name: candidate}
    judgement = judge(
        load_assignment(assignment), Workbench(names), settings=settings or Settings(), only=only
    )
    return {check.id.rsplit("/", 1)[1]: check for check in judgement.report.checks}


def reproduces(stage, name, candidate, expression, tolerance=1e-6):
    """Whether the expression gives what backward returns, at inputs that nobody has looked at."""
    at = stage.position(name)
    is_shipped = any(stage is each for _, each in STAGES)
    several = SIZES if is_shipped else (*stage.sizes[1:3], fresh_sizes(stage, stage.sizes[0]))
    for index, sizes in enumerate(several):
        case = make_case(stage, 4242, {} if stage.is_scalar else sizes, INDEX + index)
        if case.inputs[at] is None:
            continue
        for upstream in case.upstreams:
            needed = stage.with_gradient(case.inputs)
            asked: list[Operation] = [
                Forward(1, stage.name, case.inputs, needed),
                Backward(1, upstream),
            ]
            output, returned = Workbench({stage.name: candidate}).perform(asked)
            assert isinstance(output, Output) and isinstance(returned, Returns)
            got = returned.values[at]
            if expression == "None":
                if got is not None:
                    return False
                continue
            assert isinstance(got, Tensor)
            # An output that is right is the reference's, to the last digit.
            returned_outputs = [each for each in output.values if isinstance(each, Tensor)]
            right = all(close(*pair) for pair in zip(returned_outputs, case.outputs, strict=True))
            outputs = case.outputs if right else returned_outputs
            value = stage.evaluate(expression, case.inputs, upstream, outputs).double()
            got = got.double()
            if value.shape != got.shape:
                return False
            room = tolerance * float(got.nan_to_num(0, 0, 0).abs().max())
            if not torch.allclose(value, got, rtol=tolerance, atol=room, equal_nan=True):
                return False
    return True


# Names for one formula; which of them a diagnosis gives does not matter.
SYNONYMS = (
    {"bias-is-one", "upstream-missing"},
    {"weights-summed-no-upstream", "weights-upstream-missing", "upstream-missing"},
    {"bias-counts-samples", "upstream-missing"},
)


def is_named_so(given, name):
    """Whether a diagnosis has a mistake's name, or that of another with the same formula."""
    return given == name or any({given, name} <= names for names in SYNONYMS)


# Wrong backwards that were written without a look at the rules, in the order of their writing.
FRESH = {
    name: tomllib.loads((Path(__file__).parent / f"fresh_mistakes/{name}.toml").read_text())[
        "mistake"
    ]
    for name in ("strange", "ordinary", "late", "last")
}
CLASS = """def apply({inputs}):
{forward}

class {name}(torch.autograd.Function):
    @staticmethod
    def forward(ctx, {inputs}):
        {output} = apply({inputs})
        ctx.save_for_backward({inputs}, {output})
        return {output}

    @staticmethod
    def backward(ctx, g):
        {inputs}, {output} = ctx.saved_tensors
{backward}
"""


def fresh_candidate(entry):
    """The stage, and the class that an entry of ``FRESH`` describes."""
    stage = load_assignment(entry["assignment"]).stage(entry["stage"])
    inputs = ", ".join(stage.inputs)
    text = CLASS.format(
        name=stage.name,
        inputs=inputs,
        output=stage.output,
        forward=textwrap.indent(entry["forward"].strip() or f"return right({inputs})", "    "),
        backward=textwrap.indent(entry["backward"].strip(), "        "),
    )
    scope = {"torch": torch, "np": np, "right": stage.forward}
    exec(text, scope)
    return stage, scope[stage.name]


EXAMPLES = Path(__file__).parents[1] / "examples" / "solutions"
# Wrong backwards for the stages that the examples declare, written from the declarations alone.
OWN = [
    entry
    for path in sorted((Path(__file__).parent / "own_mistakes").glob("*.toml"))
    for entry in tomllib.loads(path.read_text(encoding="utf-8"))["mistake"]
]
OWN_CLASS = """def apply({inputs}):
{forward}

class {name}(torch.autograd.Function):
    @staticmethod
    def forward(ctx, {inputs}):
        returned = apply({inputs})
        {outputs} = returned
        ctx.kept = {inputs}, {outputs}
        return returned

    @staticmethod
    def backward(ctx, {upstreams}):
        {inputs}, {outputs} = ctx.kept
{backward}
"""


def own_candidate(entry):
    """The stage, and the class that an entry of ``OWN`` describes."""
    file = EXAMPLES / entry["assignment"] / "assignment.py"
    stage = load_assignment(entry["assignment"], file).stage(entry["stage"])
    inputs = ", ".join("*" * each.several + name for name, each in stage.inputs.items())
    text = OWN_CLASS.format(
        name=stage.name,
        inputs=inputs,
        outputs=", ".join(stage.outputs),
        upstreams=", ".join(stage.upstreams),
        forward=textwrap.indent(entry["forward"].strip() or f"return right({inputs})", "    "),
        backward=textwrap.indent(entry["backward"].strip(), "        "),
    )
    scope = {"torch": torch, "F": torch.nn.functional, "right": stage.forward}
    exec(text, scope)
    return stage, scope[stage.name]


def own_checks(stage, candidate):
    """The checks of the gradients of a stage that stands by itself, by input."""
    assignment = Assignment("own", "Own", (stage,))
    only = [f"{stage.slug}/gradient/{name}" for name in stage.differentiable]
    checks = judge(assignment, Workbench({stage.name: candidate}), only=only).report.checks
    return {check.id.rsplit("/", 1)[1]: check for check in checks}
