"""A student's stage as a function in the judge's own graph, under torch's engine."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from harness.candidate import operations as ops
from harness.candidate.values import copied
from harness.language import tr

# Stands for any object that torch's engine refuses as a gradient; it never reaches a student.
_NO_TENSOR = object()


class StageTrouble(Exception):
    """The candidate could not answer in the middle of a graph; a phase of a stage was called."""

    def __init__(self, stage: str, phase: str, trouble: ops.Trouble) -> None:
        super().__init__(f"{stage}.{phase}: {trouble}")
        self.stage, self.phase, self.trouble = stage, phase, trouble


def proxy(
    candidate: ops.Candidate,
    stage: str,
    handles: Iterator[int],
    outputs: int = 1,
    *,
    in_double: bool = False,
) -> Callable[..., Any]:
    """Return a differentiable function that has ``candidate`` run ``stage``.

    It takes the arguments of ``apply``, and returns a tuple if there are several ``outputs``;
    ``in_double`` is as in `Forward`. The call, or the graph's backward, raises StageTrouble if the
    candidate fails.
    """

    def forward(ctx: Any, *inputs: Any) -> Any:
        # Whoever has written the candidate's backward has chosen what stands in for no upstream.
        ctx.set_materialize_grads(False)
        ctx.handle = next(handles)
        needed = tuple(isinstance(each, Tensor) and each.requires_grad for each in inputs)
        # A candidate in this process keeps what comes and goes: not the graph, which leads to it.
        values = tuple(each.detach() if isinstance(each, Tensor) else each for each in inputs)
        (reply,) = candidate.perform([ops.Forward(ctx.handle, stage, values, needed, in_double)])
        if isinstance(reply, ops.Trouble):
            raise StageTrouble(stage, "forward", reply)
        assert isinstance(reply, ops.Output)
        returned = reply.values if outputs > 1 else (reply.value,)
        tensors = tuple(each.detach() for each in returned if isinstance(each, Tensor))
        if len(tensors) < len(returned) or len(returned) != outputs:
            each = tr("forward did not return a tensor for each output this time")
            said = each if outputs > 1 else tr("forward did not return a tensor this time")
            raise StageTrouble(stage, "forward", ops.Absent(said))
        return tensors if outputs > 1 else tensors[0]

    def backward(ctx: Any, *upstream: Tensor | None) -> tuple[Any, ...]:
        (reply,) = candidate.perform([ops.Backward(ctx.handle, upstream)])
        if isinstance(reply, ops.Trouble):
            raise StageTrouble(stage, "backward", reply)
        assert isinstance(reply, ops.Returns)
        return tuple(_for_engine(value) for value in reply.values)

    return function_of(stage, forward, backward)


def engine_refusal(
    stage: str,
    inputs: tuple[ops.Value, ...],
    requires_grad: tuple[bool, ...],
    upstream: tuple[Tensor | None, ...],
    values: tuple[ops.Returned, ...],
) -> str:
    """Return what torch's engine says against ``values`` returned by a backward.

    Return "" if it accepts them; it sums what it can broadcast, casts, and ignores what it is given
    for a tensor that requires no gradient.
    """
    used = [each for each in upstream if each is not None]

    def forward(ctx: Any, *given: ops.Value) -> tuple[Tensor, ...]:
        return tuple(each.clone() for each in used)

    def backward(ctx: Any, *_upstream: Tensor) -> tuple[Any, ...]:
        return tuple(_for_engine(value) for value in values)

    given = list(map(copied, inputs, requires_grad))
    leaves = [each for each in given if isinstance(each, Tensor) and each.requires_grad]
    outputs = function_of(stage, forward, backward)(*given)
    try:
        torch.autograd.grad(outputs, leaves, used, allow_unused=True)
    except (RuntimeError, TypeError) as refusal:
        return str(refusal) or type(refusal).__name__
    return ""


def function_of(
    name: str, forward: Callable[..., Any], backward: Callable[..., Any]
) -> Callable[..., Any]:
    """Return the ``apply`` of a new ``torch.autograd.Function`` of that name."""
    body = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    function: Any = type(name, (torch.autograd.Function,), body)
    apply: Callable[..., Any] = function.apply
    return apply


def _for_engine(value: ops.Returned) -> Any:
    return _NO_TENSOR if isinstance(value, ops.Other) else value
