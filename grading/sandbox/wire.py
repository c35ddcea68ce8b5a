"""What goes over the wire: typed messages of plain data. Nothing that arrives is executed."""

from __future__ import annotations

from typing import Literal

import msgspec
import torch
from torch import Tensor

from grading.sandbox.channel import ProtocolError
from grading.source import Source
from harness import candidate
from harness.candidate import Link, Operation, Other, Reply, Returned
from harness.workbench import copy_with_layout

REQUEST_LIMIT = 64 * 1024 * 1024
REPLY_LIMIT = 16 * 1024 * 1024
TENSOR_LIMIT = 8 * 1024 * 1024

Dtype = Literal[
    "float64", "float32", "float16", "bfloat16", "complex128", "complex64",
    "int64", "int32", "int16", "int8", "uint8", "bool",
]  # fmt: skip


class TensorData(msgspec.Struct, frozen=True, tag="tensor"):
    """A tensor's values in row-major order, and the strides it should have, if not those."""

    dtype: Dtype
    shape: list[int]
    data: bytes
    strides: list[int] | None = None


class NoneData(msgspec.Struct, frozen=True, tag="none"):
    """None, where a tensor could be."""


class OtherData(msgspec.Struct, frozen=True, tag="other"):
    """Anything else, by the name of its type."""

    kind: str


ReturnedData = TensorData | NoneData | OtherData


class ForwardData(msgspec.Struct, frozen=True, tag="forward"):
    """`harness.candidate.Forward` as plain data."""

    handle: int
    stage: str
    inputs: list[TensorData]
    requires_grad: list[bool]


class BackwardData(msgspec.Struct, frozen=True, tag="backward"):
    """`harness.candidate.Backward` as plain data."""

    handle: int
    upstream: TensorData


class ReadData(msgspec.Struct, frozen=True, tag="read"):
    """`harness.candidate.Read` as plain data."""

    handle: int


class ChainData(msgspec.Struct, frozen=True, tag="chain"):
    """`harness.candidate.Chain` as plain data."""

    links: list[tuple[str, list[str], str]]
    tensors: dict[str, TensorData]
    outputs: list[str]
    wrt: list[str]
    costs: dict[str, float]


OperationData = ForwardData | BackwardData | ReadData | ChainData


class Parse(msgspec.Struct, frozen=True, tag="parse"):
    """Read the file called ``name`` as code. It is parsed where it can do no harm."""

    call: int
    name: str
    data: bytes


class Define(msgspec.Struct, frozen=True, tag="define"):
    """Run the statements, but not those in ``skip``; from ``until`` on, only definitions."""

    call: int
    source: Source
    skip: list[int]
    until: int | None


class Perform(msgspec.Struct, frozen=True, tag="perform"):
    """Do the operations in order, with an Answer for each."""

    call: int
    operations: list[OperationData]


Request = Parse | Define | Perform


class OutputData(msgspec.Struct, frozen=True, tag="output"):
    """`harness.candidate.Output` as plain data."""

    value: ReturnedData


class ReturnsData(msgspec.Struct, frozen=True, tag="returns"):
    """`harness.candidate.Returns` as plain data."""

    values: list[ReturnedData]


class UnchangedData(msgspec.Struct, frozen=True, tag="unchanged"):
    """`harness.candidate.Unchanged` as plain data."""

    inputs: list[bool]
    upstreams: list[bool]


class ChainedData(msgspec.Struct, frozen=True, tag="chained"):
    """`harness.candidate.Chained` as plain data."""

    outputs: dict[str, TensorData]
    gradients: dict[str, TensorData | None]


class RaisedData(msgspec.Struct, frozen=True, tag="raised"):
    """`harness.candidate.Raised` as plain data."""

    kind: str
    text: str
    place: str
    code: str


class AbsentData(msgspec.Struct, frozen=True, tag="absent"):
    """`harness.candidate.Absent` as plain data."""

    reason: str


ReplyData = OutputData | ReturnsData | UnchangedData | ChainedData | RaisedData | AbsentData


class Parsed(msgspec.Struct, frozen=True, tag="parsed"):
    """The code of a file; without any, ``reason`` says why."""

    call: int
    source: Source | None
    reason: str


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


class Answer(msgspec.Struct, frozen=True, tag="answer"):
    """The reply to the operation ``index`` of a call."""

    call: int
    index: int
    reply: ReplyData


FromChild = Parsed | Started | Defined | Answer

_encoder = msgspec.msgpack.Encoder()
_requests: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
_from_child: msgspec.msgpack.Decoder[FromChild] = msgspec.msgpack.Decoder(FromChild)


