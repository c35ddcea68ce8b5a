"""How a judge talks to a student's work: the operations it asks for, and the replies.

The same operations reach classes in this process (`harness.candidate.workbench`) and classes in a
process of their own (`grading.sandbox`); a judge cannot tell the two apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

# An argument of ``apply``. Each of a variable number of tensors is an argument of its own.
Value = Tensor | int | float | bool | str | None | tuple["Value", ...]


@dataclass(frozen=True)
class Forward:
    """Call ``stage`` on ``inputs`` (layout kept) and keep the graph under ``handle``.

    ``requires_grad`` means nothing for inputs other than real tensors. While it runs, and its
    backward, new tensors are float64 by default if ``in_double``.
    """

    handle: int
    stage: str
    inputs: tuple[Value, ...]
    requires_grad: tuple[bool, ...]
    in_double: bool = False


@dataclass(frozen=True)
class Backward:
    """Ask what the backward of the call ``handle`` returns for ``upstream``; can be repeated.

    There is an upstream for each output, None for one that is not used: backward is given what
    torch's engine gives in its place.
    """

    handle: int
    upstream: tuple[Tensor | None, ...]


@dataclass(frozen=True)
class Read:
    """Ask whether the inputs and upstreams of the call ``handle`` are unchanged."""

    handle: int


@dataclass(frozen=True)
class Link:
    """One use of a stage in a chain: names of values in, names for its outputs.

    A stage called ``torch.NAME`` is an operation of `harness.candidate.glue`, which may take
    an argument by its keyword, as in ``dim=axis``.
    """

    stage: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Chain:
    """Run a whole network in one call, through torch's engine and the student's functions.

    ``costs`` maps the names of 0-dim values to weights; the gradients asked for, ``wrt``, are
    those of the weighted sum of the costs. ``outputs`` names the values to send back. The
    ``tensors`` are given in row-major order; ``given`` are the other values that links use.
    """

    links: tuple[Link, ...]
    tensors: Mapping[str, Tensor]
    outputs: tuple[str, ...]
    wrt: tuple[str, ...] = ()
    costs: Mapping[str, float] | None = None
    given: Mapping[str, Value] = field(default_factory=dict)


# Compared by identity, so that it can be a key of what is made of it.
@dataclass(frozen=True, eq=False)
class Descend:
    """Take a step of gradient descent on the last chain's ``wrt``, and run that chain again.

    ``tensors`` replace others of its values. If that chain failed, so does this.
    """

    rate: float
    tensors: Mapping[str, Tensor]


@dataclass(frozen=True)
class Observe:
    """Ask what only its own process can know of ``stage``, tried on ``inputs``.

    Its backward is given ``upstream``, as in `Backward`, and what is ``in_double`` as in `Forward`.
    The second derivatives are asked for too,
    of the inputs that are ``required`` to have a gradient. It comes last of the operations asked
    with it, and what they cost the process costs no stage.
    """

    stage: str
    inputs: tuple[Value, ...]
    requires_grad: tuple[bool, ...]
    upstream: tuple[Tensor | None, ...]
    required: tuple[bool, ...]
    in_double: bool = False


@dataclass(frozen=True)
class Build:
    """Make the optimizer ``stage``, under ``handle``, for parameters with these values.

    ``groups`` holds the indices of the parameters in each group. The first of the ``settings`` are
    the optimizer's own, the others those of each group.
    """

    handle: int
    stage: str
    parameters: tuple[Tensor | None, ...]
    groups: tuple[tuple[int, ...], ...]
    settings: tuple[Mapping[str, Value], ...]


@dataclass(frozen=True)
class Step:
    """Give the parameters of ``handle`` these gradients, and have them moved, ``times`` times.

    ``settings`` change those of each group before; there can be none.
    """

    handle: int
    gradients: tuple[Tensor | None, ...]
    settings: tuple[Mapping[str, Value], ...] = ()
    times: int = 1


@dataclass(frozen=True)
class Collect:
    """Ask for the cases that the function ``stage`` returns: ``most`` of them, and one more.

    Each value in them has so many ``numbers`` at most.
    """

    stage: str
    most: int
    numbers: int


Operation = Forward | Backward | Read | Chain | Descend | Observe | Build | Step | Collect


@dataclass(frozen=True)
class Other:
    """Something returned in place of a tensor; ``kind`` names its type."""

    kind: str


Returned = Tensor | Other | None
# The kind of what has more numbers than are asked for.
TOO_MANY = "too many numbers"
# The beginning of what was printed meanwhile, and how many lines that was in all.
Printed = tuple[str, int]
NOTHING_PRINTED: Printed = ("", 0)


@dataclass(frozen=True)
class Output:
    """What forward returned: one value, or ``several`` in a tuple."""

    values: tuple[Returned, ...]
    several: bool = False
    printed: Printed = NOTHING_PRINTED

    @property
    def value(self) -> Returned:
        """What forward returned, as the one output that it should return."""
        return Other("tuple") if self.several else self.values[0]


@dataclass(frozen=True)
class Returns:
    """What backward returned, before torch's engine sums, casts or refuses it."""

    values: tuple[Returned, ...]
    printed: Printed = NOTHING_PRINTED


