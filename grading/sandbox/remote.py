"""A student's work behind the wire, as a candidate: deadlines, deaths and fresh children."""

from __future__ import annotations

import itertools
import re
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import TypeVar

from grading.confined import wire
from grading.confined.channel import ChannelClosed, ChannelTimeout, ProtocolError
from grading.confined.spawner import Child, Closing, Spawner
from grading.confined.wire import Answers, Define, Defined, FromChild, Request, Started
from grading.parsing.source import Source
from grading.sandbox.budget import GLANCE_SECONDS, PATIENCE, Budget
from grading.sandbox.redaction import Redactor, plain
from grading.sandbox.slow import asked_for
from harness.candidate import operations as ops
from harness.course.settings import Limits

KILLS = 3
MOST_KILLS = 8
MOST_STATEMENTS = 100_000
WHOLE = "the whole submission"
CHAIN = "the chain"
INTROSPECTION = "the introspection"
DEFINITIONS = "the definitions"
# Signals from outside the process; at the levels that lock it down, they have no other source.
OUTSIDE = ("SIGHUP", "SIGINT", "SIGQUIT", "SIGKILL", "SIGTERM")
# How long a process that has closed its channel may take to end.
GRACE_SECONDS = 1.0
# How many times the limit of a call a renewed one has in all: no mark depends on it.
RENEWED_CALLS = 4
# The kernel's own limit of processor time comes a little later than the judge's.
SPARE_SECONDS = 10.0

_CLASS = re.compile(r"^[^\S\n]*class[^\S\n]+(\w+)", re.MULTILINE)

Verdict = TypeVar("Verdict")


class ChildLost(Exception):
    """A child died, ran out of time or broke the rules; the text completes "Sigmoid.backward …"."""


@dataclass(frozen=True)
class Definition:
    """The result of running the top-level statements. ``unusable`` says why there is no code."""

    failed: tuple[wire.Statement, ...]
    unusable: str = ""


