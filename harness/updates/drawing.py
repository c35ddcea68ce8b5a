"""Trajectories that tell optimizers apart, drawn at random."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from harness.candidate.operations import Value
from harness.updates.optimizer import Optimizer
from harness.updates.trajectory import Settings, Step, Trajectory

STEPS = 12
# Where a hyperparameter is a number of steps, as of a schedule, some more than that, up to these.
MOST = 100
# The powers of ten between which the sizes of gradients lie.
SMALLEST, LARGEST = -4, 1
# An epsilon that matters beside such gradients.
EPSILON = 1e-3


def drawn(
    optimizer: Optimizer,
    generator: torch.Generator,
    shapes: Sequence[tuple[int, ...]] = ((3, 2),),
    *,
    at: int = 0,
    groups: int = 1,
    absent: bool = False,
    large: bool = True,
    scale: float = 1.0,
    rests: bool = False,
) -> Trajectory:
    """Return a trajectory whose settings are near those of the try with the index ``at``.

    The parameters take turns in the groups, and with several groups the rate changes on the way.
    With ``absent`` the first parameter has no gradient at one step, the others at some before;
    ``large`` makes epsilon matter. The gradients are multiplied by ``scale``, and the parameters
    with them if it is small. If the first parameter ``rests``, its first gradient is 0.
    """
    start = tuple(2 * min(1.0, scale) * _normal(generator, shape) for shape in shapes)
    count = _steps_for(optimizer.tries[at])
    zero = 2 + _below(generator, STEPS - 4)
    steps = []
    for number in range(count):
        still = [number == zero or (rests and number == k == 0) for k in range(len(shapes))]
        found = [
            scale * _gradient(generator, shape, zero)
            for shape, zero in zip(shapes, still, strict=True)
        ]
        gone = [absent and (number < 3 if k else number == count - 3) for k in range(len(found))]
        pairs = zip(found, gone, strict=True)
        steps.append(Step(tuple(None if is_gone else each for each, is_gone in pairs)))
    own: tuple[Settings, ...] = ({},)
    inside = [tuple(range(len(shapes)))[each::groups] for each in range(groups)]
    if groups > 1:
        own = tuple(settings_near(optimizer, generator, at, large) for _ in range(groups))
        half = count // 2
        steps[half] = Step(steps[half].gradients, tuple(map(_slower, own)))
    general = settings_near(optimizer, generator, at, large)
    return Trajectory(start, tuple(inside), (general, *own), tuple(steps))


def _steps_for(settings: Settings) -> int:
    """Return how many steps show what the hyperparameters do."""
    numbers = [each for each in settings.values() if type(each) is int]
    return max(STEPS, min(MOST, max(numbers, default=0) + 4))


def settings_near(
    optimizer: Optimizer, generator: torch.Generator, at: int = 0, large: bool = True
) -> Settings:
    """Return hyperparameters near those of a try."""
    base = dict(optimizer.tries[at])
    if large and "eps" in base:
        base["eps"] = EPSILON
    return {name: _near(value, generator) for name, value in base.items()}


def _near(value: Value, generator: torch.Generator) -> Value:
    if isinstance(value, tuple):
        return tuple(_near(each, generator) for each in value)
    if not isinstance(value, float):
        return value
    factor = 0.6 + float(torch.rand((), generator=generator, dtype=torch.float64))
    # What decays stays below 1.
    return 1 - (1 - value) * factor if 0.5 < value < 1 else value * factor


def _slower(settings: Settings) -> Settings:
    """Return the change to a tenth of the rate, or of the first number."""
    numbers = [name for name, value in settings.items() if isinstance(value, float)]
    name = "lr" if "lr" in numbers else next(iter(numbers), "")
    value = settings.get(name)
    return {name: value / 10} if isinstance(value, float) else {}


def _gradient(generator: torch.Generator, shape: tuple[int, ...], zero: bool) -> Tensor:
    powers = torch.rand(shape, generator=generator, dtype=torch.float64)
    found = _normal(generator, shape) * 10 ** (SMALLEST + (LARGEST - SMALLEST) * powers)
    return torch.zeros_like(found) if zero else found


def _normal(generator: torch.Generator, shape: tuple[int, ...]) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def _below(generator: torch.Generator, end: int) -> int:
    return int(torch.randint(end, (), generator=generator))
