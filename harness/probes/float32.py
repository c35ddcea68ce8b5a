"""Check inputs in float32: values count, and a conversion to float64 is worth advice."""

from typing import Literal

import torch
from torch import Tensor

from harness.candidate.operations import Output, Raised, Reply, Returned, Returns
from harness.cases.cases import float32_case
from harness.cases.compare import Tolerance
from harness.language import tr
from harness.probes.context import Call, StageContext, restating
from harness.probes.forward import judge_output
from harness.probes.gradient import judge_gradient

Phase = Literal["forward", "backward"]
FLOAT32 = Tolerance(1e-4, 1e-5)
_DTYPE = tr("It is right for inputs in float64: does something depend on the dtype?")


def judge_in_float32(context: StageContext, *, forward: bool) -> None:
    """Raise Failed if gradients that are right in float64 are wrong in float32.

    With ``forward``, judge the output too. A stage that raises, or returns float64, is right, and
    gets advice. The reference computes in float64, from the same values.
    """
    sizes = context.sizes_for("float32")
    for call in context.ask([float32_case(context.stage, context.seed, each) for each in sizes]):
        if advise_on_dtype(call):
            _judge(call, forward=forward)


def _judge(call: Call, *, forward: bool) -> None:
    context, stage = call.context, call.context.stage
    wrong = tr("is wrong for inputs in float32.")
    _ = call.values
    if forward:
        with restating(f"{stage.forward_name} {wrong}", _DTYPE):
            judge_output(context, call.case, call.outputs, FLOAT32)
    for name in context.sound:
        with restating(f"{stage.backward_name}: ∂C/∂{name} {wrong}", _DTYPE):
            judge_gradient(call, name, FLOAT32)


def advise_on_dtype(call: Call) -> bool:
    """Give advice on answers to inputs in float32 that raise or are in float64.

    Return whether the rest of the call can be judged.
    """
    if not _stays_in_float32(call, "forward", call.forward):
        return False
    _stays_in_float32(call, "backward", call.backward)
    return not isinstance(call.backward, Raised)


def _stays_in_float32(call: Call, phase: Phase, reply: Reply) -> bool:
    """Return whether all it returns is in float32; give advice if not."""
    values: tuple[Returned, ...] = ()
    match reply:
        case Output(values=values) | Returns(values=values):
            pass
        case Raised():
            _advise(call, phase, f"raises {reply.kind}")
            return False
    if any(isinstance(value, Tensor) and value.dtype == torch.float64 for value in values):
        _advise(call, phase, tr("gives float64"))
        return False
    return True


def _advise(call: Call, phase: Phase, what: str) -> None:
    stage = call.context.stage
    call.context.advise(
        tr(
            "{phase} {fault} for inputs in float32: give the {noun}s that you make the"
            " dtype of the inputs, as in {library}.ones(3, dtype={input}.dtype)."
        ).format(
            phase=stage.phase(phase),
            fault=what,
            noun=stage.noun,
            library="np" if stage.noun == "array" else "torch",
            input=stage.differentiable[0],
        )
    )
