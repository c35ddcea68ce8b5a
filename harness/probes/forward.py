"""Check the output of forward."""

from torch import Tensor

from harness.candidate.operations import Other, Returned
from harness.course.numbers import numbers, plural, shape
from harness.probes.cases import Case
from harness.probes.compare import VALUES, Tolerance, difference
from harness.probes.context import Failed, Outputs, StageContext, elsewhere


def forward(context: StageContext) -> None:
    """Raise Failed unless forward computes the stage's formula."""
    # Outputs may be missing after a backward that killed the process: the gradients report that.
    for case, output in context.outputs_one_by_one:
        judge_output(context, case, context.output(output, case))


def judge_output(
    context: StageContext, case: Case, values: Outputs, tolerance: Tolerance = VALUES
) -> None:
    """Raise Failed unless ``values`` are the right outputs of the case."""
    stage = context.stage
    text, got = "", None
    if len(values) != len(stage.outputs):
        came = plural(len(values), "value")
        text = f"it returns {came} where {plural(len(stage.outputs), 'tensor')} belong."
    for name, value, right in zip(stage.outputs, values, case.outputs, strict=False):
        text, got = (text, None) if text else _fault(name, value, right, case, tolerance)
    if text:
        lead = "In the example, " if case.is_example else elsewhere(context, case)
        where = f"{stage.name}.forward does not compute {stage.formula}."
        raise Failed(where, lead + text, staff=text, case=case.facts(), got=got)


def _fault(
    name: str, value: Returned, right: Tensor, case: Case, tolerance: Tolerance
) -> tuple[str, float | None]:
    """Return what is wrong with one output, and its value if that is it; "" if it is right."""
    of = "" if len(case.outputs) == 1 else f" for {name}"
    if not isinstance(value, Tensor):
        came = f"a {value.kind}" if isinstance(value, Other) else "None"
        return f"it returns {came}{of} where a tensor belongs.", None
    if value.shape != right.shape:
        return f"it returns shape {shape(value)}{of} where {shape(right)} belongs.", None
    off = difference(value, right, tolerance, size=case.input_max_abs)
    if not off:
        return "", None
    came, belongs = numbers(off.got, off.right)
    return f"{name}{off.at} is {came} where {belongs} belongs.", off.got
