"""Tensors as plain data, and back: what arrives is held against caps before it is made.

The tensors of a message are sent beside it, those of one dtype and shape in one piece, as making
each by itself takes far longer than copying its bytes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Literal, NamedTuple, get_args

import msgspec
import torch
from torch import Tensor

from grading.confined.channel import ProtocolError
from harness.candidate.operations import Other, Returned, Value
from harness.candidate.values import copy_with_layout

TENSOR_LIMIT = 8 * 1024 * 1024
KIND_LIMIT = 200  # letters of the name of a type
SMALL = 2048  # bytes of a tensor that is kept for when the same one comes again
MOST_NUMBERS = 16 * 1024 * 1024
MOST_DIMENSIONS = 16
# Tensors of a child's message: more would take up far more memory here than their bytes do.
MOST_TENSORS = 128 * 1024
MOST_NAMES = 100_000  # of tensors by name
# Of what is given beside tensors: letters of a text, items of a tuple, tuples in each other.
MOST_LETTERS = 1_000
MOST_ITEMS = 100
MOST_DEPTH = 3

Dtype = Literal[
    "float64", "float32", "float16", "bfloat16", "complex128", "complex64",
    "int64", "int32", "int16", "int8", "uint8", "bool",
]  # fmt: skip
Count = Annotated[int, msgspec.Meta(ge=0)]

# A student's code can put its own in their place.
_stacked = torch.stack
# What torch tells of its type is not so.
_apart: Any = torch.unbind_copy


class Stack(msgspec.Struct, frozen=True, array_like=True):
    """Tensors of one dtype and shape: the values of each in row-major order, one after the other.

    ``strides`` are those that each should have, if not row-major.
    """

    dtype: Dtype
    shape: tuple[int, ...]
    count: Count
    data: memoryview
    strides: tuple[int, ...] | None = None


class At(msgspec.Struct, frozen=True, array_like=True):
    """Stands for a tensor: in which stack it is, and its place there."""

    stack: Count
    index: Count


# A dataclass, as one untagged Struct is all that a union may have.
@dataclass(frozen=True)
class Items:
    """A tuple's items."""

    items: "Annotated[list[ValueData], msgspec.Meta(max_length=MOST_ITEMS)]"


Text = Annotated[str, msgspec.Meta(max_length=MOST_LETTERS)]
ValueData = At | Items | int | float | bool | Text | None
# What is neither a tensor nor None is told by the name of its type.
ReturnedData = At | Other | None


class _Plain(NamedTuple):
    """A tensor as plain data: what a stack has of all its tensors, then its own values."""

    like: tuple[Dtype, tuple[int, ...], tuple[int, ...] | None]
    data: bytes


def _plain(value: Tensor) -> _Plain:
    strides = None if value.is_contiguous() else value.stride()
    data = _bytes(value).tobytes()
    return _Plain((_dtype_name(value), tuple(value.shape), strides), data)


# Both are made once and never altered. A tensor's hash is its identity.
_plain_case = lru_cache(maxsize=4096)(_plain)
_plain_step = lru_cache(maxsize=32768)(_plain)


class Asked:
    """The tensors of a request. Their layout is kept, and one that comes again is sent once."""

    def __init__(self) -> None:
        self._stacks: dict[Any, tuple[int, list[bytes]]] = {}
        self._known: dict[Tensor, At] = {}

    def at(self, value: Tensor) -> At:
        """Return where the tensor is going to be."""
        return self._known.get(value) or self._add(value, _plain(value))

    def case(self, value: Tensor) -> At:
        """Return where a tensor of a case is going to be."""
        return self._known.get(value) or self._add(value, _plain_case(value))

    def step(self, value: Tensor) -> At:
        """Return where a tensor for a step of a training is going to be."""
        return self._known.get(value) or self._add(value, _plain_step(value))

    def stacks(self) -> list[Stack]:
        """Return the tensors as plain data."""
        return [
            Stack(dtype, shape, len(data), memoryview(b"".join(data)), strides)
            for (dtype, shape, strides), (_, data) in self._stacks.items()
        ]

    def _add(self, value: Tensor, plain: _Plain) -> At:
        stack = self._stacks.get(plain.like)
        if stack is None:
            stack = self._stacks[plain.like] = len(self._stacks), []
        at = self._known[value] = At(stack[0], len(stack[1]))
        stack[1].append(plain.data)
        return at


class Answered:
    """The tensors of replies, which nobody may alter until `stacks` are made of them.

    ``size`` is that of their values in bytes.
    """

    def __init__(self) -> None:
        self.size = 0
        self._stacks: dict[object, tuple[int, list[Tensor]]] = {}

    def at(self, value: Tensor) -> At:
        """Return where the tensor is going to be."""
        like = value.dtype, value.shape
        stack = self._stacks.get(like)
        if stack is None:
            stack = self._stacks[like] = len(self._stacks), []
        stack[1].append(value)
        self.size += value.nbytes
        return At(stack[0], len(stack[1]) - 1)

    def stacks(self) -> list[Stack]:
        """Return the tensors as plain data."""
        return [
            Stack(
                _dtype_name(values[0]),
                tuple(values[0].shape),
                len(values),
                _bytes(_stacked(values) if len(values) > 1 else values[0]),
            )
            for _, values in self._stacks.values()
        ]


