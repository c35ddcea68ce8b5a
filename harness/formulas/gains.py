"""Slopes of functions that are stretched along their axis, as σ(kz) is: the number k is found."""

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from harness.course.stage import Stage
from harness.expressions.rows import broadcasts
from harness.expressions.steps import Array
from harness.formulas.factors import rounded
from harness.formulas.point import Point

# Between which numbers k is looked for, and in how many steps.
LEAST, MOST, STEPS = 0.01, 100.0, 80
# Which slopes tell k, relative to the largest, and how many there must be.
CLEAR, FEWEST = 1e-3, 4
# The tolerance for each entry, relative to the largest.
SAME = 1e-8

# The slopes, and what they are of |k| times a quantity.
SLOPES: Mapping[str, Callable[[Array], Array]] = {
    "sigmoid({0}) * (1 - sigmoid({0}))": lambda x: np.exp(-x) / (1 + np.exp(-x)) ** 2,
    "(1 - tanh({0}) ** 2)": lambda x: 4 * np.exp(-2 * x) / (1 + np.exp(-2 * x)) ** 2,
    "1 / (1 + abs({0})) ** 2": lambda x: 1 / (1 + x) ** 2,
    "exp(-({0}) ** 2)": lambda x: np.exp(-(x**2)),
    "1 / (1 + ({0}) ** 2)": lambda x: 1 / (1 + x**2),
}


def with_gains(stage: Stage, point: Point, wanted: Array) -> Iterator[str]:
    """Yield slopes at k times a quantity that have the wanted values up to a factor.

    Each is by itself, or a factor of an upstream.
    """
    for outer, whole in (
        ("{}", None),
        *((f"{g} * ({{}})", value) for g, value in point.upstreams.items()),
    ):
        if whole is not None and not broadcasts(whole.shape, wanted.shape):
            continue
        with np.errstate(all="ignore"):
            slope = (wanted if whole is None else wanted / whole).reshape(-1)
        # Further out, too few digits are left.
        clear = np.abs(slope) > CLEAR * np.abs(slope).max()
        signs = {*np.sign(slope[clear]).tolist()}
        if not np.isfinite(slope).all() or len(signs) != 1 or clear.sum() < FEWEST:
            continue
        for name in stage.quantities:
            value = point.names.get(name)
            if value is not None and value.shape == wanted.shape:
                found = _stretched(name, np.abs(value).reshape(-1)[clear], slope[clear])
                # One function may be another one stretched: with 1 or k before it, it is that one.
                yield from (outer.format(text) for _, text in sorted(found))


def _stretched(name: str, sizes: Array, slope: Array) -> Iterator[tuple[bool, str]]:
    """Yield slopes at k times a name; its sizes are given, and what the slopes should be.

    With each comes whether the factor before it is another one than 1 or k.
    """
    near, far = int(sizes.argmin()), int(np.argsort(sizes)[len(sizes) // 2])
    wanted = np.log(slope[far] / slope[near])
    if sizes[near] == sizes[far] or not wanted < 0:
        return
    for pattern, function in SLOPES.items():
        low, high = LEAST, MOST
        with np.errstate(all="ignore"):
            # All of them fall with the size of their argument, and so does this with k.
            for _ in range(STEPS):
                middle = (low * high) ** 0.5
                falls = np.log(function(middle * sizes[far]) / function(middle * sizes[near]))
                low, high = (low, middle) if not falls > wanted else (middle, high)
            found = function(low * sizes)
        factor = slope[near] / found[near]
        if np.abs(factor * found - slope).max() <= SAME * np.abs(slope).max():
            is_odd = not np.isclose(abs(factor), (1, low), rtol=SAME).any()
            yield is_odd, pattern.format(f"{rounded(low)} * {name}")
