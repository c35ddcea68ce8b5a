"""What stands between the stages of a network: torch's own operations, from a closed list.

A link of a chain names one as ``torch.exp``; the name of a stage has no dot.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from harness.candidate.operations import Link, Value
from harness.candidate.values import NothingToCall, outputs_of

NOT_ALL = "forward did not return a tensor for each output, so there is no backward to call"
_METHODS = """
abs amax amin chunk clamp cos cumsum detach exp expand flatten flip gather log log_softmax
logsumexp masked_fill maximum mean minimum movedim narrow permute prod relu repeat reshape roll
select sigmoid sin size softmax split sqrt square squeeze std sum swapaxes t tanh transpose tril
triu unbind unflatten unsqueeze var
"""
_OPERATORS = "add eq ge gt le lt matmul mul ne neg pow sub truediv"
_FUNCTIONS = "cat einsum stack where"
ATTRIBUTES = ("T", "mT", "ndim", "shape")
# What does the same. A view needs a layout, which is for the student to choose.
_ALIASES = {
    "bmm": "matmul", "concat": "cat", "div": "truediv", "dot": "matmul", "mm": "matmul",
    "mv": "matmul", "subtract": "sub", "view": "reshape",
}  # fmt: skip


def _getattr(value: Any, name: str) -> Any:
    if name not in ATTRIBUTES:
        raise ValueError(f"a network may use {', '.join(ATTRIBUTES)} of a tensor, not {name}")
    return getattr(value, name)


# They take what torch's function or method takes, names of keywords included.
GLUE: Mapping[str, Callable[..., Any]] = {
    **{f"torch.{name}": getattr(Tensor, name) for name in _METHODS.split()},
    **{f"torch.{name}": getattr(operator, name) for name in _OPERATORS.split()},
    **{f"torch.{name}": getattr(torch, name) for name in _FUNCTIONS.split()},
    "torch.getattr": _getattr,
    "torch.getitem": lambda value, index: value[_subscript(index)],
    "torch.tuple": lambda *items: items,
}
_PLACES = ("torch", "torch.functional", "torch.nn.functional", "_operator", "builtins", None)


def glue_for(target: object) -> str:
    """Return the name of the glue for a node of torch.fx, "" if there is none.

    ``target`` is the node's: a function, or the name of a method.
    """
    name = target if isinstance(target, str) else getattr(target, "__name__", "")
    name = _ALIASES.get(name, name)
    known = f"torch.{name}" in GLUE
    if isinstance(target, str):
        return f"torch.{name}" if known and name not in _FUNCTIONS.split() else ""
    return f"torch.{name}" if known and getattr(target, "__module__", None) in _PLACES else ""


def given_index(index: object) -> Value:
    """Return an index as a value that a chain can be given: slices and ``...`` are texts."""
    match index:
        case tuple():
            return tuple(map(given_index, index))
        case slice(start=start, stop=stop, step=step):
            return ":".join("" if each is None else str(each) for each in (start, stop, step))
        case _:
            return "..." if index is ... else index  # type: ignore[return-value]


def _subscript(index: Any) -> Any:
    if isinstance(index, tuple):
        return tuple(map(_subscript, index))
    if not isinstance(index, str):
        return index
    return ... if index == "..." else slice(*(int(x) if x else None for x in index.split(":")))


def run_links(
    links: Sequence[Link], functions: Mapping[str, Callable[..., Any]], values: dict[str, Any]
) -> None:
    """Add to ``values`` what the links compute, in order, with a function for each stage.

    Raise NothingToCall if one of several outputs returns fewer, or more.
    """
    for link in links:
        if link.stage in functions:
            returned = functions[link.stage](*[values[name] for name in link.inputs])
        else:
            returned = _glued(link, values)
        outputs = (returned,) if len(link.outputs) == 1 else outputs_of(returned)
        if len(outputs) != len(link.outputs):
            raise NothingToCall(NOT_ALL)
        values.update(zip(link.outputs, outputs, strict=True))


def _glued(link: Link, values: Mapping[str, Any]) -> Any:
    plain = [values[name] for name in link.inputs if "=" not in name]
    named = (name.split("=") for name in link.inputs if "=" in name)
    return GLUE[link.stage](*plain, **{keyword: values[name] for keyword, name in named})
