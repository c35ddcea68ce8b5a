"""When two answers count as equal."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

EPSILON = torch.finfo(torch.float64).eps


@dataclass(frozen=True)
class Tolerance:
    """How far an entry may be off.

    ``relative`` applies to the right value; ``room`` to the size of what went into it: the largest
    upstream plus the largest right value.
    """

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
    """The entry that is furthest off: its index, the value returned, and the right one."""

    index: tuple[int, ...]
    got: float
    right: float

    @property
    def at(self) -> str:
        """Return the index as in ``[2, 1]``, or "" for a 0-dim tensor."""
        return f"[{', '.join(map(str, self.index))}]" if self.index else ""


# Neither side is ever altered, and the same answers come again. A tensor's hash is its identity.
@lru_cache(maxsize=2048)
def difference(
    got: Tensor, right: Tensor, tolerance: Tolerance, *, size: float, room: Tensor | None = None
) -> Difference | None:
    """Return the worst entry of ``got`` against ``right`` (same shape), or None if all agree.

    ``size`` is the largest absolute value of what went into them, usually of the upstream; each
    entry may be off by ``room`` besides.
    """
    if got.dtype == right.dtype and torch.equal(got, right):
        return None
    allowed = _allowed(right, tolerance, size) + (0.0 if room is None else room)
    got, right = got.detach().to(torch.float64), right.detach().to(torch.float64)
    # An infinity is right where the same one belongs, as for a score that is masked out.
    is_same = (got == right) | (got.isnan() & right.isnan())
    off = torch.where(is_same, 0.0, (got - right).abs())
    if bool((off <= allowed).all()):
        return None
    excess = torch.where(torch.isfinite(got) | is_same, off - allowed, torch.inf)
    if not bool((excess > 0).any()):
        return None
    return entry(int(excess.argmax()), got, right)


def entry(flat: int, got: Tensor, right: Tensor) -> Difference:
    """Return the entry number ``flat``, in row-major order, of two tensors of one shape."""
    index = tuple(int(each) for each in torch.unravel_index(torch.tensor(flat), right.shape))
    return Difference(index, float(got[index]), float(right[index]))


# Right values are compared with again and again. A tensor's hash is its identity.
@lru_cache(maxsize=4096)
def _allowed(right: Tensor, tolerance: Tolerance, size: float) -> Tensor:
    """Return how far each entry may be off."""
    sizes = right.detach().to(torch.float64).abs().nan_to_num(0.0, 0.0)
    largest = float(sizes.max()) if sizes.numel() else 0.0
    return tolerance.relative * sizes + tolerance.room * (size + largest)