class RemoteCandidate(Closing):
    """A candidate whose code runs in children of a spawner.

    What kills its child costs the stage that was being used: that stage is lost from then on,
    and the others go on in a fresh child. A ``second`` try, after a doubtful one, is final.
    Statements that killed when ``before`` was defined are not run again.
    """

    def __init__(
        self,
        spawner: Spawner,
        source: Source,
        limits: Limits,
        *,
        second: bool = False,
        before: RemoteCandidate | None = None,
    ) -> None:
        self._spawner = spawner
        self._limits = limits
        self._budget = Budget(limits)
        self._child: Child | None = None
        self._modules = asked_for(source)
        self._numbers = itertools.count()
        self._lost: dict[str, ops.Lost] = {}
        self._calls: dict[int, ops.Forward | ops.Build] = {}
        self._here: set[int] = set()
        self._outputs: frozenset[str] = frozenset()
        # Parts whose answers have all come in time so far need not send them one by one.
        self._quick: set[str] = {CHAIN}
        self._skip: list[int] = []
        self._until: int | None = None
        self._killers: list[wire.Statement] = []
        if before:
            self._skip, self._until, self._killers = before._skipped
        self._renewed: RemoteCandidate | None = None
        self._is_renewed = before is not None
        self._second = second
        self._stopped_by_clock = False
        # The signals that ended its children from outside, by the part they were running.
        self.kills: dict[str, str] = {}
        self.source = source
        self._redactor = Redactor(source)
        self.definition = self._define()
        # Statements that kill: which ones, from where on none is run, and their report.
        self._skipped: tuple[list[int], int | None, list[wire.Statement]]
        self._skipped = (self._skip, self._until, list(self._killers))

    @property
    def cpu_seconds(self) -> float:
        """The processor time its children have used, those that have ended."""
        return self._budget.cpu_seconds + (self._renewed.cpu_seconds if self._renewed else 0.0)

    @property
    def doubtful(self) -> bool:
        """Whether to try again, alone: the machine may have been at fault, and not the code."""
        renewed = self._renewed is not None and self._renewed.doubtful
        return not self._second and (self._stopped_by_clock or bool(self.kills) or renewed)

    def perform(self, operations: Sequence[ops.Operation]) -> list[ops.Reply]:
        """Return one reply for each operation. Raise SpawnerError if the grader itself failed."""
        self._note(operations)
        blamed = self._blamed(operations)
        if known := self._lost.get(WHOLE) or self._lost.get(blamed):
            return [known] * len(operations)
        stopped = self._stopped_by_clock
        replies, lost = self._tried(operations, blamed, at_once=blamed not in self._quick)
        if lost and self._can_repeat(operations, blamed):
            replies, lost = self._tried(operations, blamed, at_once=True)
        if lost:
            lost = self._lost[blamed] = replace(lost, whole=WHOLE in self._lost)
            replies += [lost] * (len(operations) - len(replies))
        else:
            self._quick.add(blamed)
        if blamed == INTROSPECTION:
            # No mark depends on it, and the next one is for another stage.
            self._stopped_by_clock = stopped
            self.kills.pop(INTROSPECTION, None)
            self._lost.pop(INTROSPECTION, None)
            self._quick.discard(INTROSPECTION)
        return replies

    def renew(self) -> RemoteCandidate:
        """Return the same code in a child that has been asked nothing, with little time of its own.

        Nothing there depends on what this one has been asked, not even the time that is left.
        """
        if self._renewed is None:
            self._end_child()
            seconds = min(
                RENEWED_CALLS * self._limits.call_seconds, self._limits.submission_seconds
            )
            limits = replace(self._limits, submission_seconds=seconds)
            self._renewed = RemoteCandidate(
                self._spawner, self.source, limits, second=self._second, before=self
            )
        return self._renewed

    def close(self) -> None:
        """End the child."""
        self._end_child()
        if self._renewed is not None:
            self._renewed.close()

    def _tried(
        self, operations: Sequence[ops.Operation], blamed: str, *, at_once: bool
    ) -> tuple[list[ops.Reply], ops.Lost | None]:
        """Return the replies that came, and how the child was lost over the first that did not."""
        replies: list[ops.Reply] = []
        try:
            child = self._running_child()
            self._budget.turn_to(blamed, shared=blamed != CHAIN and not self._is_renewed)
            self._refuse_unknown_handles(operations)
            replies.extend(self._answers(child, operations, at_once))
        except ChildLost as lost:
            self._end_child()
            return replies, ops.Lost(str(lost))
        return replies, None

    def _can_repeat(self, operations: Sequence[ops.Operation], blamed: str) -> bool:
        """Return whether a fresh child can give the replies that a lost one may have kept back."""
        alone = not isinstance(operations[0], ops.Backward | ops.Read | ops.Descend | ops.Step)
        return blamed in self._quick and alone and len(operations) > 1 and WHOLE not in self._lost

    def _note(self, operations: Sequence[ops.Operation]) -> None:
        for operation in operations:
            match operation:
                case ops.Forward(handle, stage) | ops.Build(handle, stage):
                    self._calls[handle] = operation
                    self._redactor.stages.add(stage)
                case ops.Collect(stage):
                    self._redactor.stages.add(stage)
                case ops.Chain(links):
                    self._redactor.stages |= {link.stage for link in links}

    def _blamed(self, operations: Sequence[ops.Operation]) -> str:
        match operations[-1]:
            case ops.Observe():
                return INTROSPECTION
            case ops.Forward(stage=stage) | ops.Build(stage=stage) | ops.Collect(stage=stage):
                return stage
            case ops.Backward(handle=handle) | ops.Read(handle=handle) | ops.Step(handle=handle):
                return self._calls[handle].stage
            case ops.Chain() | ops.Descend():
                return CHAIN

    def _refuse_unknown_handles(self, operations: Sequence[ops.Operation]) -> None:
        """Raise ChildLost for a graph that was made by a child that is gone."""
        for operation in operations:
            match operation:
                case ops.Forward(handle) | ops.Build(handle):
                    self._here.add(handle)
                case ops.Backward(handle) | ops.Read(handle) | ops.Step(handle) if (
                    handle not in self._here
                ):
                    raise ChildLost("lost its process to another stage")

    def _running_child(self) -> Child:
        if self._child is None:
            self._define()
        if self._child is None:
            raise ChildLost(self._lost[WHOLE].reason)
        return self._child

    def _start_child(self) -> Child:
        self._here = set()
        seconds = self._budget.cpu_left + SPARE_SECONDS
        child = self._spawner.child(self._limits.memory_mib, seconds, self._modules)
        self._child = child
        self._budget.turn_to(DEFINITIONS)
        return child

    def _unusable(self, why: str) -> Definition:
        self._end_child()
        self._lost.setdefault(WHOLE, ops.Lost("cannot be read", whole=True))
        return Definition((), why)

    def _define(self) -> Definition:
        """Have a child run the statements; the next child skips one that kills."""
        while True:
            child = self._child or self._start_child()
            at: Started | None = None
            try:
                request = Define(next(self._numbers), self.source, self._skip, self._until)
                for message in self._ask(child, request):
                    if isinstance(message, Started) and _follows(message, at):
                        at = message
                    elif isinstance(message, Defined):
                        return self._defined(message)
                    else:
                        raise ChildLost("sent an answer that nobody asked for")
                raise ChildLost("stopped answering")
            except ChildLost as lost:
                self._end_child()
                if at is None:
                    return self._unusable(
                        f"The code could not be read: the process that read it {lost}."
                    )
                self._learn(at, str(lost))
                if WHOLE in self._lost:
                    return self._unusable(f"The code could not be run: it {lost}.")
                if len(self._killers) == MOST_KILLS:
                    return self._unusable(f"The code could not be run: it {lost}, again and again.")

    def _learn(self, at: Started, reason: str) -> None:
        place = self._redactor.place(at.place)
        self._killers.append(wire.Statement(place, "stopped", f"it {reason}", []))
        self._skip = [*self._skip, at.index]
        if len(self._killers) == KILLS:
            self._until = at.index

    def _defined(self, message: Defined) -> Definition:
        if message.unusable:
            self._lost[WHOLE] = ops.Lost("cannot be read", whole=True)
        failed = map(self._redactor.statement, message.failed[:MOST_STATEMENTS])
        return Definition((*self._killers, *failed), plain(message.unusable))

    def _answers(
        self, child: Child, operations: Sequence[ops.Operation], at_once: bool
    ) -> Iterator[ops.Reply]:
        request = wire.performing(next(self._numbers), operations, at_once=at_once)
        waiting = iter(operations)
        expected = 0
        for message in self._ask(child, request, len(operations)):
            if not isinstance(message, Answers) or message.first != expected:
                raise ChildLost("sent an answer that nobody asked for")
            expected += len(message.replies)
            if expected > len(operations):
                raise ChildLost("sent more answers than were asked for")
            replies = wire.replies_of(message)
            for operation in itertools.islice(waiting, len(message.replies)):
                yield self._reply(replies, operation)

    def _reply(self, replies: Iterator[ops.Reply], operation: ops.Operation) -> ops.Reply:
        if isinstance(operation, ops.Chain):
            self._outputs = frozenset(operation.outputs)
        try:
            reply = next(replies)
        except ProtocolError:
            # Not how: the way could spell hidden inputs.
            raise ChildLost("sent a malformed answer") from None
        if not self._fits(reply, operation):
            raise ChildLost("sent an answer of another kind than was asked for")
        return self._explained(self._redactor.own(reply), operation)

    def _fits(self, reply: ops.Reply, operation: ops.Operation) -> bool:
        """Return whether the reply is of the kind that the operation asks for."""
        match operation, reply:
            case _, ops.Raised() | ops.Absent():
                return True
            case ops.Forward(), ops.Output(values, several):
                return several or len(values) == 1
            case ops.Backward(), ops.Returns():
                return True
            case ops.Read(handle), ops.Unchanged(inputs):
                call = self._calls[handle]
                return isinstance(call, ops.Forward) and len(inputs) == len(call.inputs)
            case ops.Build(), ops.Built():
                return True
            case ops.Collect(_, most), ops.Collected(cases):
                return len(cases) <= most + 1
            case ops.Step(_, gradients), ops.Stepped(parameters, kept, unchanged, trainable):
                told = (parameters, kept, unchanged, trainable)
                return {*map(len, told)} == {len(gradients)}
            case ops.Chain() | ops.Descend(), ops.Chained(outputs):
                return outputs.keys() <= self._outputs
            case _:
                return isinstance(operation, ops.Observe) and isinstance(reply, ops.Observed)

    def _explained(self, reply: ops.Reply, operation: ops.Operation) -> ops.Reply:
        """Say why a class is absent if a statement that should define it failed."""
        asked = ops.Forward | ops.Build | ops.Collect
        if isinstance(reply, ops.Absent) and isinstance(operation, asked):
            pair = self.source.pairs.get(operation.stage)
            functions = pair.functions if pair else ()
            for failed in self.definition.failed:
                if {operation.stage, *functions} & {*failed.defines}:
                    why = f"{failed.place} raised {failed.kind}: {failed.text}"
                    return replace(reply, reason=f"{reply.reason}, because {why}")
            if reply.reason.startswith("There is no class") and (
                near := self._like(operation.stage)
            ):
                return replace(reply, reason=f"{reply.reason}; the class {near} looks like it")
        return reply

    def _like(self, stage: str) -> str:
        """Return the class of the source whose name is most like a stage's, "" if none is."""
        cells = (*self.source.cells, *self.source.modules)
        known = [name for cell in cells for name in _CLASS.findall(cell.text)]
        inside = [name for name in known if stage.lower() in name.lower()]
        return next(iter(inside or get_close_matches(stage, known, n=1, cutoff=0.7)), "")

    def _ask(
        self, child: Child, request: Request, answers: int | None = None
    ) -> Iterator[FromChild]:
        """Send a request and yield the messages that come, each within the limits.

        Raise ChildLost whatever else the child does, and however it ends.
        """
        try:
            self._check_limits()
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
                    answers -= len(message.replies) if isinstance(message, Answers) else 1
        except ProtocolError:
            raise ChildLost("wrote to the grader's own channel") from None
        except ChannelTimeout:
            self._stopped_by_clock = True
            raise ChildLost("stopped reading what it was asked") from None
        except ChannelClosed:
            raise self._loss(child) from None

    def _await(self, child: Child) -> memoryview:
        """Return the next frame, within the limits of the call and of the submission."""
        while True:
            try:
                frame = child.channel.receive(wire.REPLY_LIMIT, GLANCE_SECONDS)
            except ChannelTimeout:
                frame = None
            self._budget.look(child)
            self._check_limits()
            if frame is not None:
                self._budget.answered(len(frame))
                return frame

    def _check_limits(self) -> None:
        """Raise ChildLost if a limit is passed. Nothing else decides that."""
        if (passed := self._budget.passed()) is None:
            return
        self._stopped_by_clock |= passed.by_clock
        if passed.whole:
            self._lost[WHOLE] = ops.Lost(f"was not run: the submission {passed.text}", whole=True)
        raise ChildLost(passed.text)

    def _loss(self, child: Child) -> ChildLost:
        """Return how a child that closed its channel has ended. Raise ChildLost for a limit."""
        self._child = None
        ended = child.end(grace=GRACE_SECONDS)
        self._budget.ended(ended.cpu_seconds)
        self._check_limits()
        if ended.excess:
            return ChildLost(ended.excess)
        if ended.killed:
            # It still runs, or is slow to end: wall-clock time decides.
            self._stopped_by_clock = True
            return ChildLost("closed the grader's own channel")
        if not ended.signal:
            return ChildLost("ended the process it ran in")
        # Real-time signals have numbers only.
        named = ended.signal in set(signal.Signals)
        name = signal.Signals(ended.signal).name if named else f"signal {ended.signal}"
        if name not in OUTSIDE:
            return ChildLost(f"crashed the process it ran in ({name})")
        self.kills[self._budget.part] = name
        why = ", most likely for lack of memory" if name == "SIGKILL" else ""
        again = ", in a second try too, alone" if self._second else ""
        return ChildLost(f"was killed by the system ({name}){why}{again}")

    def _end_child(self) -> None:
        if self._child is not None:
            child, self._child = self._child, None
            self._budget.ended(child.end().cpu_seconds)


def _follows(message: Started, before: Started | None) -> bool:
    """Return whether a statement can have started after another: in order, up to a limit."""
    least = 0 if before is None else before.index + 1
    return least <= message.index < MOST_STATEMENTS


def with_second_try(
    spawner: Spawner, source: Source, limits: Limits, judged: Callable[[RemoteCandidate], Verdict]
) -> Verdict:
    """Return what ``judged`` makes of a candidate that runs alone: of a second try if needed."""
    with RemoteCandidate(spawner, source, limits) as remote:
        verdict = judged(remote)
        if not remote.doubtful:
            return verdict
    with RemoteCandidate(spawner, source, limits, second=True) as remote:
        return judged(remote)
