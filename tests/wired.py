"""Operations and replies across the wire, without processes on either side of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from grading.confined import wire
from harness.candidate.operations import Operation, Reply


def asked(operations: Sequence[Operation]) -> list[Any]:
    """The operations as a child gets them."""
    request = wire.performing(1, operations, at_once=False)
    received = wire.decode_request(memoryview(bytearray(wire.encode(request))))
    assert isinstance(received, wire.Perform)
    return list(wire.operations_of(received))


def answers(call: int, first: int, replies: Sequence[Reply]) -> bytes:
    """The frame with which a child answers."""
    kept = wire.Replies()
    for reply in replies:
        kept.add(reply)
    return kept.answers(call, first)


def answered(replies: Sequence[Reply]) -> list[Any]:
    """The replies as the judge gets them."""
    back: list[Any] = []
    for first in range(0, len(replies), wire.MOST_REPLIES):
        part = replies[first : first + wire.MOST_REPLIES]
        message = wire.decode_from_child(answers(1, first, part))
        assert isinstance(message, wire.Answers)
        back += wire.replies_of(message)
    return back
