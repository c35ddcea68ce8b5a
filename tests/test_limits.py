"""Every limit × every operation × every phase of an exchange ends in a reply with a reason."""

from __future__ import annotations

import contextlib
import itertools
import socket
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from grading.confined import wire
from grading.confined.channel import LENGTH, Channel, ChannelClosed, ChannelTimeout
from grading.confined.orders import Ended
from grading.confined.wire import Define, Defined, Parse, Parsed, Perform, Started
from grading.parsing.choosing import source_of
from grading.parsing.source import File, Unreadable, read_source
from grading.sandbox import Spawner, SpawnerError, budget, can_fork, reader
from grading.sandbox.reader import Reader
from grading.sandbox.remote import RemoteCandidate
from grading.submissions.reading import Submission
from grading.workers.grader import grade_submission
from harness.candidate.operations import (
    Backward,
    Chain,
    Descend,
    Forward,
    Link,
    Lost,
    Observe,
    Read,
)
from harness.candidate.workbench import Workbench
from harness.course.settings import Limits, Settings
from tests import wired
from tests.test_remote import MANY_NEURONS, RIGHT

pytestmark = pytest.mark.slow

LIMITS = Limits(call_seconds=5.0, submission_seconds=20.0)
SHARE = budget.STAGE_SHARE * LIMITS.submission_seconds
CODE = "".join(RIGHT)
ONES = torch.ones(2, 3, dtype=torch.float64)
KILLED = Ended(killed=True, exit_code=None, signal=9, cpu_seconds=0.0)


@dataclass(frozen=True)
class Fault:
    """What a child does: what it sends in place of a reply, what it uses, how it ends."""

    sends: bytes = b""
    cpu: float = 0.0
    clock: float = 0.0
    closes: bool = False
    reads: bool = True
    ended: Ended = KILLED


def died(signal=None, exit_code=None):
    return Fault(closes=True, ended=Ended(False, exit_code, signal, 0.0))


FAULTS = {
    "processor time of a call": Fault(cpu=LIMITS.call_seconds + 0.1),
    "processor time of the submission": Fault(cpu=LIMITS.submission_seconds + 1),
    "processor time of a part": Fault(cpu=SHARE + 0.1),
    "waiting": Fault(),
    "the clock": Fault(clock=1e5),
    "output": Fault(),  # with a limit that the first frame passes
    "the size of a frame": Fault(sends=LENGTH.pack(2**32 - 1)),
    "a malformed frame": Fault(sends=LENGTH.pack(5) + b"\xff" * 5),
    "bytes that nobody asked for": Fault(sends=b"x" * 99),
    "memory, as Python notices": died(exit_code=1),
    "memory, as the kernel notices": died(signal=9),
    "a signal from outside": died(signal=15),
    "a crash": died(signal=11),
    "a closed channel": Fault(closes=True),
    "a request that is not read": Fault(reads=False),
}
# What no file can do to the child that reads it, and what only one can.
FROM_OUTSIDE = (
    *("waiting", "the clock", "a request that is not read"),
    *("memory, as the kernel notices", "a signal from outside"),
)
OF_A_FILE = ("memory, as Python notices", "a crash", "a closed channel")
PHASES = ("before the reply", "in the reply", "after the reply", "while it ends", "after its end")
ENDING = PHASES[3:]
LINKS = (Link("Sigmoid", ("z",), ("a",)), Link("SquaredError", ("a", "y"), ("C",)))
TENSORS = {"z": ONES, "y": ONES / 2}
OPERATIONS = {
    "Define": (),
    "Forward": (Forward(1, "Sigmoid", (ONES,), (True,)),),
    "Backward": (Forward(1, "Sigmoid", (ONES,), (True,)), Backward(1, (ONES,))),
    "Read": (Forward(1, "Sigmoid", (ONES,), (True,)), Read(1)),
    "Chain": (Chain(LINKS, TENSORS, ("a",), ("z",), {"C": 1.0}),),
    "Descend": (Chain(LINKS, TENSORS, ("a",), ("z",), {"C": 1.0}), Descend(0.1, {})),
    "Observe": (Observe("Sigmoid", (ONES,), (True,), (ONES,), (True,)),),
}


class Clock:
    """Time that passes when a child says so."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now


class ScriptedChannel(Channel):
    """The judge's end of a real socket whose other end answers as soon as it is asked."""

    def __init__(self, sock, child):
        super().__init__(sock)
        self._child = child

    def send(self, payload, timeout=None):
        self._child.is_sent(payload, timeout)

    def receive(self, limit, timeout=None):
        while True:
            more = self._child.sends_more()
            try:
                return super().receive(limit, 1e-4)
            except ChannelTimeout:
                if not more:
                    self._child.clock.now += timeout
                    raise


