"""A record of what a candidate was asked and what it replied, for an instructor to look at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor

from harness.candidate import operations as ops
from harness.candidate.values import same
from harness.cases.cases import (
    IN_FLOAT32,
    Case,
    extreme_cases,
    float32_case,
    layout_cases,
    make_case,
)
from harness.cases.compare import VALUES, Tolerance, difference
from harness.cases.special_cases import special_cases
from harness.course.assignment import Assignment
from harness.course.inputs import Sizes
from harness.course.stage import Stage, Upstream, Values

# How many of the backwards that a check asked for are shown.
SOME = 3


@dataclass(frozen=True, eq=False)
class Moment:
    """One call of a student's forward or backward in a check, and the reply.

    ``forward`` is the call itself, or the one that the backward belongs to.
    """

    check: str
    batch: int
    stage: Stage
    forward: ops.Forward
    operation: ops.Forward | ops.Backward
    reply: ops.Reply

    @property
    def upstream(self) -> Upstream | None:
        """The upstream gradient of a backward; None for a forward."""
        return self.operation.upstream if isinstance(self.operation, ops.Backward) else None

    @cached_property
    def inputs(self) -> Values:
        """The inputs of the forward."""
        return tuple(
            value.detach() if isinstance(value, Tensor) else value for value in self.forward.inputs
        )

    @cached_property
    def right(self) -> tuple[Tensor | None, ...]:
        """The right outputs of a forward, or the right gradient for each argument that has one."""
        if self.upstream is None:
            return tuple(each.detach() for each in self.stage.run(self.inputs))
        return self.stage.true_gradients(self.inputs, self.upstream)

    @property
    def is_off(self) -> bool:
        """Whether a value that was asked for is wrong."""
        match self.reply:
            case ops.Output(values):
                pairs = zip(values, self.right, strict=False)
                return len(values) != len(self.right) or not all(
                    right is not None and agree(value, right) for value, right in pairs
                )
            case ops.Returns(values):
                names = self.stage.names_of(self.inputs)
                rows = zip(names, self.forward.requires_grad, values, self.right, strict=False)
                return len(values) < len(self.right) or any(
                    need
                    and not (value is None and name in self.stage.optional)
                    and not (right is not None and agree(value, right))
                    for name, need, value, right in rows
                )
        return True


class Transcript:
    """A candidate that forwards to another one, and records the calls of single stages."""

    def __init__(self, assignment: Assignment, candidate: ops.Candidate) -> None:
        self._assignment = assignment
        self._candidate = candidate
        self._begun = [""]
        self._batches = 0
        self._forwards: dict[int, ops.Forward] = {}
        self._moments: list[Moment] = []
        # What a detective's function returned, by its name.
        self.cases: dict[str, Sequence[Mapping[str, ops.Returned]]] = {}

    def begin(self, check: str) -> None:
        """Note which check asks from now on."""
        self._begun.append(check)

    def perform(self, operations: Sequence[ops.Operation]) -> list[ops.Reply]:
        """Return the candidate's replies."""
        replies = self._candidate.perform(operations)
        self._batches += 1
        for operation, reply in zip(operations, replies, strict=True):
            if isinstance(operation, ops.Collect) and isinstance(reply, ops.Collected):
                self.cases[operation.stage] = reply.cases
            if isinstance(operation, ops.Forward):
                self._forwards[operation.handle] = operation
            if isinstance(operation, ops.Forward | ops.Backward):
                forward = self._forwards[operation.handle]
                stage = self._assignment.stage(forward.stage)
                self._moments.append(
                    Moment(self._begun[-1], self._batches, stage, forward, operation, reply)
                )
        return replies

    def renew(self) -> ops.Candidate:
        """Return a fresh copy of the candidate, whose exchanges are not recorded."""
        return self._candidate.renew()

    def moments(self, check: str, facts: Mapping[str, Any]) -> list[Moment]:
        """Return what the check saw of the case described by ``facts``: forward, then backwards.

        For the chain, and for interleaved calls, return all that it saw; nothing if it did not
        reach that case. Raise LookupError if the assignment has no such case.
        """
        own = [each for each in self._moments if each.check == check]
        part, _, kind = check.partition("/")
        if part == "chain" or part not in {each.slug for each in self._assignment.stages}:
            return own
        case = case_again(self._assignment, check, facts)
        if kind == "memory":
            return [each for each in own if each.batch == own[-1].batch]
        # Replies are asked for once, by the first check that needs them.
        before = self._begun[: self._begun.index(check)]
        earlier = [each for each in self._moments if each.check in before]
        index = facts.get("upstream", -1)
        if 0 <= index < len(case.upstreams):
            for seen in (own, earlier):
                if found := _of_upstream(seen, case, case.upstreams[index]):
                    return found
        for seen in (own, earlier):
            if found := _of_case(seen, case):
                forward, *backwards = found
                if kind == "forward":
                    return [forward]
                off = [each for each in backwards if each.is_off]
                return [forward, *(off[:SOME] or backwards[:1])]
        return []


def case_again(assignment: Assignment, check: str, facts: Mapping[str, Any]) -> Case:
    """Return the case of a stage's check that is on record as ``facts``.

    Raise LookupError if the assignment has no such case.
    """
    slug, _, kind = check.partition("/")
    stage = {each.slug: each for each in assignment.stages}[slug]
    # JSON has no tuples.
    sizes: Sizes = {
        name: tuple(facts[name]) if isinstance(facts[name], list) else facts[name]
        for name in stage.sizes[0]
    }
    seed: int = facts["seed"]
    index: int = facts["index"]
    match kind:
        case "layout":
            return layout_cases(stage, seed, sizes)[index]
        case "stability":
            return extreme_cases(stage, seed, sizes)[index]
        case "special":
            return special_cases(stage, seed, sizes)[index]
        case "precision" if index == IN_FLOAT32:
            return float32_case(stage, seed, sizes)
        case _:
            return make_case(stage, seed, sizes, index)


def _of_upstream(seen: Sequence[Moment], case: Case, upstream: Upstream) -> list[Moment]:
    """Return the last call on the case with this upstream: its forward and that backward."""
    asked = [
        each
        for each in seen
        if _is_on(each, case) and each.upstream is not None and _are_same(each.upstream, upstream)
    ]
    forward = [each for each in seen if asked and each.operation is asked[-1].forward]
    return [*forward[:1], *asked[-1:]]


def _of_case(seen: Sequence[Moment], case: Case) -> list[Moment]:
    """Return the last call on the case: its forward, and every backward."""
    on = [each for each in seen if _is_on(each, case)]
    return [each for each in on if each.forward is on[-1].forward]


def _is_on(moment: Moment, case: Case) -> bool:
    given = moment.forward.inputs
    return _are_same(given, case.inputs)


def _are_same(ones: Values, others: Values) -> bool:
    return len(ones) == len(others) and all(map(same, ones, others))


def agree(value: object, right: Tensor, tolerance: Tolerance = VALUES) -> bool:
    """Return whether something returned has the right shape and values."""
    if not isinstance(value, Tensor) or value.is_complex() or value.shape != right.shape:
        return False
    size = float(right.abs().max()) if right.numel() else 0.0
    return difference(value, right, tolerance, size=size) is None
