"""Steps from an expression to another one, as text and on many values at once."""

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from types import CodeType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.expressions.data import data

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Step:
    """An expression of another one, ``_``, what it costs, and whether it is about axes."""

    pattern: str
    cost: float = 0.0
    along_axes: bool = False
    given: tuple[tuple[str, int], ...] = ()

    @cached_property
    def code(self) -> CodeType:
        """The expression, compiled."""
        return compile(self.pattern, "<step>", "eval")


def values_after(steps: Iterable[Step], values: Array) -> list[Array]:
    """Return what each step makes of values.

    A step along axes is about the values of one expression: they have that for their first axis.
    """
    given, chosen = torch.from_numpy(np.array(values, order="C")), list(steps)
    plain = [step for step in chosen if not step.along_axes]
    along = [step for step in chosen if step.along_axes]
    made = dict(zip(plain, (_evaluated(step, given) for step in plain), strict=True))
    if along:
        # All at once, as a call of vmap costs more than most of them. Old versions of torch warn
        # of operations that it makes slow.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = torch.vmap(lambda one: tuple(_evaluated(step, one) for step in along))(given)
        made |= zip(along, found, strict=True)
    return [made[step].numpy() for step in chosen]


def _evaluated(step: Step, value: Tensor) -> Tensor:
    made: Tensor = eval(step.code, vars(torch), {"_": value, **dict(step.given)})
    return made.double()


def _steps(kind: str, *, along_axes: bool = False) -> tuple[Step, ...]:
    return tuple(Step(pattern, cost, along_axes) for pattern, cost in data("table")[kind].items())


ENTRYWISE = _steps("entrywise")
ALONG_AXES = _steps("along_axes", along_axes=True)


@cache
def along(rank: int, given: tuple[tuple[str, int], ...] = ()) -> tuple[Step, ...]:
    """Return what is done along the axes of a tensor that is not a matrix.

    ``given`` are axes by name.
    """
    found: dict[str, float] = {"_.mT": 0.5} if rank > 1 else {}
    axes = [name for name, axis in given if -rank <= axis < rank]
    turned = [f"1 - {name}" for name in axes if rank == 2 and min(dict(given).values()) >= 0]
    every, deep = data("table")["axis"], data("table")["deep_axis"]
    for axis in (*axes, *turned, *(() if rank == 2 else range(rank))):
        patterns = every | (deep if rank > 2 and not isinstance(axis, str) else {})
        rest = tuple(each for each in range(rank) if each != axis)
        found |= {text.format(axis, rest): cost for text, cost in patterns.items()}
    # Where an axis is given, its name says more than its number.
    less = {text: 0.6 * any(name in text for name, _ in given) for text in found}
    return tuple(Step(text, cost - less[text], True, given) for text, cost in found.items())


def some(name: str) -> tuple[Step, ...]:
    """Return the steps of that selection."""
    chosen = data("table")["some"][name]
    return tuple(step for step in (*ENTRYWISE, *ALONG_AXES) if step.pattern in chosen)


def undone(*kinds: str, of: Array) -> Iterator[tuple[str, Array]]:
    """Yield what may stand around an expression, and the values that it would have inside."""
    around = data("around")
    for pattern in (pattern for kind in kinds for pattern in around[kind]):
        yield pattern, values_after([Step(around["undone"][pattern])], of)[0]
