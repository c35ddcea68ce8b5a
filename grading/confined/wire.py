"""What goes over the wire: typed messages of plain data. Nothing that arrives is executed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Literal
from weakref import WeakKeyDictionary

import msgspec
import torch
from torch import Tensor

from grading.confined.channel import ProtocolError
from grading.confined.features import Details
from grading.confined.source import CODE_LIMIT, Source
from harness.candidate import operations as candidate
from harness.candidate.operations import Link, Operation, Other, Reply, Returned
from harness.candidate.workbench import copy_with_layout

REQUEST_LIMIT = 64 * 1024 * 1024
REPLY_LIMIT = 16 * 1024 * 1024
PARSED_LIMIT = CODE_LIMIT + 2 * 1024 * 1024
TENSOR_LIMIT = 8 * 1024 * 1024
MOST_DIMENSIONS = 16
MOST_REPLIES = 10_000
MOST_BUNDLES = 12  # one for each dtype
# Tensors by name in one bundle, and what one backward returns: more would take up far more memory
# here than their bytes do.
MOST_NAMES = 10_000
MOST_VALUES = 100
# Of testimony: pieces of each kind, and letters of each word.
MOST_SEEN = 100
MOST_LETTERS = 100
# Replies of so many bytes are kept for when the same ones come again.
SMALL_REPLY = 2048

Frame = bytes | bytearray

Dtype = Literal[
    "float64", "float32", "float16", "bfloat16", "complex128", "complex64",
    "int64", "int32", "int16", "int8", "uint8", "bool",
]  # fmt: skip


class TensorData(msgspec.Struct, frozen=True, tag="tensor"):
    """A tensor's values in row-major order, and the strides it should have, if not those."""

    dtype: Dtype
    shape: tuple[int, ...]
    data: memoryview
    strides: list[int] | None = None


class NoneData(msgspec.Struct, frozen=True, tag="none"):
    """None, where a tensor could be."""


class OtherData(msgspec.Struct, frozen=True, tag="other"):
    """Anything else, by the name of its type."""

    kind: str


ReturnedData = TensorData | NoneData | OtherData


class Bundle(msgspec.Struct, frozen=True):
    """Tensors of one dtype by name: their shapes, and the values of all, row-major, in order."""

    dtype: Dtype
    shapes: Annotated[dict[str, tuple[int, ...]], msgspec.Meta(max_length=MOST_NAMES)]
    data: memoryview


class ForwardData(msgspec.Struct, frozen=True, tag="forward"):
    """`harness.candidate.operations.Forward` as plain data."""

    handle: int
    stage: str
    inputs: list[TensorData]
    requires_grad: list[bool]


class BackwardData(msgspec.Struct, frozen=True, tag="backward"):
    """`harness.candidate.operations.Backward` as plain data."""

    handle: int
    upstream: TensorData


class ReadData(msgspec.Struct, frozen=True, tag="read"):
    """`harness.candidate.operations.Read` as plain data."""

    handle: int


class ChainData(msgspec.Struct, frozen=True, tag="chain"):
    """`harness.candidate.operations.Chain` as plain data."""

    links: list[tuple[str, list[str], str]]
    tensors: list[Bundle]
    outputs: list[str]
    wrt: list[str]
    costs: dict[str, float]


class DescendData(msgspec.Struct, frozen=True, tag="descend"):
    """`harness.candidate.operations.Descend` as plain data."""

    rate: float
    tensors: list[Bundle]


class ObserveData(msgspec.Struct, frozen=True, tag="observe"):
    """`harness.candidate.operations.Observe` as plain data."""

    stage: str
    inputs: list[TensorData]
    upstream: TensorData
    required: list[bool]


OperationData = ForwardData | BackwardData | ReadData | ChainData | DescendData | ObserveData


class Parse(msgspec.Struct, frozen=True, tag="parse"):
    """Read the files called ``names``, which follow, a frame each, as one submission's code.

    With ``compared``, what `similar` compares is wanted in place of the code.
    """

    call: int
    names: list[str]
    compared: bool = False


class Define(msgspec.Struct, frozen=True, tag="define"):
    """Run the statements, but not those in ``skip``; from ``until`` on, only definitions."""

    call: int
    source: Source
    skip: list[int]
    until: int | None


class Perform(msgspec.Struct, frozen=True, tag="perform"):
    """Do the operations in order. Replies to quick ones can wait for each other, unless each is
    wanted ``at_once``."""

    call: int
    operations: list[OperationData]
    at_once: bool


Request = Parse | Define | Perform


class OutputData(msgspec.Struct, frozen=True, tag="output"):
    """`harness.candidate.operations.Output` as plain data."""

    value: ReturnedData