def encode(message: Request | FromChild) -> bytes:
    """A message as bytes."""
    return _encoder.encode(message)


def decode_request(frame: bytes) -> Request:
    """A message to a child."""
    return _requests.decode(frame)


def decode_from_child(frame: bytes) -> FromChild:
    """A message from a child. Raises ProtocolError for anything but a well-formed one."""
    try:
        return _from_child.decode(frame)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ProtocolError(str(error)) from None


def tensor_data(value: Tensor) -> TensorData:
    """A tensor as plain data; its strides too, where they are not row-major."""
    plain = value.detach()
    # A tensor of one element counts as contiguous whatever its strides, so it is copied afresh.
    rows = torch.empty(plain.shape, dtype=plain.dtype).copy_(plain)
    data = rows.reshape(-1).view(torch.uint8).numpy().tobytes()
    strides = None if plain.is_contiguous() else list(plain.stride())
    name = str(plain.dtype).removeprefix("torch.")
    return TensorData(name, list(plain.shape), data, strides)  # type: ignore[arg-type]


def tensor_of(data: TensorData) -> Tensor:
    """The tensor. Raises ProtocolError where bytes, shape and dtype do not fit."""
    dtype: torch.dtype = getattr(torch, data.dtype)
    count = 1
    for size in data.shape:
        count *= size
    if len(data.shape) > 16 or min(data.shape, default=0) < 0:
        raise ProtocolError(f"a tensor of shape {data.shape}")
    if count * dtype.itemsize != len(data.data):
        raise ProtocolError("a tensor whose bytes do not fit its shape")
    if not count:
        return torch.empty(data.shape, dtype=dtype)
    values = torch.frombuffer(bytearray(data.data), dtype=dtype).reshape(data.shape)
    return values if data.strides is None else copy_with_layout(values, tuple(data.strides))


def returned_data(value: Returned) -> ReturnedData:
    """What a student's function returned, as plain data."""
    if value is None:
        return NoneData()
    if isinstance(value, Other):
        return OtherData(value.kind[:200])
    if value.numel() * value.element_size() > TENSOR_LIMIT:
        return OtherData(f"tensor of {value.numel()} numbers")
    if str(value.dtype).removeprefix("torch.") not in Dtype.__args__:  # type: ignore[attr-defined]
        return OtherData(f"{value.dtype} tensor")
    return tensor_data(value.contiguous())


def returned_of(data: ReturnedData) -> Returned:
    """What a student's function returned."""
    match data:
        case TensorData():
            return tensor_of(data)
        case OtherData(kind):
            return Other(kind)
        case NoneData():
            return None


def operation_data(operation: Operation) -> OperationData:
    """An operation as plain data."""
    match operation:
        case candidate.Forward(handle, stage, inputs, requires_grad):
            return ForwardData(handle, stage, list(map(tensor_data, inputs)), list(requires_grad))
        case candidate.Backward(handle, upstream):
            return BackwardData(handle, tensor_data(upstream))
        case candidate.Read(handle):
            return ReadData(handle)
        case candidate.Chain():
            return ChainData(
                [(link.stage, list(link.inputs), link.output) for link in operation.links],
                {name: tensor_data(value) for name, value in operation.tensors.items()},
                list(operation.outputs),
                list(operation.wrt),
                dict(operation.costs or {}),
            )


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
                {name: tensor_of(value) for name, value in data.tensors.items()},
                tuple(data.outputs),
                tuple(data.wrt),
                data.costs,
            )


def reply_data(reply: Reply) -> ReplyData:
    """A reply as plain data."""
    match reply:
        case candidate.Output(value):
            return OutputData(returned_data(value))
        case candidate.Returns(values):
            return ReturnsData(list(map(returned_data, values)))
        case candidate.Unchanged(inputs, upstreams):
            return UnchangedData(list(inputs), list(upstreams))
        case candidate.Chained(outputs, gradients):
            return ChainedData(
                {name: tensor_data(value) for name, value in outputs.items()},
                {
                    name: None if value is None else tensor_data(value.contiguous())
                    for name, value in gradients.items()
                },
            )
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
        case UnchangedData(inputs, upstreams):
            return candidate.Unchanged(tuple(inputs), tuple(upstreams))
        case ChainedData(outputs, gradients):
            return candidate.Chained(
                {name: tensor_of(value) for name, value in outputs.items()},
                {
                    name: None if value is None else tensor_of(value)
                    for name, value in gradients.items()
                },
            )
        case RaisedData(kind, text, place, code):
            return candidate.Raised(kind, text, place, code)
        case AbsentData(reason):
            return candidate.Absent(reason)
