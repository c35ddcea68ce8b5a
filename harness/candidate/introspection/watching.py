"""Watches a stage run forward and backward once: the operations and the lines they are on."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode

from harness.candidate.backward import call_backward, node_of
from harness.candidate.lines import code_at, is_students, place_of
from harness.candidate.operations import Observe, Seen
from harness.candidate.values import copied, copy_with_layout, outputs_of

MOST_OPERATIONS = 64
MOST_LINES = 8
# The values of a finite difference are this close to each other, relative to their size. Values
# that differ by rounding only are closer.
NEAREST, FURTHEST = 1e-13, 5e-3
MOST_NUMBERS = 65_536
_APPLY = Function.apply.__func__.__code__  # type: ignore[attr-defined]
_SUBTRACTIONS = ("aten::sub.Tensor", "aten::sub_.Tensor", "aten::rsub.Tensor")


@dataclass
class Watched:
    """What was seen. ``dispatched`` has torch's operations by name, with the first line each."""

    dispatched: dict[str, Seen] = field(default_factory=dict)
    packed: list[Seen] = field(default_factory=list)
    differences: list[Seen] = field(default_factory=list)
    built_in: str = ""
    on_ctx: bool = False


def watched(function: type[Function], op: Observe) -> Watched:
    """Return what is seen in one forward and one backward, up to where one raises."""
    seen = Watched()

    def pack(tensor: Tensor) -> Tensor:
        # What a forward saves with its ctx is packed after its return, by apply: not for built-in
        # autograd, whoever has called apply.
        if not _in_apply():
            _note(seen.packed, "a tensor kept for built-in autograd")
        return tensor

    # torch.func refuses to run with hooks on saved tensors: the second time there are none.
    for hooks in (saved_tensors_hooks(pack, lambda tensor: tensor), nullcontext()):
        try:
            with hooks, _Dispatched(seen):
                _run(function, op, seen)
            break
        except (Exception, SystemExit):
            continue  # what was seen until then counts
    return seen


def _run(function: type[Function], op: Observe, seen: Watched) -> None:
    inputs = map(copied, op.inputs, op.requires_grad)
    upstreams = [None if each is None else copy_with_layout(each) for each in op.upstream]
    with torch.enable_grad():
        outputs = outputs_of(function.apply(*inputs))
    if (node := node_of(outputs)) is None:
        nodes = (each.grad_fn for each in outputs if each.grad_fn is not None)
        seen.built_in = next((type(each).__name__ for each in nodes), "")
        return
    seen.on_ctx = any(map(_holds_tensor, vars(node).values()))
    call_backward(node, outputs, upstreams)


class _Dispatched(TorchDispatchMode):
    """Notes the operations that torch dispatches while it is active."""

    def __init__(self, seen: Watched) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._seen = seen

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Otherwise torch imports its compiler, which takes seconds.
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        name: str = func.name()
        if name in _SUBTRACTIONS and _nearly_equal(args):
            _note(self._seen.differences, "the difference of two nearly equal values")
        known = self._seen.dispatched
        is_new = name not in known and len(known) < MOST_OPERATIONS
        if is_new and (here := _students_line()):
            known[name] = Seen(name.split(".", maxsplit=1)[0].replace("::", "."), *here)
        return func(*args, **(kwargs or {}))


def _note(lines: list[Seen], what: str) -> None:
    here = _students_line()
    if here and len(lines) < MOST_LINES and Seen(what, *here) not in lines:
        lines.append(Seen(what, *here))


def _in_apply() -> bool:
    """Return whether torch's own apply is running, without a student's line inside it."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and not is_students(frame.f_code.co_filename):
        if frame.f_code is _APPLY:
            return True
        frame = frame.f_back
    return False


def _students_line() -> tuple[str, str] | None:
    """Return the student's line that is running, None if none of theirs is."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_code is not _run.__code__:
        if is_students(frame.f_code.co_filename):
            where = frame.f_code.co_filename, frame.f_lineno
            return place_of(*where), code_at(*where)
        frame = frame.f_back
    return None


def _nearly_equal(pair: Sequence[object]) -> bool:
    two = [each.detach() for each in pair if isinstance(each, Tensor)]
    if len(two) != 2 or not all(0 < each.numel() <= MOST_NUMBERS for each in two):
        return False
    with torch.no_grad():
        size = max(float(each.abs().max()) for each in two)
        apart = float((two[0] - two[1]).abs().max())
    return NEAREST * size < apart < FURTHEST * size


def _holds_tensor(value: object, depth: int = 3) -> bool:
    if isinstance(value, Mapping):
        value = tuple(value.values())
    if isinstance(value, tuple | list) and depth:
        return any(_holds_tensor(each, depth - 1) for each in value)
    return isinstance(value, Tensor)