class ReturnsData(msgspec.Struct, frozen=True, tag="returns"):
    """`harness.candidate.operations.Returns` as plain data."""

    values: Annotated[list[ReturnedData], msgspec.Meta(max_length=MOST_VALUES)]


class UnchangedData(msgspec.Struct, frozen=True, tag="unchanged"):
    """`harness.candidate.operations.Unchanged` as plain data."""

    inputs: list[bool]
    upstreams: list[bool]
    results: bool


class ChainedData(msgspec.Struct, frozen=True, tag="chained"):
    """`harness.candidate.operations.Chained` as plain data."""

    outputs: Annotated[list[Bundle], msgspec.Meta(max_length=MOST_BUNDLES)]
    cost: float
    gradient: TensorData | None


Word = Annotated[str, msgspec.Meta(max_length=MOST_LETTERS)]


class SeenData(msgspec.Struct, frozen=True):
    """`harness.candidate.operations.Seen` as plain data. The code stands in the source."""

    what: Word
    place: Word


SeenList = Annotated[list[SeenData], msgspec.Meta(max_length=MOST_SEEN)]


class ObservedData(msgspec.Struct, frozen=True, tag="observed"):
    """`harness.candidate.operations.Observed` as plain data."""

    named: SeenList
    dispatched: SeenList
    packed: SeenList
    differences: SeenList
    built_in: Word
    on_ctx: bool
    second: Annotated[list[ReturnedData], msgspec.Meta(max_length=MOST_SEEN)] | None


class RaisedData(msgspec.Struct, frozen=True, tag="raised"):
    """`harness.candidate.operations.Raised` as plain data."""

    kind: str
    text: str
    place: str
    code: str


class AbsentData(msgspec.Struct, frozen=True, tag="absent"):
    """`harness.candidate.operations.Absent` as plain data."""

    reason: str


ReplyData = (
    OutputData | ReturnsData | UnchangedData | ChainedData | ObservedData | RaisedData | AbsentData
)


class Parsed(msgspec.Struct, frozen=True, tag="parsed"):
    """The code of a submission, or what is compared of it; without any, ``reason`` says why."""

    call: int
    source: Source | None = None
    details: Details | None = None
    reason: str = ""


class Started(msgspec.Struct, frozen=True, tag="started"):
    """The statement ``index`` is about to run."""

    call: int
    index: int
    place: str


class Statement(msgspec.Struct, frozen=True):
    """A top-level statement that raised, and the names it would have defined."""

    place: str
    kind: str
    text: str
    defines: list[str]


class Defined(msgspec.Struct, frozen=True, tag="defined"):
    """All statements have run. ``unusable`` says why there is no code at all to run."""

    call: int
    failed: list[Statement]
    unusable: str


class Answers(msgspec.Struct, frozen=True, tag="answers"):
    """The replies to some operations of a call that follow each other, from ``first`` on.

    Each is `ReplyData` of its own, for `decode_reply`.
    """

    call: int
    first: int
    replies: Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1, max_length=MOST_REPLIES)]


FromChild = Parsed | Started | Defined | Answers

_encoder = msgspec.msgpack.Encoder()
_requests: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
_from_child: msgspec.msgpack.Decoder[FromChild] = msgspec.msgpack.Decoder(FromChild)
_replies: msgspec.msgpack.Decoder[ReplyData] = msgspec.msgpack.Decoder(ReplyData)
_MALFORMED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def encode(message: Request | FromChild | ReplyData) -> bytes:
    """A message, or a reply to put into one, as bytes."""
    return _encoder.encode(message)


def answers(call: int, first: int, replies: Sequence[bytes]) -> bytes:
    """Answers as bytes, of replies that have been encoded one by one."""
    return _encoder.encode(Answers(call, first, list(map(msgspec.Raw, replies))))


def decode_request(frame: Frame) -> Request:
    """A message to a child."""
    return _requests.decode(frame)


def decode_from_child(frame: Frame) -> FromChild:
    """A message from a child. Raises ProtocolError for anything but a well-formed one."""
    try:
        return _from_child.decode(frame)
    except _MALFORMED as error:
        raise ProtocolError(str(error)) from None


def decode_reply(data: msgspec.Raw) -> Reply:
    """A reply from a child. Raises ProtocolError for anything but a well-formed one."""
    small = len(memoryview(data)) <= SMALL_REPLY
    return _same_reply(bytes(data)) if small else _decoded(data)


# Right answers are the same to the last bit in submission after submission, and many wrong ones
# too. Nobody alters a reply, so they can share it.
@lru_cache(maxsize=4096)
def _same_reply(data: bytes) -> Reply:
    return _decoded(data)


def _decoded(data: bytes | msgspec.Raw) -> Reply:
    try:
        return reply_of(_replies.decode(data))
    except _MALFORMED as error:
        raise ProtocolError(str(error)) from None


