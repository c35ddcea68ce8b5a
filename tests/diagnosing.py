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
from harness.course.assignments import SHIPPED, load_assignment
from harness.course.settings import Settings
from harness.judging.judge import judge
from harness.probes.cases import make_case
from tests.right import MANY, ONE

RIGHT = {"many-neurons": MANY, "one-neuron": ONE}
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
    at = tuple(stage.inputs).index(name)
    for index, sizes in enumerate(SIZES):
        case = make_case(stage, 4242, {} if stage.is_scalar else sizes, INDEX + index)
        for upstream in case.upstreams:
            asked: list[Operation] = [
                Forward(1, stage.name, case.inputs, (True,) * len(case.inputs)),
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
            value = stage.evaluate(expression, case.inputs, upstream, output.values).double()
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
