"""Check values at which a formula that is right elsewhere may divide 0 by 0, or fail."""

from torch import Tensor

from harness.candidate.operations import Raised
from harness.cases.cases import shuffled
from harness.cases.compare import VALUES, difference
from harness.cases.special_cases import special_cases
from harness.course.numbers import numbers
from harness.course.sizes import few_numbers
from harness.language import tr
from harness.probes.context import Call, Failed, StageContext, circumstances
from harness.probes.forward import forward, judge_output
from harness.probes.gradient import judge_gradient, question


def special(context: StageContext) -> None:
    """Raise Failed unless zeros, ones, equal and opposite values give right results."""
    # A forward that is wrong elsewhere has its own failure.
    forward_is_right = True
    try:
        forward(context)
    except Failed:
        forward_is_right = False
    sizes = [few_numbers(context.stage, each) for each in context.sizes_for("special")]
    made = [special_cases(context.stage, context.seed, each) for each in sizes]
    cases = [case for each in made for case in each]
    asked = shuffled(cases, context.seed, context.stage.name, "special order")
    calls = {call.case: call for call in context.ask(asked)}
    # The plainest kinds come first: of several that fail, the first is reported.
    for case in cases:
        if _may_raise(calls[case]):
            continue
        if forward_is_right:
            _judge_output(calls[case])
        for name in context.sound:
            judge_gradient(calls[case], name)


def _may_raise(call: Call) -> bool:
    """Return whether the candidate raised where the reference itself has no finite answer."""
    if not (isinstance(call.forward, Raised) or isinstance(call.backward, Raised)):
        return False
    answers = (*call.case.outputs, *call.case.gradients[0])
    return not all(value is None or bool(value.isfinite().all()) for value in answers)


def _judge_output(call: Call) -> None:
    case, stage = call.case, call.context.stage
    for name, output, wanted in zip(stage.outputs, call.outputs, case.outputs, strict=True):
        if not isinstance(output, Tensor) or output.shape != wanted.shape:
            judge_output(call.context, case, call.outputs)
            return
        asked = wanted.isfinite()
        got, right = output.detach().double().where(asked, 0.0), wanted.double().where(asked, 0.0)
        if not (off := difference(got, right, VALUES, size=case.input_max_abs)):
            continue
        came, belongs = numbers(off.got, off.right)
        text = tr("{name}{at} came back as {came} where {belongs} belongs.").format(
            name=name, at=off.at, came=came, belongs=belongs
        )
        where = tr("{forward_name} does not compute {formula} where {kind}.").format(
            forward_name=stage.forward_name, formula=stage.formula, kind=case.kind
        )
        detail = tr("In an example {circumstances}, {text} {question}").format(
            circumstances=circumstances(call.context, case), text=text, question=question(off)
        )
        raise Failed(where, detail, staff=text, case=case.facts(), got=off.got)
