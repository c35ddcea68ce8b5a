"""Check the output of forward."""

from torch import Tensor

from harness.candidate.operations import Other, Returned
from harness.candidate.values import a
from harness.cases.cases import Case
from harness.cases.compare import VALUES, Difference, Tolerance, difference
from harness.cases.rounding import rounding
from harness.causes.explaining import Call, in_place_of_a_tensor
from harness.course.numbers import numbers, plural, shape
from harness.course.stage import Stage
from harness.language import tr
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
    text, off = "", None
    if len(values) != len(stage.outputs):
        came = plural(len(values), "value")
        text = tr("it returns {came} where {expected} belong.").format(
            came=came, expected=plural(len(stage.outputs), stage.noun)
        )
    for at, value in enumerate(values):
        text, off = (text, None) if text else _fault(stage, at, value, case, tolerance)
    if text:
        lead = tr("In the example, ") if case.is_example else elsewhere(context, case)
        where = tr("{forward_name} does not compute {formula}.").format(
            forward_name=stage.forward_name, formula=stage.formula
        )
        got, index = (off.got, off.index) if off else (None, ())
        raise Failed(where, lead + text, staff=text, case=case.facts(), got=got, at=index)


def _fault(
    stage: Stage, at: int, value: Returned, case: Case, tolerance: Tolerance
) -> tuple[str, Difference | None]:
    """Return what is wrong with one output, and its value if that is it; "" if it is right."""
    name, right = stage.outputs[at], case.outputs[at]
    of = "" if len(case.outputs) == 1 else f" for {name}"
    if not isinstance(value, Tensor):
        came, way = "None", "" if stage.pair else tr("Is its return missing?")
        if isinstance(value, Other):
            came, way = in_place_of_a_tensor(value.kind, Call(stage, "forward"))
        return tr("it returns {came}{of} where {expected} belongs. {way}").format(
            came=came, of=of, expected=a(stage.noun), way=way
        ).strip(), None
    if value.shape != right.shape:
        return tr("it returns shape {came}{of} where {right} belongs.").format(
            came=shape(value), of=of, right=shape(right)
        ), None
    if value.is_complex():
        return tr("it returns complex numbers{of} where real ones belong.").format(of=of), None
    off = difference(value, right, tolerance, size=case.input_max_abs)
    if off and not case.slopes:
        room = rounding(stage, case, 0).outputs[at]
        off = difference(value, right, tolerance, size=case.input_max_abs, room=room)
    if not off:
        return "", None
    came, belongs = numbers(off.got, off.right)
    return tr("{name}{at} is {came} where {belongs} belongs.").format(
        name=name, at=off.at, came=came, belongs=belongs
    ), off
