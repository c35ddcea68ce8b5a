"""Tensors as plain data, and back: what arrives is held against caps before it is made."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Literal, get_args

import msgspec
import torch
from torch import Tensor

from grading.confined.channel import ProtocolError
from harness.candidate.operations import Other, Returned, Value
from harness.candidate.values import copy_with_layout

TENSOR_LIMIT = 8 * 1024 * 1024
KIND_LIMIT = 200  # letters of the name of a type
MOST_NUMBERS = 16 * 1024 * 1024
MOST_DIMENSIONS = 16
MOST_BUNDLES = 12  # one for each dtype
# Tensors by name in one bundle: more would take up far more memory here than their bytes do.
MOST_NAMES = 10_000
# Of what is given beside tensors: letters of a text, items of a tuple, tuples in each other.
MOST_LETTERS = 1_000
MOST_ITEMS = 100
MOST_DEPTH = 3

Dtype = Literal[
    "float64", "float32", "float16", "bfloat16", "complex128", "complex64",
    "int64", "int32", "int16", "int8", "uint8", "bool",
]  # fmt: skip


class TensorData(msgspec.Struct, frozen=True, array_like=True):
    """A tensor's values in row-major order, and the strides it should have, if not those."""

    dtype: Dtype
    shape: tuple[int, ...]
    data: memoryview
    strides: list[int] | None = None


# A dataclass, as one untagged Struct is all that a union may have.
@dataclass(frozen=True)
class Items:
    """A tuple's items."""

    items: "Annotated[list[ValueData], msgspec.Meta(max_length=MOST_ITEMS)]"


Text = Annotated[str, msgspec.Meta(max_length=MOST_LETTERS)]
ValueData = TensorData | Items | int | float | bool | Text | None
# What is neither a tensor nor None is told by the name of its type.
ReturnedData = TensorData | Other | None


class Bundle(msgspec.Struct, frozen=True):
    """Tensors of one dtype by name: their shapes, and the values of all, row-major, in order."""

    dtype: Dtype
    shapes: Annotated[dict[str, tuple[int, ...]], msgspec.Meta(max_length=MOST_NAMES)]
    data: memoryview


Bundles = Annotated[list[Bundle], msgspec.Meta(max_length=MOST_BUNDLES)]


def tensor_data(value: Tensor) -> TensorData:
    """Return a tensor as plain data, with its strides if they are not row-major."""
    strides = None if value.is_contiguous() else list(value.stride())
    return TensorData(_dtype_name(value), tuple(value.shape), memoryview(_bytes(value)), strides)


def tensor_of(data: TensorData) -> Tensor:
    """Return the tensor. Raise ProtocolError if bytes, shape and dtype do not fit."""
    dtype: torch.dtype = getattr(torch, data.dtype)
    if _count(data.shape) * dtype.itemsize != len(data.data):
        raise ProtocolError("a tensor whose bytes do not fit its shape")
    values = _values(dtype, data.data).view(data.shape)
    return values if data.strides is None else copy_with_layout(values, tuple(data.strides))


# Cases are made once and never altered. A tensor's hash is its identity.
asked_data = lru_cache(maxsize=4096)(tensor_data)


def value_data(value: Value, depth: int = MOST_DEPTH) -> ValueData:
    """Return an input as plain data. Raise ProtocolError for what is over the caps."""
    if isinstance(value, Tensor):
        return asked_data(value)
    if isinstance(value, tuple):
        if not depth or len(value) > MOST_ITEMS:
            raise ProtocolError("a tuple of too many items, or too deep")
        return Items([value_data(each, depth - 1) for each in value])
    if isinstance(value, str) and len(value) > MOST_LETTERS:
        raise ProtocolError("a text of too many letters")
    return value


def value_of(data: ValueData, depth: int = MOST_DEPTH) -> Value:
    """Return the input. Raise ProtocolError for a malformed tensor, or tuples too deep."""
    if isinstance(data, TensorData):
        return tensor_of(data)
    if isinstance(data, Items):
        if not depth:
            raise ProtocolError("tuples too deep in each other")
        return tuple(value_of(each, depth - 1) for each in data.items)
    return data


def bundles(tensors: Mapping[str, Tensor]) -> list[Bundle]:
    """Return tensors by name as plain data, those of each dtype together."""
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
    """Return the tensors by name. Raise ProtocolError if bytes, shapes and dtype do not fit."""
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
    """Return the values in row-major order, whatever the layout."""
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
    """Return the number of values of a shape. Raise ProtocolError if torch cannot hold them."""
    # Sizes beside a 0 count too: torch multiplies all of them.
    product = math.prod(max(size, 1) for size in shape)
    if len(shape) > MOST_DIMENSIONS or min(shape, default=0) < 0 or product > MOST_NUMBERS:
        raise ProtocolError(f"a tensor of shape {shape}")
    return math.prod(shape)


def returned_data(value: Returned) -> ReturnedData:
    """Return as plain data what a student's function returned."""
    if value is None:
        return None
    if isinstance(value, Other):
        return Other(value.kind[:KIND_LIMIT])
    if value.numel() * value.element_size() > TENSOR_LIMIT:
        return Other(f"tensor of {value.numel()} numbers")
    if _dtype_name(value) not in get_args(Dtype):
        return Other(f"{value.dtype} tensor")
    return tensor_data(value.contiguous())


def returned_of(data: ReturnedData) -> Returned:
    """Return what a student's function returned. Raise ProtocolError for a malformed tensor."""
    if not isinstance(data, TensorData):
        return data
    if data.strides is not None:
        raise ProtocolError("a tensor with strides, which nobody asked for")
    return tensor_of(data)
