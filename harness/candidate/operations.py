"""How a judge talks to a student's work: operations asked of it, and what it answers.

The same operations reach classes in this process (`harness.candidate.workbench`) and classes in a
process of their own (`grading.sandbox`); a judge cannot tell the two apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True)
class Forward:
    """Call ``stage`` on ``inputs`` (layout kept) and keep the graph under ``handle``."""

    handle: int
    stage: str
    inputs: tuple[Tensor, ...]
    requires_grad: tuple[bool, ...]


@dataclass(frozen=True)
class Backward:
    """Ask what the backward of the call ``handle`` returns for ``upstream``; can be repeated."""

    handle: int
    upstream: Tensor


@dataclass(frozen=True)
class Read:
    """Ask whether the inputs and upstreams of the call ``handle`` are unchanged."""

    handle: int


@dataclass(frozen=True)
class Link:
    """One use of a stage in a chain: names of values in, a name for the value out."""

    stage: str
    inputs: tuple[str, ...]
    output: str


@dataclass(frozen=True)
class Chain:
    """Run a whole network in one call, through torch's engine and the student's functions.

    ``costs`` maps the names of 0-dim values to weights; the gradients asked for, ``wrt``, are
    those of the weighted sum of the costs. ``outputs`` names the values to send back. The
    ``tensors`` are given in row-major order.
    """

    links: tuple[Link, ...]
    tensors: Mapping[str, Tensor]
    outputs: tuple[str, ...]
    wrt: tuple[str, ...] = ()
    costs: Mapping[str, float] | None = None


# Compared by identity, so that what is made of one can be kept beside it.
@dataclass(frozen=True, eq=False)
class Descend:
    """Take the last chain's ``wrt`` down their gradients, by ``rate``, and run that chain again.

    ``tensors`` take the place of others of its values. Where that chain failed, so does this.
    """

    rate: float
    tensors: Mapping[str, Tensor]


@dataclass(frozen=True)
class Observe:
    """Ask for testimony on ``stage``, tried on ``inputs``: what only its own process can know.

    Its backward is given ``upstream``. Of the inputs that are ``required`` to have a gradient, the
    second derivatives are asked for too. Whatever the operations asked together with it cost the
    process costs no stage: it comes last of them.
    """

    stage: str
    inputs: tuple[Tensor, ...]
    upstream: Tensor
    required: tuple[bool, ...]


Operation = Forward | Backward | Read | Chain | Descend | Observe


@dataclass(frozen=True)
class Other:
    """Something returned where a tensor belongs; ``kind`` names its type."""

    kind: str


Returned = Tensor | Other | None


@dataclass(frozen=True)
class Output:
    """What forward returned."""

    value: Returned


@dataclass(frozen=True)
class Returns:
    """What backward returned, before torch's engine sums, casts or refuses it."""

    values: tuple[Returned, ...]


@dataclass(frozen=True)
class Unchanged:
    """Whether each input and each upstream of a call still has its value, and whether all that
    forward and backward have returned does: testimony."""

    inputs: tuple[bool, ...]
    upstreams: tuple[bool, ...]
    results: bool


@dataclass(frozen=True)
class Chained:
    """Values of a chain by name, the weighted sum of its costs (nan without any), and its gradient.

    ``gradient`` holds that of each value in ``wrt``, flat, one after the other; nan where nothing
    depends on a value.
    """

    outputs: Mapping[str, Tensor]
    cost: float
    gradient: Tensor | None


@dataclass(frozen=True)
class Seen:
    """Something that stands, or happened, on a line of the student's code."""

    what: str
    place: str
    code: str = ""


@dataclass(frozen=True)
class Observed:
    """What a stage does to get its gradients. It may lie, and what it leaves out proves nothing.

    ``named`` is what its code names, and that of its helpers, as read without running it. The
    next three are of one forward and one backward: the operations that they ``dispatched``, where
    tensors were ``packed`` for built-in autograd, and the ``differences`` of nearly equal values.
    ``built_in`` names torch's own function behind the output, "" where that is the student's.

    ``on_ctx`` tells that tensors are kept in attributes of ctx. ``second`` holds the second
    derivatives that `harness.candidate.introspection.derivatives` describes: empty where they
    fail, None where they are refused on purpose.
    """

    named: tuple[Seen, ...] = ()
    dispatched: tuple[Seen, ...] = ()
    packed: tuple[Seen, ...] = ()
    differences: tuple[Seen, ...] = ()
    built_in: str = ""
    on_ctx: bool = False
    second: tuple[Returned, ...] | None = ()


@dataclass(frozen=True)
class Raised:
    """The student's code raised. ``place`` and ``code`` are the line it stood on, if known."""

    kind: str
    text: str
    place: str = ""
    code: str = ""


@dataclass(frozen=True)
class Absent:
    """There is nothing to call: no such class, not a Function, or no backward behind its output."""

    reason: str


@dataclass(frozen=True)
class Lost:
    """The student's process died or ran out of time over this operation.

    ``whole`` says that it answers no other operation either.
    """

    reason: str
    whole: bool = False


Trouble = Raised | Absent | Lost
Reply = Output | Returns | Unchanged | Chained | Observed | Trouble


class Candidate(Protocol):
    """A student's work, near or far."""

    def perform(self, operations: Sequence[Operation]) -> list[Reply]:
        """One reply for each operation, in order. An operation on a failed handle repeats the
        trouble of its forward."""
        ...

    def renew(self) -> Candidate:
        """The same work, by a process that has been asked nothing yet, where it has its own."""
        ...