def tensor_data(value: Tensor) -> TensorData:
    """A tensor as plain data; its strides too, where they are not row-major."""
    strides = None if value.is_contiguous() else list(value.stride())
    return TensorData(_dtype_name(value), tuple(value.shape), memoryview(_bytes(value)), strides)


def tensor_of(data: TensorData) -> Tensor:
    """The tensor. Raises ProtocolError where bytes, shape and dtype do not fit."""
    dtype: torch.dtype = getattr(torch, data.dtype)
    if _count(data.shape) * dtype.itemsize != len(data.data):
        raise ProtocolError("a tensor whose bytes do not fit its shape")
    values = _values(dtype, data.data).view(data.shape)
    return values if data.strides is None else copy_with_layout(values, tuple(data.strides))


def bundles(tensors: Mapping[str, Tensor]) -> list[Bundle]:
    """Tensors by name as plain data, those of each dtype together."""
    kinds: dict[torch.dtype, list[str]] = {}
    for name, value in tensors.items():
        kinds.setdefault(value.dtype, []).append(name)
    return [
        Bundle(
            _dtype_name(tensors[names[0]]),
            {name: tuple(tensors[name].shape) for name in names},
            memoryview(b"".join([_bytes(tensors[name]) for name in names])),
        )
        for names in kinds.values()
    ]


def unbundled(data: Sequence[Bundle]) -> dict[str, Tensor]:
    """The tensors by name. Raises ProtocolError where bytes, shapes and dtype do not fit."""
    tensors: dict[str, Tensor] = {}
    for bundle in data:
        dtype: torch.dtype = getattr(torch, bundle.dtype)
        counts = list(map(_count, bundle.shapes.values()))
        if sum(counts) * dtype.itemsize != len(bundle.data):
            raise ProtocolError("tensors whose bytes do not fit their shapes")
        parts = _values(dtype, bundle.data).split_with_sizes(counts)
        for (name, shape), part in zip(bundle.shapes.items(), parts, strict=True):
            tensors[name] = part.view(shape)
    return tensors


def _dtype_name(value: Tensor) -> Dtype:
    return str(value.dtype).removeprefix("torch.")  # type: ignore[return-value]


def _bytes(value: Tensor) -> bytes:
    """The values in row-major order, whatever the layout."""
    plain = value.detach()
    if plain.is_complex():
        plain = plain.resolve_conj()
    if plain.dtype == torch.bfloat16:  # numpy knows none
        plain = plain.view(torch.int16)
    data: bytes = plain.resolve_neg().numpy().tobytes()
    return data


def _values(dtype: torch.dtype, data: memoryview) -> Tensor:
    # A copy, as torch shares the memory and takes it to be writable.
    if not data:
        return torch.empty(0, dtype=dtype, device="cpu")
    return torch.frombuffer(bytearray(data), dtype=dtype)


# The same few shapes come again and again.
@lru_cache(maxsize=4096)
def _count(shape: tuple[int, ...]) -> int:
    """How many values a tensor of the shape has; ProtocolError where torch could not hold them."""
    # Sizes beside a 0 count too: torch multiplies all of them.
    if len(shape) > MOST_DIMENSIONS or min(shape, default=0) < 0 or _product(shape) > REPLY_LIMIT:
        raise ProtocolError(f"a tensor of shape {shape}")
    return math.prod(shape)


def _product(shape: tuple[int, ...]) -> int:
    return math.prod(max(size, 1) for size in shape)


def returned_data(value: Returned) -> ReturnedData:
    """What a student's function returned, as plain data."""
    if value is None:
        return NoneData()
    if isinstance(value, Other):
        return OtherData(value.kind[:200])
    if value.numel() * value.element_size() > TENSOR_LIMIT:
        return OtherData(f"tensor of {value.numel()} numbers")
    if _dtype_name(value) not in Dtype.__args__:  # type: ignore[attr-defined]
        return OtherData(f"{value.dtype} tensor")
    return tensor_data(value.contiguous())


def returned_of(data: ReturnedData) -> Returned:
    """What a student's function returned. Raises ProtocolError for a malformed tensor."""
    match data:
        case TensorData():
            return _plain_tensor(data)
        case OtherData(kind):
            return Other(kind)
        case NoneData():
            return None


def _plain_tensor(data: TensorData) -> Tensor:
    if data.strides is not None:
        raise ProtocolError("a tensor with strides, which nobody asked for")
    return tensor_of(data)


