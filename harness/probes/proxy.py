"""A student's stage as a function in the judge's own graph, under torch's engine."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from harness.candidate.operations import (
    Absent,
    Backward,
    Candidate,
    Forward,
    Other,
    Output,
    Returned,
    Returns,
    Trouble,
)

# Stands for any object that torch's engine refuses as a gradient; it never reaches a student.
_NO_TENSOR = object()


class StageTrouble(Exception):
    """The candidate could not answer in the middle of a graph; ``what`` was called."""

    def __init__(self, what: str, trouble: Trouble) -> None:
        super().__init__(f"{what}: {trouble}")
        self.what, self.trouble = what, trouble


def proxy(candidate: Candidate, stage: str, handles: Iterator[int]) -> Callable[..., Tensor]:
    """Return a differentiable function that has ``candidate`` run ``stage``.

    The call, or the graph's backward, raises StageTrouble if the candidate fails.
    """

    def forward(ctx: FunctionCtx, *inputs: Tensor) -> Tensor:
        ctx.handle = next(handles)  # type: ignore[attr-defined]
        needed = tuple(value.requires_grad for value in inputs)
        # A candidate in this process keeps what comes and goes: not the graph, which leads to it.
        values = tuple(value.detach() for value in inputs)
        (reply,) = candidate.perform([Forward(ctx.handle, stage, values, needed)])  # type: ignore[attr-defined]
        if isinstance(reply, Trouble):
            raise StageTrouble(f"{stage}.forward", reply)
        assert isinstance(reply, Output)
        if not isinstance(reply.value, Tensor):
            raise StageTrouble(
                f"{stage}.forward", Absent(f"{stage}.forward did not return a tensor this time")
            )
        return reply.value.detach()

    def backward(ctx: FunctionCtx, upstream: Tensor) -> tuple[Any, ...]:
        (reply,) = candidate.perform([Backward(ctx.handle, upstream)])  # type: ignore[attr-defined]
        if isinstance(reply, Trouble):
            raise StageTrouble(f"{stage}.backward", reply)
        assert isinstance(reply, Returns)
        return tuple(_for_engine(value) for value in reply.values)

    return function_of(stage, forward, backward)


def engine_refusal(
    stage: str, inputs: tuple[Tensor, ...], upstream: Tensor, values: tuple[Returned, ...]
) -> str:
    """Return what torch's engine says against ``values`` returned by a backward.

    Return "" if it accepts them; it sums what it can broadcast, and casts.
    """

    def forward(ctx: FunctionCtx, *given: Tensor) -> Tensor:
        return upstream.clone()

    def backward(ctx: FunctionCtx, _upstream: Tensor) -> tuple[Any, ...]:
        return tuple(_for_engine(value) for value in values)

    leaves = tuple(value.detach().clone().requires_grad_() for value in inputs)
    output = function_of(stage, forward, backward)(*leaves)
    try:
        torch.autograd.grad(output, leaves, upstream, allow_unused=True)
    except (RuntimeError, TypeError) as refusal:
        return str(refusal) or type(refusal).__name__
    return ""


def function_of(
    name: str, forward: Callable[..., Any], backward: Callable[..., Any]
) -> Callable[..., Tensor]:
    """Return the ``apply`` of a new ``torch.autograd.Function`` of that name."""
    body = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    function: Any = type(name, (torch.autograd.Function,), body)
    apply: Callable[..., Tensor] = function.apply
    return apply


def _for_engine(value: Returned) -> Any:
    return _NO_TENSOR if isinstance(value, Other) else value
