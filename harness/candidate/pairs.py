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
from harness.candidate.values import NothingToCall, outputs_of


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
            return outputs if isinstance(out, tuple) else outputs[0]

        @staticmethod
        @once_differentiable
        def backward(ctx: Any, *upstreams: Any) -> Any:
            if pair.without_upstream:
                return _placed(pair, pair.forward, ctx.cache, upstreams[0])
            given = [_given(each, pair.in_numpy) for each in upstreams]
            dout = given[0] if len(given) == 1 else tuple(given)
            return _placed(pair, pair.backward, found[pair.backward](dout, ctx.cache))

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

    So the judge sees what is changed in it.
    """
    if not isinstance(value, Tensor):
        return value
    return value.detach().numpy() if in_numpy else value.detach()


def _two(pair: Pair, returned: Any) -> tuple[Any, Any]:
    """Return the output, and the cache or the gradients."""
    if isinstance(returned, tuple | list) and len(returned) > 1:
        out, second, *others = returned
        if not others:
            return out, second
        if pair.without_upstream:
            return out, (second, *others)
    second = "its gradients" if pair.without_upstream else "a cache"
    raise NothingToCall(f"{pair.forward} did not return an output and {second}")


def _output(value: Any, dtype: torch.dtype | None) -> Any:
    """Return what forward returned as a tensor of its own; a plain number has no dtype."""
    if type(value) in (int, float):
        return torch.tensor(value, dtype=dtype)
    return _tensor(np.array(value) if isinstance(value, np.ndarray) else value)


def _tensor(value: Any) -> Any:
    """Return an array or a number as a tensor, and anything else as it is."""
    if isinstance(value, np.ndarray | np.number | int | float) and not isinstance(value, bool):
        return torch.from_numpy(np.ascontiguousarray(value)).reshape(np.shape(value))
    return value


def _placed(pair: Pair, name: str, returned: Any, upstream: Tensor | None = None) -> Any:
    """Return a gradient for each input of the gradients that were returned: of all, or needed."""
    several = isinstance(returned, tuple | list)
    found = list(returned) if several else [returned]
    if len(found) == len(pair.inputs):
        by_name = dict(zip(pair.inputs, found, strict=True))
    elif len(found) == len(pair.needed):
        by_name = dict(zip(pair.needed, found, strict=True))
    else:
        raise NothingToCall(f"{name} did not return a gradient for each input that has one")
    values = [_tensor(by_name.get(each)) for each in pair.inputs]
    if upstream is not None:
        values = [each * upstream if isinstance(each, Tensor) else each for each in values]
    return tuple(values)
