"""Is the forward pass right?"""

from __future__ import annotations

from torch import Tensor

from harness.candidate import Other
from harness.probes.bench import Bench, Failed
from harness.probes.cases import Case
from harness.probes.compare import VALUES, Tolerance, difference, numbers, shape


def forward(bench: Bench) -> None:
    """forward computes {formula}"""
    # Not all have an output where a backward has cost the process: the gradients tell that.
    for case, output in zip(bench.cases, bench.outputs, strict=False):
        judge_output(bench, case, bench.output(output, case))


def judge_output(
    bench: Bench, case: Case, value: Tensor | Other | None, tolerance: Tolerance = VALUES
) -> None:
    """Raises Failed unless ``value`` is the right output of the case."""
    stage = bench.stage
    where = f"{stage.name}.forward does not compute {stage.formula}."
    if not isinstance(value, Tensor):
        got = "None" if value is None else f"a {value.kind}"
        text = f"It returns {got} where a tensor belongs."
        raise Failed(where, _detail(case, text), staff=text, case=case.facts())
    if value.shape != case.output.shape:
        text = f"It returns shape {shape(value)} where {shape(case.output)} belongs."
        raise Failed(where, _detail(case, text), staff=text, case=case.facts())
    size = max(float(each.abs().max()) for each in case.inputs)
    off = difference(value, case.output, tolerance, size=size)
    if off:
        got_text, right_text = numbers(off.got, off.right)
        text = f"{stage.output}{off.at} is {got_text} where {right_text} belongs."
        detail = _detail(case, f"In the example, {text}")
        raise Failed(where, detail, staff=text, case=case.facts())


def _detail(case: Case, text: str) -> str:
    """The text, where it is about the example: even a shape can tell of hidden values."""
    return text if case.public else "It is right for the example only."
