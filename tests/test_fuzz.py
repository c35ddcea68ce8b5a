"""Whatever crosses the wall, either way: the judge judges on, and nobody else is harmed."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
from collections.abc import Callable, Sequence

import msgspec
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from grading.confined import orders, wire
from grading.confined.channel import LENGTH, Channel, ChannelClosed
from grading.confined.orders import End, Ended, Fork, Look
from grading.confined.spawner import Spawner
from grading.confined.wire import Define, Defined, Perform
from grading.parsing.source import Cell, Source
from grading.sandbox.remote import RemoteCandidate
from grading.sandbox.zygote import Connection
from harness.candidate.operations import (
    Backward,
    Forward,
    Lost,
    Operation,
    Output,
    Read,
    Returns,
    Unchanged,
)
from harness.candidate.workbench import Workbench
from harness.course.settings import Limits
from harness.judging.judge import judge
from harness.many_neurons import MANY_NEURONS
from tests import wired
from tests.test_remote import RIGHT, graded, source

LIMITS = Limits(call_seconds=0.3, submission_seconds=20.0)
ONES = torch.ones(2, 3, dtype=torch.float64)
OPERATIONS: list[Operation] = [
    Forward(1, "Sigmoid", (ONES,), (True,)),
    Backward(1, (ONES,)),
    Read(1),
]
ANSWERS = (Output, Returns, Unchanged)

Mutate = Callable[[bytes], bytes]


class ScriptedChild:
    """A child that answers as a right one does, and alters the bytes of its answers."""

    def __init__(self, mutate: Mutate) -> None:
        mine, theirs = socket.socketpair()
        self.channel = Channel(mine)
        self._thread = threading.Thread(target=self._serve, args=(theirs, mutate))
        self._thread.start()

    def cpu_seconds(self) -> float:
        return 0.0

    def end(self, grace: float = 0.0) -> Ended:
        self.channel.close()
        self._thread.join()
        return Ended(killed=False, exit_code=0, signal=None, cpu_seconds=0.0)

    def _serve(self, sock: socket.socket, mutate: Mutate) -> None:
        names: dict[str, object] = {}
        for cell in RIGHT:
            exec(cell, names)
        workbench = Workbench(names)
        channel = Channel(sock)
        with sock, contextlib.suppress(ChannelClosed, OSError):
            while True:
                request = wire.decode_request(channel.receive(wire.REQUEST_LIMIT))
                if isinstance(request, Define):
                    channel.send(wire.encode(Defined(request.call, [], "")))
                    continue
                assert isinstance(request, Perform)
                done = workbench.perform(list(wire.operations_of(request)))
                frame = wired.answers(request.call, 0, done)
                altered = mutate(LENGTH.pack(len(frame)) + frame)
                sock.sendall(altered)
                if altered[: LENGTH.size] != LENGTH.pack(len(frame)) or len(altered) < len(frame):
                    return


class Scripted(Spawner):
    """A spawner of such children."""

    def __init__(self, mutate: Mutate) -> None:
        self._mutate = mutate

    def child(
        self, memory_mib: int, cpu_seconds: float, modules: Sequence[str] = ()
    ) -> ScriptedChild:
        return ScriptedChild(self._mutate)

    def close(self) -> None:
        pass


def flipped(at: float, bit: int) -> Mutate:
    def mutate(frame: bytes) -> bytes:
        index = int(at * len(frame))
        return frame[:index] + bytes([frame[index] ^ 1 << bit]) + frame[index + 1 :]

    return mutate


def replaced(at: float, size: int, junk: bytes) -> Mutate:
    def mutate(frame: bytes) -> bytes:
        index = int(at * len(frame))
        return frame[:index] + junk + frame[index + size :]

    return mutate


def reframed(payload: bytes) -> Mutate:
    return lambda _: LENGTH.pack(len(payload)) + payload


def answering(**keys: object) -> Mutate:
    """A well-formed answer to the first call for answers, with other contents."""
    answer = {"type": "answers", "call": 2, "first": 0, "replies": []} | keys
    return reframed(msgspec.msgpack.encode(answer))


NUMBERS = st.floats(0, 1, exclude_max=True)
PLAIN = st.none() | st.booleans() | st.integers(-9, 9) | st.text() | st.binary()
REPLIES = st.dictionaries(st.text(), st.integers(-9, 9)) | st.tuples(
    st.sampled_from(["Output", "Returns", "Unchanged", "Chained", "Observed", "Raised", "Lost"]),
    *[st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=4), max_leaves=6)] * 3,
)
MUTATIONS = st.one_of(
    st.builds(flipped, NUMBERS, st.integers(0, 7)),
    st.builds(replaced, NUMBERS, st.integers(0, 50), st.binary(max_size=50)),
    st.builds(lambda at: lambda frame: frame[: int(at * len(frame))], NUMBERS),
    st.builds(lambda times: lambda frame: frame * times, st.integers(2, 5)),
    st.builds(reframed, st.binary(max_size=100)),
    st.builds(answering, replies=st.lists(REPLIES, max_size=3)),
)


@pytest.mark.slow
@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(MUTATIONS)
def test_whatever_a_child_answers_each_operation_has_a_reply(mutate):
    with RemoteCandidate(Scripted(mutate), source(*RIGHT), LIMITS) as remote:
        for _ in range(2):
            replies = remote.perform(OPERATIONS)
            assert len(replies) == len(OPERATIONS)
            for reply, kind in zip(replies, ANSWERS, strict=True):
                assert isinstance(reply, Lost | kind) or type(reply).__name__ in (
                    "Raised",
                    "Absent",
                )


HUGE = 2**32 - 1
NESTED = b"\x91" * 100_000 + b"\xc0"


@pytest.mark.parametrize(
    "mutate",
    [
        pytest.param(lambda _: LENGTH.pack(HUGE) + b"x" * 1000, id="a length of 4 GiB"),
        pytest.param(reframed(b""), id="an empty frame"),
        pytest.param(reframed(NESTED), id="arrays nested without end"),
        pytest.param(reframed(b"\xdd\xff\xff\xff\xff"), id="an array of 4 billion"),
        pytest.param(reframed(b"\xdf\xff\xff\xff\xff" + b"\xc0" * 99), id="a map of 4 billion"),
        pytest.param(reframed(b"\xc6\xff\xff\xff\xff"), id="4 GiB of binary data"),
        pytest.param(reframed(b"\xa5\xff\xff\xff\xff\xff"), id="text that is no UTF-8"),
        pytest.param(answering(call=1), id="an answer to an earlier call"),
        pytest.param(answering(replies=[["Output", [], False]]), id="an output without a value"),
        pytest.param(answering(replies=[["Output", [None, None], False]]), id="one that is two"),
        pytest.param(answering(call=-(2**63)), id="a call of a negative number"),
        pytest.param(answering(first=float("nan")), id="an index that is not a number"),
        pytest.param(answering(replies=[["Returns", [None] * 10**6]]), id="many"),
        pytest.param(lambda frame: frame + frame, id="an answer twice"),
    ],
)
def test_a_frame_made_to_harm_costs_its_sender_the_child_only(mutate):
    with RemoteCandidate(Scripted(mutate), source(*RIGHT), LIMITS) as remote:
        replies = remote.perform(OPERATIONS[:1]) + remote.perform(OPERATIONS[:1])
        assert isinstance(replies[-1], Lost)
        assert len(str(replies[-1].reason)) < 200


def test_a_frame_replayed_from_before_is_not_taken_for_an_answer():
    seen: list[bytes] = []

    def replay(frame: bytes) -> bytes:
        seen.append(frame)
        return seen[0]

    with RemoteCandidate(Scripted(replay), source(*RIGHT), LIMITS) as remote:
        assert not isinstance(remote.perform(OPERATIONS)[0], Lost)
        assert isinstance(remote.perform(OPERATIONS)[0], Lost)


@pytest.mark.slow
@settings(max_examples=10, suppress_health_check=[HealthCheck.too_slow])
@given(MUTATIONS)
def test_a_whole_report_comes_of_answers_altered_at_random(mutate):
    with RemoteCandidate(Scripted(mutate), source(*RIGHT), LIMITS) as remote:
        report = judge(MANY_NEURONS, remote).report
    assert report.score <= report.max_score
    assert all(check.message for check in report.checks if check.outcome in ("failed", "error"))


on_linux = pytest.mark.skipif(sys.platform != "linux", reason="children are forked on Linux only")


@on_linux
class TestTowardsTheChild:
    """The child's side has no more to lose than its submission, but must not outlive its use."""

    @pytest.mark.slow
    @settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(mutate=MUTATIONS)
    def test_a_request_altered_at_random_is_answered_or_ends_the_child(self, zygote, mutate):
        child = zygote.child(512, 5.0)
        frame = wire.encode(Define(1, Source((Cell("a.py", "x = 1"),), notebook=False), [], None))
        with contextlib.suppress(ChannelClosed):
            child.channel._socket.sendall(mutate(LENGTH.pack(len(frame)) + frame))
            child.channel._socket.shutdown(socket.SHUT_WR)
            while True:
                child.channel.receive(wire.REPLY_LIMIT, 60.0)
        ended = child.end(grace=60.0)
        assert not ended.killed and ended.signal is None

    @pytest.mark.slow
    @pytest.mark.parametrize("payload", [b"", NESTED, b"\xdd\xff\xff\xff\xff", b"\xa1\xff"])
    def test_a_request_that_is_none_ends_the_child(self, zygote, payload):
        child = zygote.child(512, 5.0)
        child.channel.send(payload)
        with pytest.raises(ChannelClosed):
            child.channel.receive(wire.REPLY_LIMIT, 60.0)
        assert child.end(grace=60.0).exit_code == 1

    @pytest.mark.slow
    def test_a_request_over_the_cap_is_not_read(self, zygote):
        child = zygote.child(512, 5.0)
        child.channel._socket.sendall(LENGTH.pack(HUGE))
        with pytest.raises(ChannelClosed):
            child.channel.receive(wire.REPLY_LIMIT, 60.0)
        assert child.end(grace=60.0).exit_code == 1


