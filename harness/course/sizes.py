"""The sizes that a stage is tried at: derived from the names of its dimensions."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from itertools import combinations, islice, product
from typing import TYPE_CHECKING, Any

import torch

from harness.course.inputs import Given, Sizes

if TYPE_CHECKING:
    from harness.course.stage import Stage

# Dimensions take turns in these: all different, where a shape tells which axis is which.
DIFFERENT = (5, 3, 7, 4, 6, 2, 9, 8, 11, 10, 13, 12)
TURNS = 4
SAME = 4
FRESH = (4, 8, 9, 2, 6, 3, 5, 7)
LARGER = (20, 11, 12, 9, 10)
# All tensors of a case have at most so many numbers; gradcheck asks about every one of them.
MOST, MOST_FOR_GRADCHECK, MOST_FOR_SPECIAL = 4_000, 64, 120
# Few combinations of given values are all tried. Of many those in which every two choices meet, of
# very many some, and every single choice.
FEW_COMBINATIONS, MOST_TURNS, MOST_COMBINATIONS = 12, 36, 2_000
TRIES = 1_000
# So many sizes of each kind are drawn, shared by all combinations, to find what others do not show.
MOST_DRAWN, FEWEST_DRAWN = 96, 4
# The smallest sizes, and the choices of given values at each, for examples to compute by hand.
MOST_SMALL, FEW_RESTS, MANY_DIMENSIONS = 16, 3, 6


class NoSizes(ValueError):
    """No sizes meet the conditions of a stage."""


def derived_sizes(stage: Stage) -> tuple[Sizes, ...]:
    """Return sizes that differ, are equal, single, and larger, under the stage's conditions.

    Optional tensors are sometimes absent, and of several tensors there are one to three. Every two
    choices of these and of given values come together in some case, up to 36 combinations, without
    a third one that is 0 or absent: that might hide what they do. If there are 12 combinations or
    fewer, they are all tried. With each choice every dimension is once 1, few others being 1 too,
    and every two are equal; each whole number that is given divides every dimension in some case,
    and not in another; and with each combination every dimension that a window cuts has a rest, and
    none. All this is as far as the conditions allow. Raise NoSizes if no sizes meet them.
    """
    random_ = random.Random(stage.name)
    rests = _rests(stage)
    wanted = list(_wanted(stage, len(rests)))
    turns = [(each, turn % len(rests)) for turn, each in enumerate(wanted)]
    found: list[Sizes] = []
    missing = set(range(len(rests)))
    # What a single size does not allow is tried again with others.
    while turns:
        for sides, first in turns:
            order = [rests[first], *rests[:first], *rests[first + 1 :]]
            tried = (_near(stage, sides, rest, random_) for rest in order)
            sizes = next((each for each in tried if each is not None), None)
            if sizes is not None and (sizes not in found or not stage.dimensions):
                found.append(sizes)
                missing -= {at for at, rest in enumerate(rests) if rest.items() <= sizes.items()}
        turns = [(wanted[0], at) for at in sorted(missing)] if found else []
        missing = set()
    if not found:
        conditions = ", ".join(stage.conditions)
        raise NoSizes(f"no sizes up to {max(DIFFERENT)} meet {conditions}")
    return (*found, *_more(stage, rests, found))


def fits(stage: Stage, sizes: Sizes, most: int = MOST) -> bool:
    """Return whether the sizes meet the stage's conditions, and its tensors are not too large.

    Every dimension that is an expression has to be positive.
    """
    if not all(_holds(each, sizes) for each in stage.conditions):
        return False
    shapes = [each.shape(sizes) for each in stage.inputs.values()]
    are_positive = all(min(shape, default=1) > 0 for shape in shapes)
    return are_positive and sum(map(math.prod, shapes)) <= most


def _holds(condition: str, sizes: Sizes) -> bool:
    return bool(eval(condition, {"__builtins__": {}}, dict(sizes)))


def at_sizes(sizes: Sizes) -> str:
    """Return at which sizes something is, as the end of a clause: ", at N = 5, K = 3"."""
    said = ", ".join(f"{name} = {size!r}" for name, size in sizes.items())
    return f", at {said}" if said else ""


def gradcheck_sizes(stage: Stage, sizes: Sequence[Sizes]) -> Sizes:
    """Return the first of some sizes, or smaller ones, at which gradcheck has few questions."""
    return next((each for each in sizes if _asks_little(stage, each)), None) or _smallest(stage)


def few_numbers(stage: Stage, sizes: Sizes) -> Sizes:
    """Return the sizes, or smaller ones if the tensors have many numbers then."""
    if stage.recorded or _numbers(stage, sizes) <= MOST_FOR_SPECIAL:
        return sizes
    rest = {name: value for name, value in sizes.items() if name not in stage.dimensions}
    return _smallest(stage, tuple(rest.items()))


@lru_cache(maxsize=256)
def _smallest(stage: Stage, rest: tuple[tuple[str, Any], ...] = ()) -> Sizes:
    """Return sizes at which gradcheck has few questions, without single ones if that is possible.

    Given values and tensors are those of ``rest`` if that is possible. Otherwise all tensors are
    there, and all given values have their first choice that allows it.
    """
    random_, rests = random.Random(stage.name), _rests(stage)
    if rest:
        rests = [dict(rest), *rests]
    found: list[Sizes] = []
    for attempt in range(TRIES):
        drawn: dict[str, Any] = {name: random_.choice((2, 2, 3, 1)) for name in stage.dimensions}
        tried = {**drawn, **rests[attempt % (1 + attempt * len(rests) // TRIES)]}
        if fits(stage, tried):
            if _asks_little(stage, tried):
                return tried
            found.append(tried)
    return min(found or stage.sizes, key=partial(_questions, stage))


@lru_cache(maxsize=256)
def small_sizes(stage: Stage) -> tuple[Sizes, ...]:
    """Return the smallest sizes that meet the conditions, single ones first."""
    few = (1, 2) if len(stage.dimensions) > MANY_DIMENSIONS else (1, 2, 3)
    every = sorted(product(few, repeat=len(stage.dimensions)), key=sum)
    rests = _rests(stage)[:FEW_RESTS]
    found = (
        {**dict(zip(stage.dimensions, sides, strict=True)), **rest}
        for sides in every
        for rest in rests
    )
    return tuple(islice((each for each in found if fits(stage, each)), MOST_SMALL))


def fresh_sizes(stage: Stage, sizes: Sizes) -> Sizes:
    """Return sizes that all differ, and that are not among ``sizes`` unless conditions ask it."""
    wanted = {name: FRESH[place % len(FRESH)] for place, name in enumerate(stage.dimensions)}
    rest = {name: value for name, value in sizes.items() if name not in wanted}
    return _near(stage, wanted, rest, random.Random(stage.name)) or sizes


def covering(stage: Stage, sizes: Sequence[Sizes]) -> tuple[Sizes, ...]:
    """Return the first of the sizes, and those with a choice that none before them has.

    Choices are given values, whether an optional tensor is there, and how many tensors there are.
    A stage that is recorded has the first only.
    """
    seen: set[str] = set()
    chosen: list[Sizes] = []
    for each in sizes:
        named = _choices(stage, each)
        if not chosen or (named - seen and not stage.recorded):
            chosen.append(each)
        seen |= named
    return tuple(chosen)


def differing(stage: Stage, own: Sizes, several: Sequence[Sizes]) -> list[Sizes]:
    """Return sizes other than ``own``: the first, and those in which one more choice differs."""
    chosen: list[Sizes] = []
    same = _choices(stage, own)
    for each in several:
        left = same & _choices(stage, each)
        if each != own and (not chosen or left != same):
            chosen.append(each)
            same = left
    return chosen


def _choices(stage: Stage, sizes: Sizes) -> set[str]:
    """Return what the sizes choose beside the dimensions, in words."""
    named = {_word(name, value) for name, value in sizes.items() if not name.isidentifier()}
    return named | {_word(name, sizes[name]) for name in stage.inputs if name in sizes}


def _word(name: str, value: object) -> str:
    return f"{name} {value!r}"


def _hides(name: str, value: object) -> bool:
    """Return whether a choice might hide what others do: it is 0, or a tensor is not there."""
    is_zero = type(value) in (int, float) and value == 0
    return is_zero or (name.endswith("?") and value is False)


def _questions(stage: Stage, sizes: Sizes) -> tuple[bool, int, int]:
    """Return what is best if small: whether gradcheck asks much, single sizes, and numbers.

    It asks much if there are many numbers to differentiate, or to differentiate by.
    """
    numbers = most = _numbers(stage, sizes)
    if most <= MOST_FOR_GRADCHECK:
        outputs = stage.run(stage.sample(torch.Generator().manual_seed(0), sizes))
        most = sum(each.numel() for each in outputs)
    singles = sum(sizes[name] == 1 for name in stage.dimensions)
    return most > MOST_FOR_GRADCHECK, singles, numbers


def _asks_little(stage: Stage, sizes: Sizes) -> bool:
    return _questions(stage, sizes)[:2] == (False, 0)


def _wanted(stage: Stage, rests: int) -> Iterator[dict[str, int]]:
    """Yield the sizes of dimensions that would be best, for all ``rests`` in turn."""
    if not (names := stage.dimensions):
        # Stages of single numbers are tried with nine kinds of numbers.
        yield from ({} for _ in range(max(9, rests)))
        return
    for turn in range(max(TURNS, rests - 4)):
        yield {
            name: DIFFERENT[(turn * 2 + place) % max(5, min(len(names), len(DIFFERENT)))]
            for place, name in enumerate(names)
        }
    different = {name: DIFFERENT[place % len(DIFFERENT)] for place, name in enumerate(names)}
    yield different | {names[0]: 1}
    yield dict.fromkeys(names, 1) | {names[0]: 6}
    yield dict.fromkeys(names, SAME)
    yield {name: LARGER[place % len(LARGER)] for place, name in enumerate(names)}


def _near(
    stage: Stage, wanted: dict[str, int], rest: dict[str, Any], random_: random.Random
) -> Sizes | None:
    """Return the sizes wanted, or others that meet the conditions: few changed, if that will do.

    As long as possible, sizes that differ go on to differ, and none becomes 1.
    """
    if fits(stage, whole := {**wanted, **rest}):
        return whole
    if not wanted:
        return None
    names, wide = list(wanted), max(wanted.values())
    differ = len({*wanted.values()}) == len(names)
    for attempt in range(TRIES):
        late = attempt > TRIES // 2
        changed = random_.sample(names, 1 + attempt * len(names) // TRIES)
        tried = wanted | {name: random_.randint(1 if late else 2, wide + 1) for name in changed}
        if differ and not late and len({*tried.values()}) < len(names):
            continue
        if fits(stage, whole := {**tried, **rest}):
            return whole
    return None


def _more(stage: Stage, rests: list[dict[str, Any]], found: Sequence[Sizes]) -> list[Sizes]:
    """Return more sizes, few of them, for what sizes can show and those found do not."""
    numbers = _whole_numbers(stage)
    singles = {name for each in found for name in stage.dimensions if each[name] == 1}
    if len(rests) == 1 and not numbers and singles == {*stage.dimensions}:
        return []
    tries = max(FEWEST_DRAWN, MOST_DRAWN // len(rests))
    drawn = [
        each for at, rest in enumerate(rests) for each in _drawn(stage, rest, numbers, tries, at)
    ]
    every = (*found, *drawn)
    cuts = [_cut(stage, each) if numbers else set() for each in every]
    cut = set().union(*cuts)
    shown = [
        _shown(stage, sizes, numbers) | _rests_shown(stage, sizes, cut, own)
        for sizes, own in zip(every, cuts, strict=True)
    ]
    missing = set().union(*shown).difference(*shown[: len(found)])
    more: list[Sizes] = []
    while missing:
        best = max(range(len(every)), key=lambda at: len(shown[at] & missing))
        more.append(every[best])
        missing -= shown[best]
    return more


def _drawn(
    stage: Stage, rest: dict[str, Any], numbers: list[tuple[str, int]], tries: int, seed: int
) -> Iterator[Sizes]:
    """Yield sizes drawn at random: of all kinds, single, equal, and multiples of what is given."""
    if not stage.dimensions:
        return
    random_ = random.Random(f"{stage.name} {seed}")
    every = range(2, max(FRESH) + 1)
    factors = [number for name, number in numbers if rest[name] == number]
    pools: list[Sequence[int]] = [every, (1,), ()]
    pools += [range(each, max(DIFFERENT) + 1, each) for each in factors]
    for pool, _ in product(pools, range(tries)):
        share = random_.random()
        same = random_.choice(every)
        sides = {
            name: random_.choice(pool or (same,))
            if random_.random() < share
            else random_.choice(every)
            for name in stage.dimensions
        }
        if fits(stage, sizes := {**sides, **rest}):
            yield sizes


def _shown(stage: Stage, sizes: Sizes, numbers: list[tuple[str, int]]) -> set[tuple[str, str]]:
    """Return what is seen of each dimension: that it is 1, equals another, or is a multiple.

    What hides something shows only itself. Sizes most of which are 1 show no more than that.
    """
    hiding = {_word(name, value) for name, value in sizes.items() if _hides(name, value)}
    choices = {"", *(each for each in _choices(stage, sizes) if hiding <= {each})}
    names = stage.dimensions
    singles = [name for name in names if sizes[name] == 1]
    few = len(singles) <= max(1, len(names) // 2)
    shown = {
        (name, f"is 1, with {choice}") for name in singles for choice in (choices if few else {""})
    }
    shown |= {
        (name, f"is {other}, with {choice}")
        for name, other in combinations(names, 2)
        if sizes[name] == sizes[other] > 1
        for choice in choices
    }
    return shown | {
        (dimension, f"is a multiple of {_word(name, number)}: {sizes[dimension] % number == 0}")
        for name, number in numbers
        for dimension in names
        if sizes[name] == number
    }


def _rests_shown(stage: Stage, sizes: Sizes, cut: set[str], own: set[str]) -> set[tuple[str, str]]:
    """Return for each dimension that is ever cut whether it is here, with all choices."""
    choices = sorted(_choices(stage, sizes))
    return {(name, f"has a rest with {choices}: {name in own}") for name in cut}


def _cut(stage: Stage, sizes: Sizes) -> set[str]:
    """Return the dimensions with a rest: one smaller, they lead to outputs of the same shapes."""
    shapes = _shapes(stage, sizes)
    smaller = {name: {**sizes, name: sizes[name] - 1} for name in stage.dimensions}
    return {
        name
        for name, each in smaller.items()
        if shapes and each[name] and fits(stage, each) and _shapes(stage, each) == shapes
    }


def _shapes(stage: Stage, sizes: Sizes) -> tuple[torch.Size, ...]:
    """Return the shapes of the outputs; none where the reference refuses the sizes."""
    # Only sizes that are declared need to suit the stage.
    with suppress(Exception):
        inputs = stage.sample(torch.Generator().manual_seed(0), sizes)
        return tuple(each.shape for each in stage.run(inputs))
    return ()


def _whole_numbers(stage: Stage) -> list[tuple[str, int]]:
    """Return each given value that is a whole number a dimension may have, with its name."""
    return [
        (name, choice)
        for name, each in stage.inputs.items()
        if isinstance(each.kind, Given)
        for choice in each.kind.choices
        if type(choice) is int and 1 < choice < max(DIFFERENT)
    ]


def _rests(stage: Stage) -> list[dict[str, Any]]:
    """Return given values, and which tensors there are, so that every two choices come together.

    Of few combinations, these are all. The first has the first choice of everything, and all
    tensors, if the conditions allow it.
    """
    options: dict[str, tuple[Any, ...]] = {}
    for name, each in stage.inputs.items():
        if isinstance(each.kind, Given):
            options[name] = each.kind.choices
        if each.optional:
            options[f"{name}?"] = (True, False)
        if each.several:
            options[f"{name}*"] = (3, 1, 2)
    every = _combinations(stage, options)
    zeros = {
        (place, at)
        for place, (name, values) in enumerate(options.items())
        for at, value in enumerate(values)
        if _hides(name, value)
    }
    pairs = {each: _pairs(each, zeros) for each in every}
    open_ = set().union(*pairs.values())
    for combination in every:
        # What conditions always hide has to do as it is.
        pairs[combination] |= _pairs(combination, set()) - open_
        if len(every) <= FEW_COMBINATIONS:
            pairs[combination].add(tuple(enumerate(combination)))
    waiting = set().union(*pairs.values())
    chosen = [every[0]]
    waiting -= pairs[every[0]]
    while waiting and (len(chosen) < MOST_TURNS or any(len(each) == 1 for each in waiting)):
        chosen.append(max(every, key=lambda each: len(pairs[each] & waiting)))
        waiting -= pairs[chosen[-1]]
    return [_named(options, each) for each in chosen]


def _combinations(stage: Stage, options: dict[str, tuple[Any, ...]]) -> list[tuple[int, ...]]:
    """Return the combinations of choices that the conditions allow, as far as these tell.

    Of very many they are some, with every single choice.
    """
    choices = [range(len(each)) for each in options.values()]
    every: Iterable[tuple[int, ...]] = product(*choices)
    if math.prod(map(len, choices)) > MOST_COMBINATIONS:
        every = _some(choices, random.Random(stage.name))
    known = list(every)
    allowed = [each for each in known if _allows(stage, _named(options, each))]
    return allowed or known


def _some(choices: Sequence[Sequence[int]], random_: random.Random) -> Iterator[tuple[int, ...]]:
    """Yield the first combination, many with each single choice, and others."""
    yield tuple(each[0] for each in choices)
    single = [(place, at) for place, each in enumerate(choices) for at in each]
    for place, at in single * (MOST_COMBINATIONS // len(single)):
        drawn = [random_.choice(each) for each in choices]
        drawn[place] = at
        yield tuple(drawn)


def _named(options: dict[str, tuple[Any, ...]], choice: tuple[int, ...]) -> dict[str, Any]:
    return {name: values[at] for (name, values), at in zip(options.items(), choice, strict=True)}


def _allows(stage: Stage, rest: dict[str, Any]) -> bool:
    """Return whether the conditions that are about given values only hold."""
    for condition in stage.conditions:
        # The others have names of dimensions.
        with suppress(NameError):
            if not _holds(condition, rest):
                return False
    return True


def _pairs(
    choice: tuple[int, ...], zeros: set[tuple[int, int]]
) -> set[tuple[tuple[int, int], ...]]:
    """Return every choice of one thing, and of two: if one is not 0, without a third that is 0."""
    single = [*enumerate(choice)]
    pairs = {
        each
        for each in combinations(single, 2)
        if zeros.issuperset(each) or zeros.isdisjoint({*single} - {*each})
    }
    return {*((each,) for each in single), *pairs}


def _numbers(stage: Stage, sizes: Sizes) -> int:
    """Return how many numbers the tensors with a gradient have."""
    shapes = [
        (stage.inputs[name].shape(sizes), sizes.get(f"{name}*", 1)) for name in stage.differentiable
    ]
    return sum(math.prod(shape) * count for shape, count in shapes)
