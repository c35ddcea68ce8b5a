"""What only the student's own process can know of a stage. It may lie, and decides no values.

`harness.judging.policy` makes flags and advice of it, on the judge's side.
"""

from torch.autograd import Function

from harness.candidate.introspection.derivatives import second_derivatives_of
from harness.candidate.introspection.reading import named_by
from harness.candidate.introspection.watching import watched
from harness.candidate.operations import Observe, Observed

__all__ = ["introspect"]


def introspect(function: type[Function], op: Observe) -> Observed:
    """Return what there is to know about a stage's class."""
    seen = watched(function, op)
    return Observed(
        named=named_by(function),
        dispatched=tuple(seen.dispatched.values()),
        packed=tuple(seen.packed),
        differences=tuple(seen.differences),
        built_in=seen.built_in,
        on_ctx=seen.on_ctx,
        second=second_derivatives_of(function, op),
    )
