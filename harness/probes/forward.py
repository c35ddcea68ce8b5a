"""Is the forward pass right?"""

from __future__ import annotations

from torch import Tensor

from harness.candidate.operations import Other
from harness.probes.cases import Case
from harness.probes.compare import VALUES, Tolerance, difference, numbers, shape
from harness.probes.context import Bench, Failed, circumstances


def forward(bench: Bench) -> None:
    """forward computes {formula}"""
    # Not all have an output where a backward has cost the process: the gradients tell that.
    for case, output in bench.outputs_one_by_one():
        judge_output(bench, case, bench.output(output, case))


def judge_output(
    bench: Bench, case: Case, value: Tensor | Other | None, tolerance: Tolerance = VALUES
) -> None:
    """Raises Failed unless ``value`` is the right output of the case."""
    stage = bench.stage
    where = f"{stage.name}.forward does not compute {stage.formula}."
    if not isinstance(value, Tensor):
        got = "None" if value is None else f"a {value.kind}"
        text = f"it returns {got} where a tensor belongs."
        raise Failed(where, _detail(bench, case, text), staff=text, case=case.facts())
    if value.shape != case.output.shape:
        text = f"it returns shape {shape(value)} where {shape(case.output)} belongs."
        raise Failed(where, _detail(bench, case, text), staff=text, case=case.facts())
    size = max(float(each.abs().max()) for each in case.inputs)
    off = difference(value, case.output, tolerance, size=size)
    if off:
        got_text, right_text = numbers(off.got, off.right)
        text = f"{stage.output}{off.at} is {got_text} where {right_text} belongs."
        detail = _detail(bench, case, text)
        raise Failed(where, detail, staff=text, case=case.facts(), got=off.got)


def _detail(bench: Bench, case: Case, text: str) -> str:
    if case.is_example:
        return f"In the example, {text}"
    return f"It is right for the example; for other values {circumstances(bench, case)}, {text}"
