"""A student's work behind the wire, as a candidate: deadlines, deaths and fresh children."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from grading.sandbox import wire
from grading.sandbox.channel import ChannelClosed, ChannelTimeout, ProtocolError
from grading.sandbox.nursery import Child, Nursery
from grading.sandbox.wire import Answer, Define, Defined, FromChild, Perform, Request, Started
from grading.source import Source
from harness.candidate import (
    Absent,
    Backward,
    Chain,
    Chained,
    Forward,
    Lost,
    Operation,
    Output,
    Read,
    Reply,
    Returns,
    Trouble,
    Unchanged,
)
from harness.settings import Limits

# A child that neither computes nor answers is given PATIENCE times the limit by the clock; one
# that computes, however slowly on a busy machine, is left to its processor time for longer.
PATIENCE = 4.0
IDLE_SHARE = 0.02
LONGEST = 40.0
GLANCE_SECONDS = 0.5
KILLS = 3
MOST_KILLS = 8
WHOLE = "the whole submission"


class ChildLost(Exception):
    """A child died, ran out of time or broke the rules; the text completes "Sigmoid.backward …"."""


@dataclass(frozen=True)
class Definition:
    """What came of running the top-level statements. ``unusable`` says why there is no code."""

    failed: tuple[wire.Statement, ...]
    unusable: str = ""


class Far:
    """A candidate whose code runs in children of a nursery. Close it, or use it in a ``with``.

    What kills its child costs the stage that was being used: that stage is lost from then on,
    and the others go on in a fresh child.
    """

    def __init__(self, nursery: Nursery, source: Source, limits: Limits) -> None:
        self._nursery = nursery
        self._source = source
        self._limits = limits
        self._child: Child | None = None
        self._number = 0
        self._spent = 0.0
        self._lost: dict[str, Lost] = {}
        self._calls: dict[int, Forward] = {}
        self._here: set[int] = set()
        self._skip: list[int] = []
        self._until: int | None = None
        self._killers: list[wire.Statement] = []
        self.definition = self._define()

    @property
    def cpu_seconds(self) -> float:
        """The processor time its children have used, those that have ended."""
        return self._spent

    def perform(self, operations: Sequence[Operation]) -> list[Reply]:
        """One reply for each operation. Raises NurseryError where the grader itself failed."""
        self._note(operations)
        blamed = self._blamed(operations)
        known = self._lost.get(WHOLE) or self._lost.get(blamed)
        if known:
            return [known] * len(operations)
        replies: list[Reply] = []
        try:
            child = self._living()
            self._refuse_strangers(operations)
            replies.extend(self._answers(child, operations))
        except ChildLost as lost:
            self._bury()
            self._lost[blamed] = Lost(str(lost))
            replies += [self._lost[blamed]] * (len(operations) - len(replies))
        return replies

    def close(self) -> None:
        """Ends the child."""
        self._bury()

    def __enter__(self) -> Far:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _note(self, operations: Sequence[Operation]) -> None:
        for operation in operations:
            if isinstance(operation, Forward):
                self._calls[operation.handle] = operation

    def _blamed(self, operations: Sequence[Operation]) -> str:
        match operations[0]:
            case Forward(stage=stage):
                return stage
            case Backward(handle=handle) | Read(handle=handle):
                return self._calls[handle].stage
            case Chain():
                return "the chain"

    def _refuse_strangers(self, operations: Sequence[Operation]) -> None:
        """A graph made by a child that is gone is gone with it."""
        for operation in operations:
            if isinstance(operation, Forward):
                self._here.add(operation.handle)
            elif not isinstance(operation, Chain) and operation.handle not in self._here:
                raise ChildLost("lost its process to another stage")

    def _living(self) -> Child:
        if self._child is None:
            self._define()
        if self._child is None:
            raise ChildLost("could not be started again")
        return self._child

    def _define(self) -> Definition:
        """Forks a child and runs the statements; one that kills is skipped by the next child."""
        while True:
            self._here = set()
            child = self._child = self._nursery.child(self._limits.memory_mib)
            at: Started | None = None
            try:
                for message in self._ask(
                    child, Define(self._next(), self._source, self._skip, self._until)
                ):
                    if isinstance(message, Started):
                        at = message
                    elif isinstance(message, Defined):
                        return self._defined(message)
                    else:
                        raise ChildLost("sent an answer that nobody asked for")
                raise ChildLost("stopped answering")
            except ChildLost as lost:
                self._bury()
                if at is None:
                    self._lost[WHOLE] = Lost(f"could not be read: it {lost}")
                    return Definition(
                        (), f"The code could not be read: the process that read it {lost}."
                    )
                self._learn(at, str(lost))
                if len(self._killers) == MOST_KILLS:
                    self._lost[WHOLE] = Lost(f"could not be run: it {lost} again and again")
                    return Definition((), f"The code could not be run: it {lost}, again and again.")

    def _learn(self, at: Started, reason: str) -> None:
        self._killers.append(wire.Statement(at.place, "stopped", f"it {reason}", []))
        self._skip = [*self._skip, at.index]
        if len(self._killers) == KILLS:
            self._until = at.index

    def _defined(self, message: Defined) -> Definition:
        if message.unusable:
            self._lost[WHOLE] = Lost("cannot be read")
        return Definition((*self._killers, *message.failed), message.unusable)

    def _answers(self, child: Child, operations: Sequence[Operation]) -> Iterator[Reply]:
        request = Perform(self._next(), list(map(wire.operation_data, operations)))
        for expected, message in enumerate(self._ask(child, request, len(operations))):
            if not isinstance(message, Answer) or message.index != expected:
                raise ChildLost("sent an answer that nobody asked for")
            try:
                reply = wire.reply_of(message.reply)
            except ProtocolError as error:
                raise ChildLost(f"sent a malformed answer ({error})") from None
            if not self._fits(reply, operations[expected]):
                raise ChildLost("sent a malformed answer (of another kind than was asked for)")
            yield self._explained(reply, operations[expected])

    def _fits(self, reply: Reply, operation: Operation) -> bool:
        """Whether the reply is of the kind that the operation asks for."""
        if isinstance(reply, Trouble):
            return True
        match operation:
            case Forward():
                return isinstance(reply, Output)
            case Backward():
                return isinstance(reply, Returns)
            case Read(handle):
                count = len(self._calls[handle].inputs)
                return isinstance(reply, Unchanged) and len(reply.inputs) == count
            case Chain():
                return isinstance(reply, Chained)

    def _explained(self, reply: Reply, operation: Operation) -> Reply:
        """Says why a class is absent, when a statement that should define it failed."""
        if isinstance(reply, Absent) and isinstance(operation, Forward):
            for failed in self.definition.failed:
                if operation.stage in failed.defines:
                    why = f"{failed.place} raised {failed.kind}: {failed.text}"
                    return replace(reply, reason=f"{reply.reason}, because {why}")
        return reply

    def _ask(
        self, child: Child, request: Request, answers: int | None = None
    ) -> Iterator[FromChild]:
        """Sends a request and yields the messages that come, each within the limits."""
        try:
            if child.channel.has_unread():
                raise ChildLost("wrote to the grader's own channel")
            child.channel.send(wire.encode(request), PATIENCE * self._limits.call_seconds)
            while answers is None or answers > 0:
                message = wire.decode_from_child(self._await(child))
                if message.call != request.call:
                    raise ChildLost("answered another call")
                yield message
                if isinstance(message, Defined):
                    return
                if answers is not None:
                    answers -= 1
        except ProtocolError as error:
            raise ChildLost(f"wrote to the grader's own channel ({error})") from None
        except ChannelTimeout:
            raise ChildLost("stopped reading what it was asked") from None
        except ChannelClosed:
            raise ChildLost(self._cause_of_death(child)) from None

    def _await(self, child: Child) -> bytes:
        """The next frame. Processor time decides; a child that sleeps is given a little longer."""
        limit = self._limits.call_seconds
        began, used_before = time.monotonic(), child.cpu_seconds()
        while True:
            self._within_submission(child)
            try:
                return child.channel.receive(wire.REPLY_LIMIT, min(GLANCE_SECONDS, limit))
            except ChannelTimeout:
                waited, used = time.monotonic() - began, child.cpu_seconds() - used_before
            if used > limit:
                raise ChildLost(
                    f"did not finish within {limit:g} seconds of processor time (an endless loop?)"
                )
            if waited > (PATIENCE if used < IDLE_SHARE * waited else LONGEST) * limit:
                raise ChildLost(
                    f"did not answer within {waited:.0f} seconds (does it wait for something?)"
                )

    def _within_submission(self, child: Child) -> None:
        most = self._limits.submission_seconds
        if self._spent + child.cpu_seconds() > most:
            self._lost[WHOLE] = Lost(
                f"had no time left: the submission used its {most:g} seconds of processor time"
            )
            raise ChildLost("used up the time of the whole submission")

    def _cause_of_death(self, child: Child) -> str:
        ended = child.end(grace=1.0)
        self._child = None
        self._spent += ended.cpu_seconds
        if ended.signal and not ended.killed:
            name = signal.Signals(ended.signal).name
            return f"crashed the process it ran in ({name})"
        if ended.killed:
            return "closed the grader's own channel"
        return f"ended the process it ran in (exit code {ended.exit_code})"

    def _bury(self) -> None:
        if self._child is not None:
            child, self._child = self._child, None
            self._spent += child.end().cpu_seconds

    def _next(self) -> int:
        self._number += 1
        return self._number
