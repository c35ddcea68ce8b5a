"""What a student's stage was given, what it returned and what is right, as text for staff."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from rich.text import Text
from torch import Tensor

from grading.replay.transcript import Moment, agree
from harness.candidate import operations as ops
from harness.cases.compare import PRECISION, entry
from harness.course.numbers import number, numbers, shape
from harness.drawing.visible import visible

# Larger tensors are shown by their corners.
MOST_VALUES = 56
WIDTH = 74


def moment_lines(moments: Sequence[Moment]) -> Iterator[Text]:
    """Yield the lines of each moment, under a line that says which call it is."""
    calls = list(dict.fromkeys(moment.forward.handle for moment in moments))
    several = len({moment.stage for moment in moments}) < len(calls)
    for moment in moments:
        phase = "forward" if moment.upstream is None else "backward"
        which = f", call {calls.index(moment.forward.handle) + 1}" if several else ""
        yield Text(f"{moment.stage.name}.{phase}{which}", style="bold")
        for line in _told(moment):
            yield Text(line, no_wrap=True, overflow="ignore")


def case_lines(cases: Sequence[Mapping[str, ops.Returned]]) -> Iterator[Text]:
    """Yield the lines of each case that a detective's function returned, as it was read."""
    for at, case in enumerate(cases, start=1):
        yield Text(f"Case {at}", style="bold")
        for name, value in case.items():
            kind = visible(value.kind) if isinstance(value, ops.Other) else "None"
            told = visible(name)
            line = named(told, value) if isinstance(value, Tensor) else f"  {told}  {kind}"
            yield Text(line, no_wrap=True, overflow="ignore")


def named(name: str, value: Tensor) -> str:
    """Return a tensor's name, shape and values, and its dtype and strides if they are unusual."""
    kind = "" if value.dtype == torch.float64 else f" {str(value.dtype).removeprefix('torch.')}"
    order = "" if value.is_contiguous() else f" strides {value.stride()}"
    values = np.array2string(
        np.array(value.tolist()), WIDTH, precision=4, threshold=MOST_VALUES, edgeitems=3
    )
    gap = "\n" if value.dim() > 1 else "  "
    return f"  {name}  {shape(value)}{kind}{order}{gap}{values}".replace("\n", "\n    ")


def largest_difference(got: Tensor, right: Tensor) -> str:
    """Return where two tensors of one shape differ most, in words."""
    if got.is_complex():
        return "it is complex"
    got, right = got.detach().to(torch.float64), right.to(torch.float64)
    apart = (got - right).abs().nan_to_num(torch.inf, torch.inf)
    off = torch.where(got == right, torch.zeros_like(apart), apart).reshape(-1)
    flat = int(off.argmax())
    worst = entry(flat, got, right)
    returned, expected = numbers(worst.got, worst.right)
    where = f" at {worst.at}" if worst.at else ""
    return f"{number(float(off[flat]), 3)}{where}: {returned} returned, {expected} expected"


def _told(moment: Moment) -> Iterator[str]:
    if moment.upstream is None:
        names = moment.stage.names_of(moment.inputs)
        rows = zip(names, moment.inputs, moment.forward.requires_grad, strict=True)
        for name, given, need in rows:
            if not isinstance(given, Tensor):
                yield f"  {name}  {given!r}"
            else:
                yield named(name if need else f"{name}, a constant", given)
    else:
        for name, upstream in zip(moment.stage.upstreams, moment.upstream, strict=True):
            yield f"  {name}  not used" if upstream is None else named(name, upstream)
    match moment.reply:
        case ops.Output(values):
            rights = zip(moment.stage.outputs, moment.right, strict=True)
            for place, (name, right) in enumerate(rights):
                value = values[place] if place < len(values) else None
                yield from _compared(name, value, right)
        case ops.Returns(values):
            yield from _gradients(moment, values)
        case ops.Raised() | ops.Absent() | ops.Lost():
            yield f"  returned  {_trouble(moment.reply)}"


def _gradients(moment: Moment, values: Sequence[ops.Returned]) -> Iterator[str]:
    names = moment.stage.names_of(moment.inputs)
    count = len(names)
    if len(values) != count:
        yield f"  returned  {len(values)} values, {count} expected"
    rows = zip(names, moment.forward.requires_grad, moment.right, strict=True)
    for place, (name, need, right) in enumerate(rows):
        value = values[place] if place < len(values) else None
        if not need:
            yield f"  ∂C/∂{name}  not required"
        elif value is None and name in moment.stage.optional:
            yield f"  ∂C/∂{name}  None, as expected"
        else:
            yield from _compared(f"∂C/∂{name}", value, right)


def _compared(name: str, value: ops.Returned, right: Tensor | None) -> Iterator[str]:
    """Yield the returned and the expected value; values that agree are shown once."""
    assert right is not None
    if not isinstance(value, Tensor):
        kind = f"a {visible(value.kind)}" if isinstance(value, ops.Other) else "None"
        yield f"  {name} returned  {kind}"
        yield named(f"{name} expected", right)
        return
    if agree(value, right):
        yield named(f"{name}, as expected", value)
    else:
        yield named(f"{name} returned", value)
        yield named(f"{name} expected", right)
    if value.shape == right.shape and not agree(value, right, PRECISION):
        yield f"  largest difference  {largest_difference(value, right)}"


def _trouble(trouble: ops.Trouble) -> str:
    match trouble:
        case ops.Raised(kind, text, place, code):
            at = f" at {place}" if place else ""
            line = f"\n    {code}" if code else ""
            return visible(f"{kind}: {text}{at}{line}")
        case ops.Absent(reason):
            return visible(f"nothing. {reason}.")
        case ops.Lost(reason):
            return visible(f"nothing: the code {reason}.")
