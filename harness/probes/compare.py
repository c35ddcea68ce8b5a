"""When two answers count as equal, and what to say when they do not."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

EPSILON = torch.finfo(torch.float64).eps


@dataclass(frozen=True)
class Tolerance:
    """How far an entry may be off: ``relative`` to the right value, and ``room`` times the size
    of what went into it (the largest upstream, and the largest right value)."""

    relative: float
    room: float


# Values leave room for arithmetic in float32, which is a matter of precision, not of the formula.
VALUES = Tolerance(1e-6, 5e-7)
# The reference itself is no more exact than a few roundings, as in s(1 - s) for a saturated s.
PRECISION = Tolerance(1e-9, 16 * EPSILON)
EXTREMES = Tolerance(1e-6, 4 * EPSILON)
# Of outputs: sums may cancel to some roundings of what went in; float32 is 1e4 times as coarse.
DIGITS = Tolerance(1e-9, 1e-12)


@dataclass(frozen=True)
class Difference:
    """The entry that is furthest off: where it is, what came, what belongs there."""

    index: tuple[int, ...]
    got: float
    right: float

    @property
    def at(self) -> str:
        """The entry as an index, such as ``[2, 1]``; empty for a 0-dim tensor."""
        return f"[{', '.join(map(str, self.index))}]" if self.index else ""


# Neither side is ever altered, and the same answers come again. A tensor's hash is its identity.
@lru_cache(maxsize=2048)
def difference(
    got: Tensor, right: Tensor, tolerance: Tolerance, *, size: float
) -> Difference | None:
    """The worst entry of ``got`` against ``right`` (same shape), or None where all agree.

    ``size`` is the size of what went into them: the upstream's largest entry.
    """
    allowed = _allowed(right, tolerance, size)
    got, right = got.detach().to(torch.float64), right.detach().to(torch.float64)
    off = (got - right).abs()
    if bool((off <= allowed).all()):
        return None
    excess = torch.where(torch.isfinite(got), off - allowed, torch.inf)
    if not bool((excess > 0).any()):
        return None
    return entry(int(excess.argmax()), got, right)


def entry(flat: int, got: Tensor, right: Tensor) -> Difference:
    """The entry number ``flat`` of two tensors of one shape, counted in row-major order."""
    index = tuple(int(each) for each in torch.unravel_index(torch.tensor(flat), right.shape))
    return Difference(index, float(got.flatten()[flat]), float(right.flatten()[flat]))


# Right values are compared with again and again. A tensor's hash is its identity.
@lru_cache(maxsize=4096)
def _allowed(right: Tensor, tolerance: Tolerance, size: float) -> Tensor:
    """How far each entry may be off."""
    sizes = right.detach().to(torch.float64).abs()
    largest = float(sizes.max()) if sizes.numel() else 0.0
    return tolerance.relative * sizes + tolerance.room * (size + largest)


def number(value: float, digits: int = 4) -> str:
    """A number as a student reads it: a few significant digits and a true minus sign."""
    return f"{value:.{digits}g}".replace("-", "−")


def numbers(one: float, other: float) -> tuple[str, str]:
    """Two different numbers with as many digits as it takes to tell them apart, at least four."""
    for digits in range(4, 18):
        shown = number(one, digits), number(other, digits)
        if shown[0] != shown[1]:
            break
    return shown


def shape(value: Tensor) -> str:
    """A shape as torch prints it in a tuple: ``(5, 3)``, ``(7,)``, ``()``."""
    return str(tuple(value.shape))
