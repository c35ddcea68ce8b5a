"""Check the output of forward."""

from torch import Tensor

from harness.candidate.operations import Other, Returned
from harness.course.numbers import numbers, shape
from harness.probes.cases import Case
from harness.probes.compare import VALUES, Tolerance, difference
from harness.probes.context import Failed, StageContext, elsewhere


def forward(context: StageContext) -> None:
    """Raise Failed unless forward computes the stage's formula."""
    # Outputs may be missing after a backward that killed the process: the gradients report that.
    for case, output in context.outputs_one_by_one:
        judge_output(context, case, context.output(output, case))


def judge_output(
    context: StageContext, case: Case, value: Returned, tolerance: Tolerance = VALUES
) -> None:
    """Raise Failed unless ``value`` is the right output of the case."""
    stage, text, got = context.stage, "", None
    if not isinstance(value, Tensor):
        came = f"a {value.kind}" if isinstance(value, Other) else "None"
        text = f"it returns {came} where a tensor belongs."
    elif value.shape != case.output.shape:
        text = f"it returns shape {shape(value)} where {shape(case.output)} belongs."
    elif off := difference(value, case.output, tolerance, size=case.input_max_abs):
        came, right = numbers(off.got, off.right)
        text, got = f"{stage.output}{off.at} is {came} where {right} belongs.", off.got
    if text:
        lead = "In the example, " if case.is_example else elsewhere(context, case)
        where = f"{stage.name}.forward does not compute {stage.formula}."
        raise Failed(where, lead + text, staff=text, case=case.facts(), got=got)
