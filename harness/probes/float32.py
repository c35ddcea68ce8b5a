"""Inputs in float32: their values count, and float64 made on the way is worth a word."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.candidate.operations import Output, Raised, Reply, Returned, Returns
from harness.probes.cases import single_case
from harness.probes.compare import Tolerance
from harness.probes.context import Answer, Bench, Failed
from harness.probes.forward import judge_output
from harness.probes.gradient import judge_gradient

SINGLE = Tolerance(1e-4, 1e-5)


def judge_in_float32(bench: Bench, *, forward: bool) -> None:
    """Raises Failed where gradients that are right in float64 are wrong in float32; and outputs,
    where ``forward`` says that those are right.

    A stage that raises there, or goes over to float64, is right, with advice. The reference
    computes in float64, from the same values.
    """
    case = single_case(bench.stage, bench.seed, bench.sizes_for("float32"))
    (answer,) = bench.ask([case])
    if not advise_on_dtype(bench, answer):
        return
    output = bench.output(answer.output, case)
    values = bench.returned(answer, 0, case)
    try:
        wrong = "forward is wrong"
        if forward:
            judge_output(bench, case, output, SINGLE)
        for name in bench.sound:
            wrong = f"backward: ∂C/∂{name} is wrong"
            judge_gradient(bench, name, case, 0, values, SINGLE)
    except Failed as failed:
        raise failed.restated(
            f"{bench.stage.name}.{wrong} for inputs in float32.",
            "It is right for inputs in float64: does something depend on the dtype?",
        ) from None


def advise_on_dtype(bench: Bench, answer: Answer) -> bool:
    """Gives advice where an answer to inputs in float32 raises or is in float64; whether the rest
    of it can be judged."""
    if not _stays_single(bench, "forward", answer.output):
        return False
    _stays_single(bench, "backward", answer.returns[0])
    return not isinstance(answer.returns[0], Raised)


def _stays_single(bench: Bench, phase: str, reply: Reply) -> bool:
    """Whether all it gives is in float32; gives advice where not."""
    match reply:
        case Output(value):
            values: tuple[Returned, ...] = (value,)
        case Returns():
            values = reply.values
        case Raised():
            _advise(bench, phase, f"raises {reply.kind}")
            return False
        case _:
            return True
    if all(_is_single(value) for value in values):
        return True
    _advise(bench, phase, "gives float64")
    return False


def _is_single(value: Returned) -> bool:
    return not isinstance(value, Tensor) or value.dtype != torch.float64


def _advise(bench: Bench, phase: str, what: str) -> None:
    first = next(iter(bench.stage.inputs))
    bench.advise(
        f"{bench.stage.name}.{phase} {what} for inputs in float32: give the tensors that you make "
        f"the dtype of the inputs, as in torch.ones(3, dtype={first}.dtype)."
    )
