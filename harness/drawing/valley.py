"""The path that an optimizer takes down a valley, beside the right one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import takewhile

import torch

from harness.course.report import Check, Report
from harness.drawing.svg import BAD, GOOD, Picture, Point, caption, element, line, picture
from harness.language import tr
from harness.updates import Optimizer, Rule
from harness.updates.rule import read_rule
from harness.updates.trajectory import Settings, led_down

WIDTH, HEIGHT, TOP = 370.0, 226.0, 30.0
CENTRE: Point = (196.0, 116.0)
STEPS = 40
# The cost is half of x² + steepness · y²; the lengths are those of the picture, for a start of 1.
STEEPNESS, ACROSS, DOWN = 8.0, 150.0, 210.0
START = (-1.0, 0.36)
LEVELS = (0.05, 0.2, 0.45, 0.8, 1.25)


def valley_pictures(optimizers: Sequence[Optimizer], report: Report) -> Iterator[Picture]:
    """Yield a picture for each optimizer whose rule is known and judged by the report.

    A wrong rule is drawn too, if the report tells it.
    """
    checks = {check.id: check for check in report.checks}
    for optimizer in optimizers:
        check = checks.get(f"{optimizer.slug}/update")
        if check is None or optimizer.rule is None or check.outcome in ("error", "not_run"):
            continue
        wrong = _told(check)
        if check.outcome == "passed" or wrong:
            yield valley_picture(optimizer, wrong)


def _told(check: Check) -> Rule | None:
    """Return the rule that the message, which depends on the level of feedback, has."""
    formula = check.diagnosis.formula if check.diagnosis else ""
    if not any(line and line in check.message for line in formula.split("; ")):
        return None
    # What is said of the state cannot be read.
    with suppress(ValueError):
        return read_rule(formula)
    return None


def valley_picture(optimizer: Optimizer, wrong: Rule | None = None) -> Picture:
    """Draw the steps of an optimizer down a valley, and those of a wrong rule beside them."""
    assert optimizer.rule is not None
    size, slope, right = _right(optimizer.rule, optimizer.tries[0])
    head = tr("{name}: {steps} steps down a valley").format(name=optimizer.name, steps=STEPS)
    body = [*_levels(), caption(12, 20, head)]
    paths = [(right, GOOD, tr("right") if wrong else tr("your steps"))]
    if wrong:
        yours = _path(wrong, optimizer.tries[0], size, slope)
        paths.append((yours, BAD, tr("yours")))
    for row, (path, colour, name) in enumerate(paths):
        body += _drawn(path, size, colour)
        x, y = 12 + 90 * row, HEIGHT - 5
        body.append(line((x, y - 4), (x + 18, y - 4), stroke=colour, stroke_width=2))
        body.append(caption(x + 24, y, name))
    first = tr("The right steps end {end}.") if wrong else tr("Your steps end {end}.")
    said = first.format(end=_end(right, size))
    if wrong:
        said += tr(" Yours end {end}.").format(end=_end(paths[1][0], size))
    title = tr("The path of {name} down a valley").format(name=optimizer.name)
    return picture(body, WIDTH, HEIGHT, title=title, description=said)


def _right(rule: Rule, settings: Settings) -> tuple[float, float, list[Point]]:
    """Return a valley of a size and a slope that the steps get far down in, and the path.

    Rates differ by powers of ten, and some steps do not depend on the slope.
    """
    best: tuple[float, float, float, list[Point]] | None = None
    for size in (1.0, 10.0, 0.1, 100.0, 0.01):
        for slope in (1.0, 0.1, 10.0, 0.01, 100.0):
            path = _path(rule, settings, size, slope)
            far = math.hypot(*path[-1]) / size if len(path) > STEPS else math.inf
            # Neither there at once nor hardly on the way.
            early = math.hypot(*path[min(4, len(path) - 1)]) / size
            leaves = len(_inside(path, size)) < len(path)
            off = abs(far - 0.12) + (early < 0.25) + leaves
            if best is None or off < best[0]:
                best = off, size, slope, path
    assert best is not None
    return best[1:]


def _path(rule: Rule, settings: Settings, size: float, slope: float) -> list[Point]:
    """Return where the steps lead, as far as they are finite."""
    start = torch.tensor(START, dtype=torch.float64) * size
    weights = torch.tensor([slope, slope * STEEPNESS], dtype=torch.float64)

    def gradients_at(_: int, now: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return (weights * now[0],)

    _, path = led_down((start,), settings, STEPS, gradients_at, rule.path)
    points = ((float(x), float(y)) for ((x, y),) in path)
    return list(takewhile(lambda point: all(map(math.isfinite, point)), points))


def _levels() -> Iterator[str]:
    for level in LEVELS:
        across = math.sqrt(level)
        yield element(
            "ellipse",
            cx=CENTRE[0],
            cy=CENTRE[1],
            rx=across * ACROSS,
            ry=across * DOWN / math.sqrt(STEEPNESS),
            fill="none",
            stroke="currentColor",
            stroke_opacity=0.25,
        )


def _drawn(path: Sequence[Point], size: float, colour: str) -> Iterator[str]:
    """Yield the path as a line with a dot for each step, up to where it leaves the picture."""
    inside = _inside(path, size)
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in inside)
    yield element("polyline", points=points, fill="none", stroke=colour, stroke_width=1.6)
    for x, y in inside:
        yield element("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r=1.8, fill=colour)


def _inside(path: Sequence[Point], size: float) -> list[Point]:
    """Return the places in the picture, up to where the path leaves it."""
    places = ((CENTRE[0] + x / size * ACROSS, CENTRE[1] - y / size * DOWN) for x, y in path)
    return list(takewhile(lambda p: 4 < p[0] < WIDTH - 4 and TOP < p[1] < HEIGHT - 20, places))


def _end(path: Sequence[Point], size: float) -> str:
    if len(path) <= STEPS:
        return tr("beyond all numbers")
    share = math.hypot(*path[-1]) / math.hypot(*START) / size
    return tr("at {share} of the distance they began at").format(share=f"{share:.0%}")