class Unpacking:
    """The tensors of a message that has arrived. What a child ``answered`` is not trusted."""

    def __init__(self, stacks: Sequence[Stack], *, answered: bool) -> None:
        """Make the tensors. Raise ProtocolError if bytes, shapes and dtypes do not fit."""
        if answered and sum(stack.count for stack in stacks) > MOST_TENSORS:
            raise ProtocolError("too many tensors")
        if answered and any(stack.strides is not None for stack in stacks):
            raise ProtocolError("a tensor with strides, which nobody asked for")
        self._made: list[list[Tensor | None]] = [
            list(_tensors_of(stack, shared=answered)) for stack in stacks
        ]
        self._once = answered

    def at(self, at: At) -> Tensor:
        """Return a tensor. Raise ProtocolError if there is none, or if it was taken already."""
        try:
            value = self._made[at.stack][at.index]
        except IndexError:
            value = None
        if value is None:
            raise ProtocolError("a tensor that is not there")
        if self._once:
            # Few bytes must not become many tensors to look at.
            self._made[at.stack][at.index] = None
        return value


def value_data(asked: Asked, value: Value, depth: int = MOST_DEPTH) -> ValueData:
    """Return an input as plain data. Raise ProtocolError for what is over the caps."""
    if isinstance(value, Tensor):
        return asked.case(value)
    if isinstance(value, tuple):
        if not depth or len(value) > MOST_ITEMS:
            raise ProtocolError("a tuple of too many items, or too deep")
        return Items([value_data(asked, each, depth - 1) for each in value])
    if isinstance(value, str) and len(value) > MOST_LETTERS:
        raise ProtocolError("a text of too many letters")
    return value


def value_of(unpacking: Unpacking, data: ValueData, depth: int = MOST_DEPTH) -> Value:
    """Return the input. Raise ProtocolError for a tensor that is missing, or tuples too deep."""
    if isinstance(data, At):
        return unpacking.at(data)
    if isinstance(data, Items):
        if not depth:
            raise ProtocolError("tuples too deep in each other")
        return tuple(value_of(unpacking, each, depth - 1) for each in data.items)
    return data


def returned_data(answered: Answered, value: Returned) -> ReturnedData:
    """Return as plain data what a student's function returned."""
    if value is None:
        return None
    if isinstance(value, Other):
        return Other(value.kind[:KIND_LIMIT])
    if value.nbytes > TENSOR_LIMIT:
        return Other(f"tensor of {value.numel()} numbers")
    try:
        _count(tuple(value.shape))
    except ProtocolError:
        return Other(f"tensor of {value.dim()} dimensions")
    if value.dtype not in _NAMES:
        return Other(f"{_dtype_name(value)} tensor")
    return answered.at(value)


def returned_of(unpacking: Unpacking, data: ReturnedData) -> Returned:
    """Return what a student's function returned. Raise ProtocolError for a missing tensor."""
    return unpacking.at(data) if isinstance(data, At) else data


_NAMES: dict[torch.dtype, Dtype] = {getattr(torch, name): name for name in get_args(Dtype)}


def _dtype_name(value: Tensor) -> Dtype:
    return _NAMES.get(value.dtype) or str(value.dtype).removeprefix("torch.")  # type: ignore[return-value]


def _bytes(value: Tensor) -> memoryview:
    """Return the values in row-major order, whatever the layout."""
    plain = value.detach().resolve_conj().resolve_neg().contiguous()
    if plain.dtype == torch.bfloat16:  # numpy knows none
        plain = plain.view(torch.int16)
    data: memoryview = plain.numpy().data
    return data


def _tensors_of(stack: Stack, *, shared: bool) -> Sequence[Tensor]:
    """Return the tensors of a stack. Raise ProtocolError if its bytes do not fit.

    Small ones with the same values can be ``shared`` by all messages.
    """
    dtype: torch.dtype = getattr(torch, stack.dtype)
    size = _count(stack.shape) * dtype.itemsize
    if stack.count * size != len(stack.data):
        raise ProtocolError("tensors whose bytes do not fit their shape")
    if shared and size <= SMALL:
        data, places = bytes(stack.data), [at * size for at in range(stack.count)]
        return [_same(stack.dtype, stack.shape, data[at : at + size]) for at in places]
    values = _values(dtype, stack.data)
    if shared:
        # Copies, so that who keeps one of them does not keep all.
        return list(_apart(values.view(stack.count, *stack.shape)))
    tensors = values.view(stack.count, *stack.shape).unbind()
    if stack.strides is None:
        return tensors
    return [copy_with_layout(each, stack.strides) for each in tensors]


def _values(dtype: torch.dtype, data: bytes | memoryview) -> Tensor:
    """Return the values, in that same memory if it can be written to."""
    if not data:
        return torch.empty(0, dtype=dtype, device="cpu")
    # torch takes it to be writable.
    own = isinstance(data, memoryview) and not data.readonly
    return torch.frombuffer(data if own else bytearray(data), dtype=dtype)


# Right answers are the same to the last bit in submission after submission, and many wrong ones
# too, and what is made of a tensor is found again by its identity. They are never altered.
@lru_cache(maxsize=8192)
def _same(dtype: Dtype, shape: tuple[int, ...], data: bytes) -> Tensor:
    return _values(getattr(torch, dtype), data).view(shape)


# The same few shapes come again and again.
@lru_cache(maxsize=4096)
def _count(shape: tuple[int, ...]) -> int:
    """Return the number of values of a shape. Raise ProtocolError if torch cannot hold them."""
    # Sizes beside a 0 count too: torch multiplies all of them.
    product = math.prod(max(size, 1) for size in shape)
    if len(shape) > MOST_DIMENSIONS or min(shape, default=0) < 0 or product > MOST_NUMBERS:
        raise ProtocolError(f"a tensor of shape {shape}")
    return math.prod(shape)
