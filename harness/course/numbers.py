"""How numbers are written for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

# What stands before the last line of a message, if that is a line to run.
TO_RUN = "To run it:"


def number(value: float, digits: int = 4) -> str:
    """Return the number with a few significant digits and a true minus sign."""
    # Adding 0.0 takes the sign off a zero.
    return f"{value + 0.0:.{digits}g}".replace("-", "−")


def numbers(one: float, other: float) -> tuple[str, str]:
    """Return two different numbers with as many digits as it takes to differ, at least four."""
    for digits in range(4, 18):
        shown = number(one, digits), number(other, digits)
        if shown[0] != shown[1]:
            break
    return shown


def decimal(value: float) -> str:
    """Return the number with at most two decimals: 7.5, 10."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def plural(amount: int, noun: str) -> str:
    """Return the amount with its noun, such as ``1 check`` or ``2 checks``."""
    return f"{amount} {noun}{'s' * (amount != 1)}"


def shape(value: Tensor) -> str:
    """Return the shape as torch prints it: ``(5, 3)``, ``(7,)``, ``()``."""
    return str(tuple(value.shape))