@on_linux
class TestTowardsTheWarmProcess:
    """Only the grader's own processes reach it; a broken one must not take the others along."""

    @pytest.mark.slow
    @pytest.mark.parametrize(
        "junk",
        [
            pytest.param(b"\xff" * 100, id="no message"),
            pytest.param(b"\xa1\xff", id="no UTF-8"),
            pytest.param(orders.encode(Look(7)), id="a look at a child that is not there"),
            pytest.param(orders.encode(End(7, 0.0)), id="the end of a child that is not there"),
            pytest.param(orders.encode(Fork(1, 512, 5)), id="a fork without a socket"),
        ],
    )
    def test_an_order_that_is_none_ends_its_own_supervisor_only(self, zygote, junk):
        with Connection(zygote.door) as line:
            child = line.child(512, 5.0)
            other, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with other, theirs:
                other.settimeout(60)
                socket.send_fds(zygote.door, [orders.KNOCK], [theirs.fileno()])
                theirs.close()
                other.send(junk)
                assert other.recv(100) == b""
            child.channel.send(
                wire.encode(Define(1, Source((Cell("a.py", "x = 1"),), notebook=False), [], None))
            )
            assert child.channel.receive(wire.REPLY_LIMIT, 60.0)
            child.end()
        report, _ = graded(zygote, *RIGHT)
        assert report.passed
