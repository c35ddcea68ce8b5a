"""Second derivatives: a stage's gradients differentiated again.

torch.func is not tried: it would import torch's compiler, which takes seconds.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from harness.candidate.operations import Observe
from harness.candidate.values import copied, outputs_of


class OnceOnly(Exception):
    """The function is marked as not twice differentiable."""


def second_derivatives(function: Callable[..., Any], op: Observe) -> tuple[Tensor, ...]:
    """Return the gradients of a weighted sum of the required gradients.

    They are those with respect to the required inputs and the upstreams; zero where the sum does
    not depend on one. The weights are 1, 2, 3 …, so that no two entries can be confused. Raise
    OnceOnly if the function is marked once_differentiable, and otherwise what it or torch raises.
    """
    upstreams = [copied(each, True) for each in op.upstream]
    given = list(map(copied, op.inputs, op.required))
    leaves = [each for each in given if isinstance(each, Tensor) and each.requires_grad]
    moving = [*leaves, *(each for each in upstreams if isinstance(each, Tensor))]
    if not leaves:
        return tuple(map(torch.zeros_like, moving))
    # The upstreams are part of the graph: given grad_outputs, torch imports far more.
    with torch.enable_grad():
        sums = [
            (output * upstream).sum()
            for output, upstream in zip(outputs_of(function(*given)), upstreams, strict=True)
            if isinstance(upstream, Tensor)
        ]
        first: tuple[Tensor | None, ...] = torch.autograd.grad(
            torch.stack(sums).sum(), leaves, create_graph=True, allow_unused=True
        )
        if any(map(_refuses_more, first)):
            raise OnceOnly
        weighted = [(each * _weights(each)).sum() for each in first if each is not None]
        total = [each for each in weighted if each.requires_grad]
        if not total:
            return tuple(map(torch.zeros_like, moving))
        found: tuple[Tensor | None, ...] = torch.autograd.grad(
            torch.stack(total).sum(), moving, allow_unused=True
        )
    return tuple(
        torch.zeros_like(leaf) if each is None else each.detach()
        for each, leaf in zip(found, moving, strict=True)
    )


def second_derivatives_of(function: type[Function], op: Observe) -> tuple[Tensor, ...] | None:
    """Return those of a student's class: empty if they raise, None if it is marked to have none."""
    try:
        return second_derivatives(function.apply, op)
    except OnceOnly:
        return None
    except (Exception, SystemExit):
        return ()


def _weights(value: Tensor) -> Tensor:
    return torch.arange(1, value.numel() + 1, dtype=value.dtype, device="cpu").reshape(value.shape)


def _refuses_more(gradient: Tensor | None) -> bool:
    """Return whether torch is told not to differentiate the gradient, which it may ignore."""
    node = None if gradient is None else gradient.grad_fn
    nodes = [] if node is None else [node, *(before for before, _ in node.next_functions)]
    return any(each is not None and each.name() == "torch::autograd::Error" for each in nodes)