@dataclass(frozen=True)
class Unchanged:
    """Whether the inputs, the upstreams and the results of a call still have their values.

    There is a flag for each input, whatever it is. This is introspection: the process can lie.
    """

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
    """Something found, or that happened, on a line of the student's code."""

    what: str
    place: str
    code: str = ""


@dataclass(frozen=True)
class Observed:
    """How a stage gets its gradients. It may lie, and what is missing proves nothing.

    ``named`` is what its code names, and that of its helpers, as read without running it. The
    next three are of one forward and one backward: the operations that they ``dispatched``, where
    tensors were ``packed`` for built-in autograd, and the ``differences`` of nearly equal values.
    ``built_in`` names torch's own function behind the output, "" if that is the student's.

    ``on_ctx`` tells that tensors are kept in attributes of ctx. ``second`` holds the second
    derivatives that `harness.candidate.introspection.derivatives` describes: empty if they
    fail, None if they are refused on purpose.
    """

    named: tuple[Seen, ...] = ()
    dispatched: tuple[Seen, ...] = ()
    packed: tuple[Seen, ...] = ()
    differences: tuple[Seen, ...] = ()
    built_in: str = ""
    on_ctx: bool = False
    second: tuple[Returned, ...] | None = ()


@dataclass(frozen=True)
class Built:
    """An optimizer is there. ``bases`` are those of torch's own optimizers that it is made of."""

    bases: tuple[Seen, ...] = ()


@dataclass(frozen=True)
class Stepped:
    """The parameters after a step.

    The rest is introspection: whether each is the tensor that it was, whether the gradients are
    unchanged, whether each parameter still requires a gradient, and of repeated steps how many
    tensors they have left, and which of torch's own optimizers there are now.
    """

    parameters: tuple[Returned, ...]
    kept: tuple[bool, ...]
    unchanged: tuple[bool, ...]
    trainable: tuple[bool, ...]
    grown: int = 0
    bases: tuple[Seen, ...] = ()


@dataclass(frozen=True)
class Collected:
    """Dictionaries that a function returned. Numbers, in whatever form, are float64 tensors.

    Text is `Other` with that text, and what is not a dictionary is one of its type by the name "".
    """

    cases: tuple[Mapping[str, Returned], ...]


@dataclass(frozen=True)
class Raised:
    """The student's code raised. ``place`` and ``code`` are the line, if known.

    ``part`` is what of the line was being worked out, and ``names`` are the variables there, each
    with its type, such as "tuple"; a tensor's is its dtype and shape, as "float64 (5, 7)".
    """

    kind: str
    text: str
    place: str = ""
    code: str = ""
    part: str = ""
    names: tuple[tuple[str, str], ...] = ()
    printed: Printed = NOTHING_PRINTED


@dataclass(frozen=True)
class Absent:
    """There is nothing to call: no such class, not a Function, or an output without backward."""

    reason: str


@dataclass(frozen=True)
class Lost:
    """The student's process died or ran out of time over this operation.

    ``whole`` tells that it will not answer any other operation.
    """

    reason: str
    whole: bool = False


Trouble = Raised | Absent | Lost
Reply = Output | Returns | Unchanged | Chained | Observed | Built | Stepped | Collected | Trouble


class Candidate(Protocol):
    """A student's work, in this process or another."""

    def perform(self, operations: Sequence[Operation]) -> list[Reply]:
        """Return one reply for each operation, in order.

        An operation on a failed handle repeats the trouble of its forward.
        """
        ...

    def renew(self) -> Candidate:
        """Return the same work, in a process that has been asked nothing yet if it has its own."""
        ...
