"""What a student's functions are given, and what they return."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from harness.candidate.operations import Other, Returned, Value

# A tensor of more is not copied.
MOST_NUMBERS = 2**27


class NothingToCall(Exception):
    """There is no function, or no backward, to call; the text says why."""


def a(noun: str) -> str:
    """Return the noun with its article."""
    return f"an {noun}" if noun[:1].lower() in "aeiou" else f"a {noun}"


def copied(value: Value, needed: bool = False) -> Value:
    """Return a copy of a tensor with its layout, and other values as they are.

    A real tensor requires a gradient if it is ``needed``; others cannot.
    """
    if not isinstance(value, Tensor):
        return value
    copy = copy_with_layout(value)
    return copy.requires_grad_(needed and (copy.is_floating_point() or copy.is_complex()))


def copy_with_layout(value: Tensor, strides: tuple[int, ...] | None = None) -> Tensor:
    """Return a detached copy with the given strides, by default its own.

    Zero strides, of an expanded tensor, are kept.
    """
    if strides is None and value.is_contiguous():
        return value.detach().clone()
    strides = value.stride() if strides is None else strides
    index = tuple(slice(0, 1) if stride == 0 else slice(None) for stride in strides)
    base = value.detach()[index]
    copy = torch.empty_strided(base.shape, strides, dtype=value.dtype, device="cpu").copy_(base)
    return copy.expand(value.shape)


def outputs_of(returned: object) -> tuple[Any, ...]:
    """Return the outputs of a function, which returns a tuple if there are several."""
    return tuple(returned) if isinstance(returned, tuple) else (returned,)


def same(one: Value, other: Value) -> bool:
    """Return whether two values are equal, entry by entry; a nan is like another."""
    if not isinstance(one, Tensor) or not isinstance(other, Tensor):
        return one is other or (type(one) is type(other) and bool(one == other))
    with torch._C.DisableTorchFunctionSubclass():
        if (one.dtype, one.shape) != (other.dtype, other.shape):
            return False
        return bool(((one == other) | (one.isnan() & other.isnan())).all())


def snapshot(value: object) -> Returned:
    """Return a value that students' code returned as it is now; tensors are copied."""
    if value is None:
        return None
    if not isinstance(value, Tensor):
        return Other(type(value).__name__)
    if type(value) is Tensor and not _unlike_most(value):
        return value.detach().clone()
    # A subclass may answer through __torch_function__; the data underneath is what counts.
    with torch._C.DisableTorchFunctionSubclass():
        if kind := _unlike_most(value):
            return Other(kind)
        return torch.Tensor.as_subclass(torch.Tensor.detach(value), Tensor).clone()


def _unlike_most(value: Tensor) -> str:
    """Return what to call a tensor that is not an ordinary array of numbers, "" for one that is.

    Some of those cannot be copied, as an expanded one of more numbers than memory can hold.
    """
    if value.device.type != "cpu":
        return f"{value.device.type} tensor"
    for kind in ("nested", "quantized", "mkldnn"):
        if getattr(value, f"is_{kind}"):
            return f"{kind} tensor"
    if value.layout != torch.strided:
        return "sparse tensor"
    return f"tensor of {value.numel()} numbers" if value.numel() > MOST_NUMBERS else ""
