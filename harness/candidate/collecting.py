"""Collects the cases that a student's function returns, as plain data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from numbers import Real
from operator import length_hint

import torch
from numpy import generic, ndarray
from torch import Tensor

from harness.candidate import operations as ops
from harness.candidate.values import NothingToCall, snapshot

MOST_DEPTH = 8
MOST_KEYS, MOST_LETTERS = 100, 100


def collect(op: ops.Collect, names: Mapping[str, object]) -> ops.Collected:
    """Return the cases of the function of that name. Raise NothingToCall if there is none.

    A list in its place is taken as what it would return, and so is whatever else yields cases.
    """
    found = names.get(op.stage)
    if found is None:
        raise NothingToCall(f"There is no function {op.stage}")
    returned = found() if callable(found) else found
    if returned is None:
        return ops.Collected(())
    if isinstance(returned, Mapping | str) or not isinstance(returned, Iterable):
        returned = [returned]
    return ops.Collected(tuple(_case(each, op.numbers) for each in islice(returned, op.most + 1)))


def _case(case: object, most: int) -> dict[str, ops.Returned]:
    if not isinstance(case, Mapping):
        return {"": ops.Other(_kind(case))}
    items = islice(case.items(), MOST_KEYS)
    return {str(name)[:MOST_LETTERS]: _value(value, most) for name, value in items}


def _value(value: object, most: int) -> ops.Returned:
    """Return a value as it is now: numbers as a tensor, anything else by its type, or its text."""
    if value is None:
        return None
    if isinstance(value, str):
        return ops.Other(value[:MOST_LETTERS])
    left = iter(range(most))
    try:
        return torch.tensor(_numbers(value, left, MOST_DEPTH), dtype=torch.float64, device="cpu")
    except _TooMany:
        return ops.Other(ops.TOO_MANY)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        # Lists of unequal length, complex numbers, and what holds no numbers.
        return ops.Other(_kind(value))


class _TooMany(Exception):
    """There are more numbers than a case may have."""


def _numbers(value: object, left: Iterator[int], depth: int) -> object:
    """Return plain numbers in lists. Raise TypeError for anything else, and _TooMany."""
    if isinstance(value, Real):
        if next(left, None) is None:
            raise _TooMany
        return float(value)
    if isinstance(value, Tensor):
        value = snapshot(value)
    if isinstance(value, Tensor | ndarray | generic) and depth:
        size = value.numel() if isinstance(value, Tensor) else value.size
        if size > length_hint(left):
            # A list of so many would take up far more memory.
            raise _TooMany
        return _numbers(value.tolist(), left, depth - 1)
    if isinstance(value, list | tuple | range) and depth:
        return [_numbers(each, left, depth - 1) for each in value]
    raise TypeError


def _kind(value: object) -> str:
    return type(value).__name__[:MOST_LETTERS]
