"""The sizes that a stage is tried at: derived from the names of its dimensions."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from harness.course.inputs import Given, Sizes

if TYPE_CHECKING:
    from harness.course.stage import Stage

# Dimensions take turns in these: all different, where a shape tells which axis is which.
DIFFERENT = (5, 3, 7, 4, 6, 2, 9, 8, 11, 10, 13, 12)
TURNS = 4
SAME = 4
FRESH = (4, 8, 9, 2, 6, 3, 5, 7)
LARGER = (20, 11, 12, 9, 10)
# A case has at most so many numbers in its largest tensor, and gradcheck's in all of them.
MOST, MOST_FOR_GRADCHECK = 4_000, 64
TRIES = 3_000


class NoSizes(ValueError):
    """No sizes meet the conditions of a stage."""


def derived_sizes(stage: Stage) -> tuple[Sizes, ...]:
    """Return sizes that differ, are equal, single, and larger, under the stage's conditions.

    Given values take turns too, every choice at least once; optional tensors are sometimes absent,
    and of several tensors there are one to three. Raise NoSizes if no sizes meet the conditions.
    """
    random_ = random.Random(stage.name)
    found: list[Sizes] = []
    turns = max([1, *(len(each) for each in _choices(stage).values())])
    for turn, wanted in enumerate(_wanted(stage, turns)):
        sizes = _near(stage, wanted, turn, random_)
        if sizes is not None and (sizes not in found or not stage.dimensions):
            found.append(sizes)
    if not found:
        conditions = ", ".join(stage.conditions)
        raise NoSizes(f"{stage.name}: no sizes up to {max(DIFFERENT)} meet {conditions}")
    return tuple(found)


def fits(stage: Stage, sizes: Sizes, most: int = MOST) -> bool:
    """Return whether the sizes meet the stage's conditions, and no tensor is too large.

    Every dimension that is an expression has to be positive.
    """
    if not all(eval(each, {"__builtins__": {}}, dict(sizes)) for each in stage.conditions):
        return False
    shapes = [each.shape(sizes) for each in stage.inputs.values()]
    return all(math.prod(shape) <= most and all(side > 0 for side in shape) for shape in shapes)


def gradcheck_sizes(stage: Stage, sizes: Sequence[Sizes]) -> tuple[Sizes, ...]:
    """Return those of some sizes, or smaller ones, at which gradcheck has few questions."""
    few = tuple(each for each in sizes if _numbers(stage, each) <= MOST_FOR_GRADCHECK)
    if any(not _has_single(stage, each) for each in few) or not stage.dimensions:
        return few
    random_ = random.Random(stage.name)
    best: tuple[float, Sizes] | None = None
    for _ in range(TRIES):
        drawn = {name: random_.choice((1, 2, 2, 3)) for name in stage.dimensions}
        tried = {**drawn, **_rest(stage, random_.randrange(99), drawn)}
        if fits(stage, tried):
            count = _numbers(stage, tried)
            single = sum(size == 1 for size in drawn.values())
            rank = single if count <= MOST_FOR_GRADCHECK else 100.0 + count
            if best is None or rank < best[0]:
                best = rank, tried
    return (best[1],) if best else (min(sizes, key=lambda each: _numbers(stage, each)),)


def fresh_sizes(stage: Stage, sizes: Sizes) -> Sizes:
    """Return sizes that all differ, and that are not among ``sizes`` unless conditions ask it."""
    wanted = {name: FRESH[place % len(FRESH)] for place, name in enumerate(stage.dimensions)}
    if len(wanted) == len(sizes) or not wanted:
        return {**sizes, **wanted}
    return _near(stage, wanted, 1, random.Random(stage.name)) or sizes


def _has_single(stage: Stage, sizes: Sizes) -> bool:
    return any(sizes[name] == 1 for name in stage.dimensions)


def _wanted(stage: Stage, turns: int) -> Iterator[dict[str, int]]:
    names = stage.dimensions
    if not names:
        # Stages of single numbers are tried with nine kinds of numbers.
        yield from ({} for _ in range(max(9, turns)))
        return
    for turn in range(max(TURNS, turns)):
        yield {
            name: DIFFERENT[(turn * 2 + place) % max(5, len(names))]
            for place, name in enumerate(names)
        }
    yield {name: DIFFERENT[place] for place, name in enumerate(names)} | {names[0]: 1}
    yield dict.fromkeys(names, 1) | {names[0]: 6}
    yield dict.fromkeys(names, SAME)
    yield {name: LARGER[place % len(LARGER)] for place, name in enumerate(names)}


def _near(stage: Stage, wanted: dict[str, int], turn: int, random_: random.Random) -> Sizes | None:
    """Return the sizes wanted, or others like them that meet the conditions."""
    pool = sorted({*wanted.values()}) if len({*wanted.values()}) > 1 else [*wanted.values()][:1]
    for attempt in range(TRIES):
        tried = dict(wanted)
        if attempt:
            wider = [*pool, *range(1, 2 + attempt // 100)] if attempt > 300 else pool
            distinct = len(pool) == len(wanted)
            values = (
                random_.sample(pool, len(wanted))
                if distinct and attempt <= 300
                else random_.choices(wider, k=len(wanted))
            )
            tried = dict(zip(wanted, values, strict=True))
        whole = {**tried, **_rest(stage, turn + attempt, tried)}
        if fits(stage, whole):
            return whole
        if not wanted and not _choices(stage):
            return None
    return None


def _choices(stage: Stage) -> dict[str, tuple[Any, ...]]:
    kinds = {name: each.kind for name, each in stage.inputs.items()}
    return {name: kind.choices for name, kind in kinds.items() if isinstance(kind, Given)}


def _rest(stage: Stage, turn: int, sizes: Sizes) -> dict[str, Any]:
    """Return the given values of a turn, and which tensors there are."""
    choices = _choices(stage)
    rest: dict[str, Any] = {}
    for place, (name, values) in enumerate(choices.items()):
        # The first turns every value, the next one the pairs.
        rest[name] = values[(turn + place * (turn // len(values))) % len(values)]
    for place, (name, each) in enumerate(stage.inputs.items()):
        if each.optional:
            rest[f"{name}?"] = (turn + place) % 3 != 2
        if each.several:
            rest[f"{name}*"] = (3, 1, 2)[turn % 3]
    return rest


def _numbers(stage: Stage, sizes: Sizes) -> int:
    """Return how many numbers the tensors with a gradient have."""
    shapes = [
        (stage.inputs[name].shape(sizes), sizes.get(f"{name}*", 1)) for name in stage.differentiable
    ]
    return sum(math.prod(shape) * count for shape, count in shapes)
