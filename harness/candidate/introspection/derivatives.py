"""Second derivatives: a stage's gradients differentiated again.

torch.func is not tried: it would import torch's compiler, which takes seconds.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd import Function

from harness.candidate.operations import Observe


class OnceOnly(Exception):
    """The function is marked as not twice differentiable."""


def second_derivatives(function: Callable[..., Tensor], op: Observe) -> tuple[Tensor, ...]:
    """Return the gradients of a weighted sum of the required gradients.

    They are those with respect to the required inputs and the upstream; zero where the sum does not
    depend on one. The weights are 1, 2, 3 …, so that no two entries can be confused. Raise OnceOnly
    if the function is marked once_differentiable, and otherwise what it or torch raises.
    """
    given = op.upstream.detach().clone().requires_grad_()
    values = [
        value.detach().clone().requires_grad_(needed)
        for value, needed in zip(op.inputs, op.required, strict=True)
    ]
    leaves = [value for value in values if value.requires_grad]
    # The upstream is part of the graph: given grad_outputs, torch imports far more.
    with torch.enable_grad():
        total = (function(*values) * given).sum()
        first: tuple[Tensor | None, ...] = torch.autograd.grad(
            total, leaves, create_graph=True, allow_unused=True
        )
        if any(map(_refuses_more, first)):
            raise OnceOnly
        weighted = [(each * _weights(each)).sum() for each in first if each is not None]
        moving = [each for each in weighted if each.requires_grad]
        if not moving:
            return tuple(map(torch.zeros_like, (*leaves, given)))
        found: tuple[Tensor | None, ...] = torch.autograd.grad(
            torch.stack(moving).sum(), (*leaves, given), allow_unused=True
        )
    return tuple(
        torch.zeros_like(leaf) if each is None else each.detach()
        for each, leaf in zip(found, (*leaves, given), strict=True)
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
