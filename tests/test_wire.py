"""What crosses the wire comes out as it went in, or is refused."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from grading.confined import tensors, wire
from grading.confined.channel import Channel, ChannelClosed, ChannelTimeout, ProtocolError
from harness.candidate.operations import (
    Absent,
    Backward,
    Chain,
    Chained,
    Descend,
    Forward,
    Link,
    Observe,
    Observed,
    Other,
    Returns,
    Seen,
)
from harness.candidate.values import same
from tests.wired import answered, answers, asked

DTYPES = ["float64", "float32", "float16", "bfloat16", "int64", "uint8", "bool", "complex64"]


@given(st.lists(st.integers(0, 4), max_size=4), st.sampled_from(DTYPES), st.integers(0, 2**31))
def test_tensors_survive_both_ways(shape, dtype, seed):
    generator = torch.Generator().manual_seed(seed)
    several = (10 * torch.randn((3, *shape), generator=generator)).to(getattr(torch, dtype))
    for given_tensors in (several[:1], several):
        sent = tuple(given_tensors.unbind())
        (backward,), (returns,) = asked([Backward(1, sent)]), answered([Returns(sent)])
        for values in (backward.upstream, returns.values):
            for back, value in zip(values, sent, strict=True):
                assert back.dtype == value.dtype and back.shape == value.shape
                assert torch.equal(back, value)
                assert back.stride() == value.stride() or not value.numel()


def test_layout_survives():
    value = torch.arange(12.0).reshape(3, 4)
    for each in (value.T, value[:, ::2], value[:1].expand(5, 4), torch.ones(()).expand(3, 2)):
        ((back, again, other),) = (op.upstream for op in asked([Backward(1, (each, each, -each))]))
        assert torch.equal(back, each) and torch.equal(again, each) and torch.equal(other, -each)
        assert back.stride() == each.stride() or each.numel() == back.numel() == 1


def test_nan_and_infinity_survive():
    value = torch.tensor([float("nan"), float("inf"), -0.0])
    (backward,), (returns,) = asked([Backward(1, (value,))]), answered([Returns((value,))])
    for back in (*backward.upstream, *returns.values):
        assert torch.equal(back.view(torch.int32), value.view(torch.int32))


def test_values_that_torch_has_not_worked_out_yet_survive():
    lazy = torch.tensor([1 + 2j, 3 - 4j]).conj()
    for values in ((lazy,), (lazy, lazy), (lazy.imag,), (lazy.imag, torch.ones(2))):
        (backward,), (returns,) = asked([Backward(1, values)]), answered([Returns(values)])
        assert all(map(torch.equal, backward.upstream, values))
        assert all(map(torch.equal, returns.values, values))


def test_tensors_of_any_layout_are_answered_row_major():
    image = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    for values in ((image,), (image, image), (image[0], image[1]), (image.mT, image.mT)):
        (returns,) = answered([Returns(values)])
        for back, value in zip(returns.values, values, strict=True):
            assert torch.equal(back, value) and back.is_contiguous()


def test_an_input_that_comes_again_is_sent_once_and_a_reply_never_comes_twice():
    x = torch.ones(3, 4, dtype=torch.float64)
    operations = [Forward(at, "Sigmoid", (x, x), (True, True)) for at in range(5)]
    (stack,) = wire.performing(1, operations, at_once=False).stacks
    assert stack.count == 1
    message: Any = wire.decode_from_child(answers(1, 0, [Returns((x, x))]))
    assert [stack.count for stack in message.stacks] == [2]


def test_who_keeps_a_tensor_of_a_reply_does_not_keep_the_others():
    (returns,) = answered([Returns(tuple(torch.ones(100, 1000)))])
    assert {each.untyped_storage().nbytes() for each in returns.values} == {4000}


def test_operations_survive():
    x = torch.ones(2, 3, dtype=torch.float64)
    operations: list[Any] = [
        Forward(1, "Sigmoid", (x.T,), (True,)),
        Backward(1, (x, None)),
        Chain((Link("Sigmoid", ("z",), ("a",)),), {"z": x}, ("a",), ("z",), {"a": 0.5}),
        Descend(0.25, {"z": 2 * x}),
        Observe("Sigmoid", (x,), (False,), (3 * x,), (True,)),
    ]
    made: list[Any] = asked(operations)
    forward, backward, chain, descend, testify = made
    assert forward.inputs[0].stride() == x.T.stride()
    assert torch.equal(backward.upstream[0], x) and backward.upstream[1] is None
    assert chain.links == operations[2].links and chain.costs == {"a": 0.5}
    assert descend.rate == 0.25 and torch.equal(descend.tensors["z"], 2 * x)
    assert testify.stage == "Sigmoid"
    assert (testify.requires_grad, testify.required) == ((False,), (True,))
    assert torch.equal(testify.inputs[0], x) and torch.equal(testify.upstream[0], 3 * x)


shapes = st.lists(st.integers(0, 4), max_size=4)
any_tensor = st.builds(
    lambda shape, dtype, seed: (
        10 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    ).to(getattr(torch, dtype)),
    shapes,
    st.sampled_from(DTYPES),
    st.integers(0, 2**31),
)


@given(st.dictionaries(st.text(max_size=3), any_tensor, max_size=5))
def test_tensors_by_name_survive_both_ways(given_tensors):
    turned = {name: value.mT if value.dim() > 1 else value for name, value in given_tensors.items()}
    chain, descend = asked([Chain((), turned, ()), Descend(0.5, turned)])
    (chained,) = answered([Chained(turned, 0.0, None)])
    for back in (chain.tensors, descend.tensors, chained.outputs):
        assert back.keys() == turned.keys()
        for name, value in turned.items():
            assert back[name].dtype == value.dtype and torch.equal(back[name], value)


@given(
    st.lists(st.floats() | st.none(), min_size=1, max_size=20),
    st.dictionaries(st.text(), any_tensor),
)
def test_answers_that_wait_for_each_other_arrive_in_order(costs, outputs):
    replies: list[Any] = [
        Absent("no cost")
        if cost is None
        else Chained(outputs, cost, torch.full((3,), cost, dtype=torch.float64))
        for cost in costs
    ]
    for back, reply in zip(answered(replies), replies, strict=True):
        assert type(back) is type(reply)
        if isinstance(reply, Chained) and reply.gradient is not None:
            assert repr(back.cost) == repr(reply.cost)
            assert torch.equal(back.gradient.isnan(), reply.gradient.isnan())
            assert torch.equal(back.gradient.nan_to_num(), reply.gradient.nan_to_num())
            assert back.outputs.keys() == outputs.keys()


any_value = st.recursive(
    any_tensor
    | st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=tensors.MOST_LETTERS),
    lambda inner: st.lists(inner, max_size=4).map(tuple),
    max_leaves=6,
)


def depth(value) -> int:
    return 1 + max(map(depth, value), default=0) if isinstance(value, tuple) else 0


def are_alike(one, other) -> bool:
    """Of the same types too: 1 is not 1.0 and not True; but a nan is like another."""
    if type(one) is not type(other):
        return False
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(are_alike, one, other))
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and same(one, other)
    return repr(one) == repr(other)


@given(st.lists(any_value, max_size=4).map(tuple), st.dictionaries(st.text(max_size=3), any_value))
def test_values_of_every_kind_survive(inputs, named):
    flags = (True,) * len(inputs)
    operations: list[Any] = [
        Forward(1, "Conv2d", inputs, flags),
        Observe("Conv2d", inputs, flags, (None,), flags),
        Chain((), {}, (), given=named),
    ]
    if max(map(depth, (*inputs, *named.values())), default=0) > tensors.MOST_DEPTH:
        with pytest.raises(ProtocolError):
            asked(operations)
        return
    forward, observe, chain = asked(operations)
    assert are_alike(forward.inputs, inputs) and are_alike(observe.inputs, inputs)
    assert chain.given.keys() == named.keys()
    assert all(are_alike(chain.given[name], value) for name, value in named.items())


@pytest.mark.parametrize("value", ["x" * 1001, (0,) * 101, ((((),),),)])
def test_values_over_the_caps_are_not_sent(value):
    with pytest.raises(ProtocolError):
        asked([Forward(1, "Conv2d", (value,), (False,))])


@pytest.mark.parametrize(
    "sent",
    [
        "x" * 1001,
        {"items": [0] * 101},
        {"items": [{"items": [{"items": [{"items": []}]}]}]},
        {"items": 1},
        {"kind": "list"},
        {},
        b"bytes",
        [0, 1],
        [1, 0],
        [0, -1],
        [0],
    ],
)
def test_malformed_values_are_refused(sent):
    data = msgspec.msgpack.encode(("Forward", 1, "Conv2d", [sent], [True]))
    stacks = [tensors.Stack("float64", (), 1, memoryview(b"\0" * 8))]
    with pytest.raises(ProtocolError):
        list(wire.operations_of(wire.Perform(1, [msgspec.Raw(data)], False, stacks)))


def test_replies_tell_tensor_none_and_other_apart():
    reply = Returns((torch.ones(2), None, Other("list")))
    (back,) = answered([reply])
    assert torch.equal(back.values[0], torch.ones(2))
    assert back.values[1] is None and back.values[2] == Other("list")


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (torch.ones((1,) * 20), "tensor of 20 dimensions"),
        (torch.empty(0, 2**40), "tensor of 2 dimensions"),
        (torch.ones(2**21), "tensor of 2097152 numbers"),
    ],
)
def test_a_tensor_over_the_caps_is_told_as_one(value, told):
    (back,) = answered([Returns((value.double(),))])
    assert back == Returns((Other(told),))


def test_introspection_survives_but_for_the_code_which_stands_in_the_source():
    seen = Seen("aten.mul", "line 3", "a * b")
    told = Observed((seen,), (), (seen, seen), (), "MulBackward0", True, (torch.ones(2), None))
    (back,) = answered([told])
    sent = Seen("aten.mul", "line 3")
    assert (back.named, back.packed, back.dispatched) == ((sent,), (sent, sent), ())
    assert (back.built_in, back.on_ctx) == ("MulBackward0", True)
    assert torch.equal(back.second[0], torch.ones(2)) and back.second[1] is None
    (refusing,) = answered([Observed(second=None)])
    assert refusing.second is None


def test_introspection_without_end_is_cut_off_or_refused():
    seen = Seen("x" * 10_000, "line 3")
    (cut,) = answered([Observed((seen,) * 10_000, built_in="x" * 10_000)])
    assert len(cut.named) == wire.MOST_SEEN
    assert len(cut.named[0].what) == len(cut.built_in) == wire.MOST_LETTERS
    longer = "x" * (wire.MOST_LETTERS + 1)
    for named, built_in in (([(longer, "")], ""), ([("x", "")] * 101, ""), ([], longer)):
        assert refused("Observed", named, [], [], [], built_in, False, None)
    assert refused("Observed", [], [], [], [], "", False, [None] * 101)
    assert not refused("Observed", [("x", "line 1")] * 100, [], [], [], "x", False, [None] * 100)


@pytest.mark.parametrize(
    "reply",
    [
        ("Lost", "did not finish", True),
        ("Forward", 1, "Sigmoid", [], []),
        ("Output", [1.0], False, ("", 0)),
        ("Output", [{"kind": 1}], False, ("", 0)),
        ("Output", [[0, 0]], False, ("", 0)),
        ("Output", [None] * 101, True, ("", 0)),
        ("Output", None, False, ("", 0)),
        ("Returns", [None] * 101, ("", 0)),
        ("Returns", [[[[None]]]], ("", 0)),
        ("Returns", [None], ("", "many")),
        ("Unchanged", [1], [], True),
        ("Chained", {"a": [0, 0]}, 0.0, None),
        ("Chained", {str(name): [0, 0] for name in range(tensors.MOST_NAMES + 1)}, 0.0, None),
        ("Chained", [], 0.0, None),
        ("Chained", {}, "0", None),
        ("Chained", {}, 0.0, {"kind": "list"}),
        ("Raised", "ValueError", "text"),
        ("Raised",),
        (),
    ],
)
def test_replies_of_other_types_or_sizes_are_refused(reply):
    assert refused(*reply)


@pytest.mark.parametrize("data", [b"\x81\xa4kind\xa4list", b"\x91" * 100_000, b""])
def test_replies_of_another_form_are_refused(data):
    assert refused_as(data)


def refused(*reply, stacks=()) -> bool:
    return refused_as(msgspec.msgpack.encode(reply), stacks)


def refused_as(data: bytes, stacks=()) -> bool:
    try:
        list(wire.replies_of(wire.Answers(1, 0, [msgspec.Raw(data)], list(stacks))))
    except ProtocolError:
        return True
    return False


MALFORMED = [
    tensors.Stack("float64", (2,), 1, memoryview(b"\0" * 8)),
    tensors.Stack("float64", (2,), 2, memoryview(b"\0" * 16)),
    tensors.Stack("float64", (-1,), 1, memoryview(b"")),
    tensors.Stack("float64", (-1, -2), 1, memoryview(b"\0" * 16)),
    tensors.Stack("float64", (-1,), 0, memoryview(b"")),
    tensors.Stack("float64", (1,) * 40, 1, memoryview(b"\0" * 8)),
    tensors.Stack("float64", (0, 2**62, 2**62), 1, memoryview(b"")),
    tensors.Stack("float64", (2**70, 0), 1, memoryview(b"")),
    tensors.Stack("float64", (1,), 1, memoryview(b"\0" * 7)),
]


@pytest.mark.parametrize("answered", [False, True])
@pytest.mark.parametrize("stack", MALFORMED)
def test_malformed_tensors_are_refused(stack, answered):
    with pytest.raises(ProtocolError):
        tensors.Unpacking([stack], answered=answered)


@given(
    st.lists(st.integers(-2, 2**64), max_size=4).map(tuple),
    st.integers(0, 2**64),
    st.sampled_from(DTYPES),
    st.binary(max_size=64),
)
def test_any_stack_is_tensors_or_refused(shape, count, dtype, data):
    try:
        made = tensors.Unpacking(
            [tensors.Stack(dtype, shape, count, memoryview(data))], answered=True
        )
    except ProtocolError:
        return
    for index in range(count):
        assert made.at(tensors.At(0, index)).shape == shape
        with pytest.raises(ProtocolError):
            made.at(tensors.At(0, index))
    with pytest.raises(ProtocolError):
        made.at(tensors.At(0, count))


def test_tensors_without_values_cannot_be_too_many():
    empty = memoryview(b"")
    stacks = [tensors.Stack("float64", (0,), tensors.MOST_TENSORS, empty)]
    tensors.Unpacking(stacks, answered=True)
    with pytest.raises(ProtocolError):
        tensors.Unpacking([*stacks, tensors.Stack("bool", (0,), 1, empty)], answered=True)


def test_a_child_cannot_lay_its_tensors_out():
    for strides in (None, (2**40,)):
        stacks = [tensors.Stack("float64", (2,), 1, memoryview(b"\0" * 16), strides)]
        assert (
            refused("Returns", [[0, 0]], ("", 0), stacks=stacks)
            == refused("Chained", {}, 0.0, [0, 0], stacks=stacks)
            == bool(strides)
        )


def test_a_child_cannot_send_a_tensor_once_and_have_it_looked_at_often():
    stacks = [tensors.Stack("float64", (2,), 1, memoryview(b"\0" * 16))]
    assert not refused("Returns", [[0, 0], None], ("", 0), stacks=stacks)
    assert refused("Returns", [[0, 0], [0, 0]], ("", 0), stacks=stacks)


def test_answers_without_replies_are_refused():
    with pytest.raises(ProtocolError):
        wire.decode_from_child(answers(1, 0, []))


@pytest.mark.parametrize(
    "frame",
    [
        b"\x84\xa4type\xa7started\xa4call\x01\xa5index\x00\xa5place\xa1\xff",
        b"\x84\xa4type\xa1\xff\xa4call\x01\xa5index\x00\xa5place\xa0",
    ],
)
def test_text_that_is_no_utf_8_is_refused(frame):
    with pytest.raises(ProtocolError):
        wire.decode_from_child(frame)


@given(st.binary(max_size=200))
def test_any_bytes_from_a_child_are_a_message_or_refused(data):
    try:
        message = wire.decode_from_child(data)
    except ProtocolError:
        return
    assert isinstance(message, wire.FromChild)


@contextmanager
def pair():
    mine, theirs = socket.socketpair()
    with mine, theirs:
        yield Channel(mine), Channel(theirs), theirs


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_frames_arrive_whole_and_in_order(frames):
    with pair() as (mine, theirs, _):
        for frame in frames:
            theirs.send(frame)
        assert [mine.receive(1000, 1) for _ in frames] == frames
        assert not mine.has_unread()
        theirs.close()
        with pytest.raises(ChannelClosed):
            mine.receive(1000, 1)


def test_a_frame_over_the_cap_is_refused_before_it_is_read():
    with pair() as (mine, _, raw):
        raw.sendall(b"\xff\xff\xff\xff")
        with pytest.raises(ProtocolError, match="4294967295"):
            mine.receive(1000, 1)


def test_half_a_frame_waits_no_longer_than_the_deadline_and_is_kept():
    with pair() as (mine, _, raw):
        raw.sendall(b"\0\0\0\x04ab")
        with pytest.raises(ChannelTimeout):
            mine.receive(1000, 0.05)
        assert mine.has_unread()
        raw.sendall(b"cd")
        assert mine.receive(1000, 1) == b"abcd"
