"""What a backward returns when it is called as torch's engine calls it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction, FunctionCtx

from harness.candidate.operations import Value

Upstreams = Sequence[Tensor | None]


def node_of(outputs: Iterable[object]) -> BackwardCFunction | None:
    """Return the node of a student's Function behind any of the outputs, if there is one."""
    nodes = (getattr(each, "grad_fn", None) for each in outputs)
    return next((each for each in nodes if isinstance(each, BackwardCFunction)), None)


def call_backward(node: Any, outputs: Sequence[Any], upstreams: Upstreams) -> Any:
    """Return what the backward behind the outputs returns, called as torch's engine calls it.

    An upstream is None for an output that is not used.
    """
    places = [(getattr(each, "grad_fn", None), getattr(each, "output_nr", 0)) for each in outputs]
    whole = all(each is not None for each in upstreams)
    if whole and all(at == (node, place) for place, at in enumerate(places)):
        with torch.no_grad():
            return node.apply(*upstreams)
    # What stands in for an upstream that is not there, the engine alone knows: the function may
    # have called set_materialize_grads, which cannot be read back.
    returned: list[Any] = []
    own = node.apply

    def apply(*given: Tensor | None) -> tuple[None, ...]:
        returned.append(own(*given))
        return (None,) * len(node.needs_input_grad)

    traced = [place for place, (each, _) in enumerate(places) if each is not None]
    node.apply = apply
    try:
        with torch.enable_grad():
            start: Any = _Start.apply(  # type: ignore[no-untyped-call]
                [upstreams[place] for place in traced], *(outputs[place] for place in traced)
            )
        start.backward(retain_graph=True)
    finally:
        del node.apply
    return returned[0]


def built_in_gradients(
    outputs: Sequence[Any], upstreams: Upstreams, given: Sequence[Value]
) -> tuple[Tensor | None, ...]:
    """Return a gradient for each of ``given`` by built-in autograd, None where none is needed."""
    needs = [isinstance(each, Tensor) and each.requires_grad for each in given]
    used = [
        (output, upstream)
        for output, upstream in zip(outputs, upstreams, strict=True)
        if upstream is not None and output.grad_fn is not None
    ]
    if not used:
        return (None,) * len(given)
    leaves: Any = [each for each, need in zip(given, needs, strict=True) if need]
    roots, seeds = zip(*used, strict=True)
    found = iter(torch.autograd.grad(roots, leaves, seeds, retain_graph=True, allow_unused=True))
    return tuple(next(found) if need else None for need in needs)


class _Start(torch.autograd.Function):
    """A number whose gradients are the given upstreams, None for an output that is not used."""

    @staticmethod
    def forward(ctx: FunctionCtx, upstreams: Upstreams, *_outputs: Tensor) -> Tensor:
        ctx.upstreams = upstreams  # type: ignore[attr-defined]
        return torch.zeros((), device="cpu")

    @staticmethod
    def backward(ctx: Any, _one: Tensor) -> tuple[Tensor | None, ...]:
        return None, *ctx.upstreams