class ScriptedChild:
    """Answers as a right child does, but for a fault in one phase of one kind of operation."""

    def __init__(self, clock, name, operation, phase):
        self.clock = clock
        mine, self._mine = socket.socketpair()
        self.channel = ScriptedChannel(mine, self)
        self._name, self._fault = name, FAULTS[name]
        self._operation, self._phase = operation, phase
        self._mine.setblocking(False)
        self._cpu = 0.0
        self._waiting = b""
        self._closes = False
        self._ended = KILLED
        self._parse: Parse | None = None
        self._files: list[File] = []
        names: dict[str, object] = {}
        exec(CODE, names)
        self._workbench = Workbench(names)

    def cpu_seconds(self):
        return self._cpu

    def end(self, grace=0.0):
        if self._phase in ENDING and self._is_gone():
            self._use()
        self.channel.close()
        self._mine.close()
        how = self._ended
        return Ended(how.killed, how.exit_code, how.signal, self._cpu)

    def is_sent(self, payload, timeout):
        """A file follows the request that names it."""
        if self._parse is None:
            request = wire.decode_request(payload)
            if not isinstance(request, Parse):
                self.is_asked(request, timeout)
                return
            self._parse, self._files = request, []
        else:
            self._files.append(File(self._parse.names[len(self._files)], payload))
        if len(self._files) == len(self._parse.names):
            request, self._parse = self._parse, None
            self.is_asked(request, timeout)

    def is_asked(self, request, timeout):
        if self._is_gone():
            raise ChannelClosed
        answer = self._answer(request)
        if self._operation not in _names(request):
            self._send(answer)
            return
        if not self._fault.reads:
            self.clock.now += timeout
            raise ChannelTimeout
        sent = {
            "before the reply": b"",
            "in the reply": answer[: len(answer) // 2],
            "while it ends": b"",
        }.get(self._phase, answer)
        if self._name == "output":
            sent = answer
        if self._phase not in ENDING:
            self._use()
        if self._fault.closes or self._phase in ENDING:
            self._ended = self._fault.ended
            self._closes = True
        self._send(sent + self._fault.sends)

    def _send(self, data):
        self._waiting += data
        self.sends_more()

    def sends_more(self):
        """Sends what fits into the socket, and says whether that was any."""
        sent = 0
        if self._waiting:
            with contextlib.suppress(BlockingIOError):
                sent = self._mine.send(self._waiting)
            self._waiting = self._waiting[sent:]
        if self._closes and not self._waiting:
            self._mine.close()
        return sent > 0

    def _is_gone(self):
        return self._mine.fileno() < 0

    def _use(self):
        self._cpu += self._fault.cpu
        self.clock.now += self._fault.clock

    def _answer(self, request):
        frames: list[bytes] = []
        match request:
            case Parse(call):
                frames = [wire.encode(Parsed(call, source_of(self._files)))]
            case Define(call):
                frames = [
                    wire.encode(Started(call, 0, "line 1")),
                    wire.encode(Defined(call, [], "")),
                ]
            case Perform(call):
                done = self._workbench.perform(list(wire.operations_of(request)))
                frames = [wired.answers(call, 0, done)]
        return b"".join(LENGTH.pack(len(frame)) + frame for frame in frames)


def _names(request):
    if isinstance(request, Perform):
        return {type(each).__name__ for each in wire.operations_of(request)}
    return {type(request).__name__}


class Scripted(Spawner):
    """A spawner whose children are all alike, or only the first of them."""

    def __init__(self, clock, name, operation, phase, *, all_alike):
        self._script = (clock, name, operation, phase)
        self._right = (clock, name, "nothing", phase)
        self._all_alike = all_alike
        self._born = 0

    def close(self):
        pass

    def child(self, memory_mib, cpu_seconds, modules=()):
        self._born += 1
        return ScriptedChild(*(self._script if self._all_alike or self._born == 1 else self._right))


@pytest.mark.parametrize("all_alike", [False, True], ids=["the first child", "every child"])
@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_whatever_ends_a_child_each_operation_has_a_reply(
    monkeypatch, operation, name, phase, all_alike
):
    clock = Clock()
    monkeypatch.setattr(budget, "time", clock)
    if name == "output":
        monkeypatch.setattr(budget, "OUTPUT_LIMIT", 10)
    spawner = Scripted(clock, name, operation, phase, all_alike=all_alike)
    with RemoteCandidate(spawner, read_source("a.py", CODE.encode()), LIMITS) as remote:
        asked = [*OPERATIONS[operation], *OPERATIONS["Backward"], *OPERATIONS["Descend"]]
        for each in (*asked, *asked):
            (reply,) = remote.perform([each])
            if isinstance(reply, Lost):
                assert reply.reason and "None" not in reply.reason
        if remote.definition.unusable:
            assert isinstance(reply, Lost)


@pytest.mark.parametrize(
    "all_alike",
    [
        pytest.param(False, id="the first child"),
        pytest.param(True, id="every child", marks=pytest.mark.proof),
    ],
)
@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("name", FAULTS)
def test_whatever_ends_a_child_that_reads_a_file_is_code_or_has_a_reason(
    monkeypatch, name, phase, all_alike
):
    clock = Clock()
    monkeypatch.setattr(reader, "time", clock)
    monkeypatch.setattr(reader, "SECONDS", LIMITS.call_seconds)
    spawner = Scripted(clock, name, "Parse", phase, all_alike=all_alike)
    file = File("a.py", CODE.encode())
    with Reader(spawner) as one:
        for _ in range(2):
            try:
                assert one.source([file]) == read_source(file.name, file.data)
            except Unreadable:
                closed = phase in ENDING and FAULTS[name].ended is KILLED
                assert closed or name not in FROM_OUTSIDE
                assert all_alike or name.startswith("processor time")
            except SpawnerError:
                assert name not in OF_A_FILE
                assert all_alike


EACH = list(itertools.product(FAULTS, PHASES))


@pytest.mark.slow
@pytest.mark.parametrize(("at", "name", "phase"), [(n, *each) for n, each in enumerate(EACH)])
def test_whatever_ends_a_child_its_submission_has_a_mark_with_a_reason(
    monkeypatch, at, name, phase
):
    clock = Clock()
    monkeypatch.setattr(budget, "time", clock)
    if name == "output":
        monkeypatch.setattr(budget, "OUTPUT_LIMIT", 10)
    operation = list(OPERATIONS)[at % len(OPERATIONS)]
    spawner = Scripted(clock, name, operation, phase, all_alike=True)
    work = Submission("alice", "", source=read_source("a.py", CODE.encode()))
    result = grade_submission(work, MANY_NEURONS, Settings(limits=LIMITS), 0, spawner).result
    assert result.score is not None
    if result.status == "unreadable":
        assert result.score == 0 and result.reason
    else:
        assert result.status == "graded"
        for check in result.checks:
            assert check.outcome in ("passed", "not_run") or check.message


FLOOD = f"""
import os, struct, sys
import msgspec
def flood():
    frame = sys._getframe()
    while frame.f_code.co_name != "_define":
        frame = frame.f_back
    call = frame.f_locals["request"].call
    for index in range(99, {101 + budget.OUTPUT_LIMIT // 2**23}):
        news = {{"type": "started", "call": call, "index": index, "place": " " * 2**23}}
        frame.f_locals["channel"].send(msgspec.msgpack.encode(news))
    os._exit(0)
flood()
"""


@pytest.mark.slow
@pytest.mark.skipif(not can_fork(), reason="children are forked on Linux only")
def test_output_without_end_has_its_mark_at_every_try(zygote):
    for _ in range(2):
        with RemoteCandidate(
            zygote, read_source("a.py", (CODE + FLOOD).encode()), Limits()
        ) as remote:
            assert "sent more than a submission may" in remote.definition.unusable
            (reply,) = remote.perform(OPERATIONS["Forward"])
            assert isinstance(reply, Lost) and "sent more than a submission may" in reply.reason


class Computing:
    """A child that has used some processor time."""

    used = 0.0

    def cpu_seconds(self):
        return self.used


def kept_to_its_time(monkeypatch, share, limits):
    """The limit that ends a child that computes for a share of each second it answers in, and for
    how many seconds it was waited for."""
    clock = Clock()
    monkeypatch.setattr(budget, "time", clock)
    spent = budget.Budget(limits)
    child: Any = Computing()
    for waited, part in enumerate(itertools.cycle("ABCDEF")):
        spent.turn_to(part)
        clock.now += 1.0
        child.used += share
        spent.look(child)
        if passed := spent.passed():
            return passed, waited
        spent.answered(10)
        clock.now += 5.0  # of the judge's own
    raise AssertionError("for ever")


@pytest.mark.parametrize("share", [0.03, 0.07, 0.2])
def test_the_clock_ends_what_computes_a_little(monkeypatch, share):
    passed, waited = kept_to_its_time(monkeypatch, share, Limits(1.5, 8.0))
    assert passed.whole and passed.by_clock and waited == 32
    assert "32 seconds by the clock" in passed.text


def test_what_waits_has_a_share_for_each_part_and_a_limit_in_all(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(budget, "time", clock)
    spent = budget.Budget(Limits(1.0, 100.0))
    child: Any = Computing()

    def waits(part):
        """Two seconds, in two calls, and what that leads to."""
        for _ in range(2):
            spent.turn_to(part)
            clock.now += 1.0
            spent.look(child)
        return spent.passed()

    assert not waits("demonstrations") and not waits("demonstrations")
    passed = waits("demonstrations")
    assert passed and passed.by_clock and not passed.whole
    assert "4 seconds, the most one part may" in passed.text
    assert not waits("Sigmoid")
    passed = waits("SquaredError")
    assert passed and passed.by_clock and passed.whole
    assert "8 seconds in all" in passed.text


def test_on_half_a_core_processor_time_decides(monkeypatch):
    passed, _ = kept_to_its_time(monkeypatch, 0.5, Limits(1.5, 8.0))
    assert "used up the submission's 8 seconds" in passed.text and not passed.by_clock
