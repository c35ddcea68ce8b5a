"""Makes one function of a pair of functions with a cache: ``affine_forward``, ``affine_backward``.

The operations of `harness.candidate.workbench` then work on it as on any other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from harness.candidate.forms import Pair
from harness.candidate.values import NothingToCall, a, outputs_of


def function_of(pair: Pair, names: Mapping[str, object]) -> type[Function]:
    """Return a Function that calls the pair's functions, which are among ``names``.

    Raise NothingToCall if one of them is not there.
    """
    found = {name: _callable(name, names) for name in pair.functions}

    class Made(Function):
        """Calls the student's functions."""

        functions = tuple(found.values())

        @staticmethod
        def forward(ctx: Any, *inputs: Any) -> Any:
            given = [_given(each, pair.in_numpy) for each in inputs]
            out, ctx.cache = _two(pair, found[pair.forward](*pair.arguments(given)))
            real = (
                each for each in inputs if isinstance(each, Tensor) and each.is_floating_point()
            )
            dtype = next((each.dtype for each in real), None)
            outputs = tuple(_output(each, dtype) for each in outputs_of(out))
            if isinstance(out, tuple):
                return outputs
            whole = isinstance(outputs[0], Tensor) and not outputs[0].is_floating_point()
            # Torch has no gradients of whole numbers; what they are worth is judged as for others.
            return outputs[0].to(dtype) if whole and not outputs[0].is_complex() else outputs[0]

        @staticmethod
        @once_differentiable
        def backward(ctx: Any, *upstreams: Any) -> Any:
            if pair.without_upstream:
                return _placed(pair, pair.forward, ctx.cache, upstreams[0])
            given = [_given(each, pair.in_numpy) for each in upstreams]
            return _placed(pair, pair.backward, found[pair.backward](*given, ctx.cache))

    return Made


def _callable(name: str, names: Mapping[str, object]) -> Callable[..., Any]:
    function = names.get(name)
    if function is None:
        raise NothingToCall(f"There is no function {name}")
    if not callable(function):
        raise NothingToCall(f"{name} is not a function")
    return function


def _given(value: Any, in_numpy: bool) -> Any:
    """Return a value as students' functions take it. An array shares its numbers with the tensor.

    So the judge sees what is changed in it. A number that fills a tensor is written out: numpy has
    no such arrays that can be changed.
    """
    if not isinstance(value, Tensor):
        return value
    plain = value.detach()
    plain = plain.contiguous() if 0 in plain.stride() else plain
    return plain.numpy() if in_numpy else plain


def _two(pair: Pair, returned: Any) -> tuple[Any, Any]:
    """Return the output, and the cache or the gradients."""
    if isinstance(returned, tuple | list) and len(returned) > 1:
        out, second, *others = returned
        if pair.outputs > 1 and len(others) == pair.outputs - 1:
            return (out, second, *others[:-1]), others[-1]
        if not others:
            return out, second
        if pair.without_upstream:
            return out, (second, *others)
    first = "an output" if pair.outputs == 1 else f"{pair.outputs} outputs"
    second = "its gradients" if pair.without_upstream else "a cache"
    raise NothingToCall(f"{pair.forward} returned {_said(returned)}, not {first} and {second}")


def _said(returned: Any) -> str:
    """Return what was returned in words: how many values, or of which type."""
    if isinstance(returned, tuple | list):
        return f"{len(returned)} value{'s' * (len(returned) != 1)}"
    if isinstance(returned, np.ndarray | Tensor):
        return "a single array" if isinstance(returned, np.ndarray) else "a single tensor"
    if isinstance(returned, np.number | int | float):
        return "a single number"
    return "None" if returned is None else a(type(returned).__name__)


def _output(value: Any, dtype: torch.dtype | None) -> Any:
    """Return what forward returned as a tensor of its own; a plain number has no dtype."""
    if type(value) in (int, float):
        return torch.tensor(value, dtype=dtype)
    return _tensor(np.array(value) if isinstance(value, np.ndarray) else value)


def _tensor(value: Any) -> Any:
    """Return an array or a number as a tensor, and anything else as it is."""
    if isinstance(value, bool) or not isinstance(value, np.ndarray | np.number | int | float):
        return value
    array = np.ascontiguousarray(value)
    if array.dtype == np.longdouble or not array.dtype.isnative:
        array = array.astype(np.float64)
    if any(stride < 0 for stride in array.strides):
        array = array.copy()
    try:
        return torch.from_numpy(array).reshape(np.shape(value))
    except TypeError:
        # One of objects or of text is none of numbers.
        return value


def _placed(pair: Pair, name: str, returned: Any, upstream: Tensor | None = None) -> Any:
    """Return a gradient for each input of those that were returned.

    They are of all inputs, of all arguments, or of the needed ones and then None.
    """
    found = list(returned) if isinstance(returned, tuple | list) else [returned]
    known = (pair.inputs, pair.needed, pair.called)
    if len(found) not in map(len, known):
        while len(found) > len(pair.needed) and found[-1] is None:
            found.pop()
    names = next((each for each in known if len(each) == len(found)), None)
    if names is None:
        raise NothingToCall(
            f"{name} returned {_said(returned)}, not the gradient"
            f"{'s' * (len(pair.needed) > 1)} of {', '.join(pair.needed)}"
        )
    by_name = dict(zip(names, found, strict=True))
    values = [_tensor(by_name.get(each)) for each in pair.inputs]
    if upstream is not None:
        values = [each * upstream if isinstance(each, Tensor) else each for each in values]
    return tuple(values)