def operation_data(operation: Operation) -> OperationData:
    """An operation as plain data."""
    match operation:
        case candidate.Forward(handle, stage, inputs, requires_grad):
            return ForwardData(handle, stage, list(map(_asked_data, inputs)), list(requires_grad))
        case candidate.Backward(handle, upstream):
            return BackwardData(handle, _asked_data(upstream))
        case candidate.Read(handle):
            return ReadData(handle)
        case candidate.Chain():
            return ChainData(
                [(link.stage, list(link.inputs), link.output) for link in operation.links],
                bundles(operation.tensors),
                list(operation.outputs),
                list(operation.wrt),
                dict(operation.costs or {}),
            )
        case candidate.Descend():
            return _descend_data(operation)
        case candidate.Observe(stage, inputs, upstream, required):
            given = list(map(_asked_data, inputs))
            return ObserveData(stage, given, _asked_data(upstream), list(required))


# Cases are made once, and what is asked about is never altered. A tensor's hash is its identity.
_asked_data = lru_cache(maxsize=4096)(tensor_data)

_descents: WeakKeyDictionary[candidate.Descend, DescendData] = WeakKeyDictionary()


def _descend_data(operation: candidate.Descend) -> DescendData:
    """Made once, as the steps of a training are the same for every candidate."""
    if operation not in _descents:
        _descents[operation] = DescendData(operation.rate, bundles(operation.tensors))
    return _descents[operation]


def operation_of(data: OperationData) -> Operation:
    """The operation."""
    match data:
        case ForwardData():
            inputs = tuple(map(tensor_of, data.inputs))
            return candidate.Forward(data.handle, data.stage, inputs, tuple(data.requires_grad))
        case BackwardData():
            return candidate.Backward(data.handle, tensor_of(data.upstream))
        case ReadData():
            return candidate.Read(data.handle)
        case ChainData():
            return candidate.Chain(
                tuple(Link(stage, tuple(inputs), output) for stage, inputs, output in data.links),
                unbundled(data.tensors),
                tuple(data.outputs),
                tuple(data.wrt),
                data.costs,
            )
        case DescendData():
            return candidate.Descend(data.rate, unbundled(data.tensors))
        case ObserveData():
            given = tuple(map(tensor_of, data.inputs))
            upstream = tensor_of(data.upstream)
            return candidate.Observe(data.stage, given, upstream, tuple(data.required))


def reply_data(reply: Reply) -> ReplyData:
    """A reply as plain data."""
    match reply:
        case candidate.Output(value):
            return OutputData(returned_data(value))
        case candidate.Returns(values):
            return ReturnsData(list(map(returned_data, values[:MOST_VALUES])))
        case candidate.Unchanged(inputs, upstreams, results):
            return UnchangedData(list(inputs), list(upstreams), results)
        case candidate.Chained(outputs, cost, gradient):
            sent = None if gradient is None else tensor_data(gradient)
            return ChainedData(bundles(outputs), cost, sent)
        case candidate.Observed():
            return _observed_data(reply)
        case candidate.Raised(kind, text, place, code):
            return RaisedData(kind, text, place, code)
        case candidate.Absent(reason):
            return AbsentData(reason)
        case candidate.Lost():
            raise TypeError("a child cannot report its own death")


def reply_of(data: ReplyData) -> Reply:
    """The reply. Raises ProtocolError for a malformed tensor in it."""
    match data:
        case OutputData(value):
            return candidate.Output(returned_of(value))
        case ReturnsData(values):
            return candidate.Returns(tuple(map(returned_of, values)))
        case UnchangedData(inputs, upstreams, results):
            return candidate.Unchanged(tuple(inputs), tuple(upstreams), results)
        case ChainedData(outputs, cost, gradient):
            got = None if gradient is None else _plain_tensor(gradient)
            return candidate.Chained(unbundled(outputs), cost, got)
        case ObservedData():
            return _observed_of(data)
        case RaisedData(kind, text, place, code):
            return candidate.Raised(kind, text, place, code)
        case AbsentData(reason):
            return candidate.Absent(reason)


def _observed_data(told: candidate.Observed) -> ObservedData:
    second = None if told.second is None else list(map(returned_data, told.second))
    return ObservedData(
        _seen_data(told.named),
        _seen_data(told.dispatched),
        _seen_data(told.packed),
        _seen_data(told.differences),
        told.built_in[:MOST_LETTERS],
        told.on_ctx,
        second,
    )


def _seen_data(seen: Sequence[candidate.Seen]) -> list[SeenData]:
    return [SeenData(each.what[:MOST_LETTERS], each.place) for each in seen[:MOST_SEEN]]


def _observed_of(data: ObservedData) -> candidate.Observed:
    return candidate.Observed(
        _seen_of(data.named),
        _seen_of(data.dispatched),
        _seen_of(data.packed),
        _seen_of(data.differences),
        data.built_in,
        data.on_ctx,
        None if data.second is None else tuple(map(returned_of, data.second)),
    )


def _seen_of(seen: Sequence[SeenData]) -> tuple[candidate.Seen, ...]:
    return tuple(candidate.Seen(each.what, each.place) for each in seen)
