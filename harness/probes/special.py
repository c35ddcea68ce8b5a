"""Values at which a formula that is right elsewhere may divide 0 by 0, or need not hold."""

from __future__ import annotations

import math

from torch import Tensor

from harness.candidate.operations import Raised, Returned
from harness.probes.cases import Case, shuffled
from harness.probes.compare import VALUES, Difference, difference, number, numbers
from harness.probes.context import Answer, Bench, Failed, circumstances
from harness.probes.forward import forward, judge_output
from harness.probes.gradient import usable_gradient
from harness.probes.special_cases import special_cases


def special(bench: Bench) -> None:
    """Zeros, ones, equal and opposite values give right results"""
    forward_is_right = _forward_is_right(bench)
    cases = special_cases(bench.stage, bench.seed, bench.sizes_for("special"))
    asked = shuffled(cases, bench.seed, bench.stage.name, "special order")
    answers = dict(zip(asked, bench.ask(asked), strict=True))
    # The plainest kinds come first: of several that fail, one of them is told.
    for case in cases:
        answer = answers[case]
        if _may_raise(case, answer):
            continue
        output = bench.output(answer.output, case)
        if forward_is_right:
            _judge_output(bench, case, output)
        values = bench.returned(answer, 0, case)
        for name in bench.sound:
            _judge_gradient(bench, case, name, values)


def _forward_is_right(bench: Bench) -> bool:
    """Whether forward is right elsewhere; a wrong one has its own failure."""
    try:
        forward(bench)
    except Failed:
        return False
    return True


def _may_raise(case: Case, answer: Answer) -> bool:
    """Whether the candidate raised where the reference itself has no finite answer."""
    raised = any(isinstance(reply, Raised) for reply in (answer.output, *answer.returns))
    return raised and not all(
        bool(value.isfinite().all()) for value in (case.output, *case.gradients[0])
    )


def _judge_output(bench: Bench, case: Case, output: Returned) -> None:
    if not isinstance(output, Tensor) or output.shape != case.output.shape:
        judge_output(bench, case, output)
        return
    asked = case.output.isfinite()
    got, right = output.detach().double().where(asked, 0.0), case.output.where(asked, 0.0)
    size = max(float(each.abs().max()) for each in case.inputs)
    off = difference(got, right, VALUES, size=size)
    if off:
        stage = bench.stage
        came, belongs = numbers(off.got, off.right)
        text = f"{stage.output}{off.at} came back as {came} where {belongs} belongs."
        where = f"{stage.name}.forward does not compute {stage.formula} where {case.kind}."
        detail = f"In an example {circumstances(bench, case)}, {text} {_question(off)}"
        raise Failed(where, detail, staff=text, case=case.facts(), got=off.got)


def _judge_gradient(bench: Bench, case: Case, name: str, values: tuple[Returned, ...]) -> None:
    value = usable_gradient(bench, name, case, 0, values)
    if value is None:
        return
    slopes = case.slopes[tuple(bench.stage.inputs).index(name)]
    got, right = slopes.nearest(value)
    off = difference(got, right, VALUES, size=case.reach[0])
    if off:
        entry = f"{name}{off.at}"
        came, rate = numbers(off.got, off.right)
        low, high = (number(float(bound[off.index])) for bound in (slopes.low, slopes.high))
        rates = f"the rate {rate}" if low == high else f"a rate from {low} to {high}"
        text = (
            f"the gradient for {entry} came back as {came}, but moving {entry} changes C at "
            f"{rates}."
        )
        where = f"{bench.stage.name}.backward: ∂C/∂{name} is wrong where {case.kind}."
        detail = f"In an example {circumstances(bench, case, 0)}, {text} {_question(off)}"
        raise Failed(where, detail, staff=text, case=case.facts(0), got=off.got)


def _question(off: Difference) -> str:
    if math.isfinite(off.got):
        return "The formula has to hold for such values too: does something treat them apart?"
    return "Is something divided there by 0, or by a difference that is 0?"
