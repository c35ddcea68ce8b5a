"""The cost at each step of a training, beside the cost with torch's own gradients."""

import math
from collections.abc import Iterator, Sequence

from harness.drawing.svg import Picture, Point, caption, element, line, picture
from harness.language import tr

WIDTH, HEIGHT = 370.0, 186.0
LEFT, RIGHT, TOP, BOTTOM = 36.0, 362.0, 38.0, 160.0
YOURS, REFERENCE = "yours", tr("with torch's own gradients")


def costs_picture(costs: Sequence[float], reference_costs: Sequence[float] = ()) -> Picture:
    """Draw the cost at each step: a thin line, over a broad pale one for the reference's.

    Costs that are not finite leave a gap. The first steps of a long training, and costs far above
    the reference's, may end at the top edge; then the cost at the start is written there.
    """
    top = _top(costs, reference_costs)
    steps = max(len(costs), len(reference_costs), 2)
    drawn = [*_axes(top, steps)]
    drawn += _curve(reference_costs, top, steps, stroke_width=6, stroke_opacity=0.3)
    drawn += _curve(costs, top, steps, stroke_width=1.6)
    drawn += _key(bool(reference_costs))
    if costs and top < costs[0] < math.inf:
        drawn.append(
            caption(
                LEFT, TOP - 4, tr("from {first:.2g} at step 1").format(first=costs[0]), font_size=12
            )
        )
    return picture(
        drawn,
        WIDTH,
        HEIGHT,
        title=tr("The cost at each step of the training"),
        description=_description(costs, reference_costs),
    )


def _top(costs: Sequence[float], reference: Sequence[float]) -> float:
    early = max(len(costs), len(reference)) // 100
    right = max(filter(math.isfinite, reference[early:]), default=0.0)
    highest = max(filter(math.isfinite, [*costs[early:], right]))
    return (min(highest, 3 * right) if right > 0 else highest) * 1.05 or 1.0


def _curve(costs: Sequence[float], top: float, steps: int, **style: str | float) -> Iterator[str]:
    for points in _runs(costs, top, steps):
        yield element(
            "polyline",
            points=" ".join(f"{x:.1f},{y:.1f}" for x, y in points),
            fill="none",
            stroke="currentColor",
            stroke_linejoin="round",
            **style,
        )


def _runs(costs: Sequence[float], top: float, steps: int) -> Iterator[list[Point]]:
    """Yield the points of the curve in runs that end where a cost is not finite."""
    points: list[Point] = []
    for step, cost in enumerate(costs):
        if math.isfinite(cost):
            x = LEFT + (RIGHT - LEFT) * step / (steps - 1)
            share = min(max(cost / top, 0.0), 1.0)
            points.append((x, BOTTOM - (BOTTOM - TOP) * share))
        elif points:
            yield points
            points = []
    if points:
        yield points


def _axes(top: float, steps: int) -> Iterator[str]:
    small, right = {"font_size": 12}, {"text_anchor": "end"}
    yield line((LEFT, TOP), (LEFT, BOTTOM), stroke_width=1)
    yield line((LEFT, BOTTOM), (RIGHT, BOTTOM), stroke_width=1)
    yield caption(LEFT - 5, BOTTOM + 4, "0", **right, **small)
    yield caption(LEFT - 5, TOP + 8, f"{top:.2g}", **right, **small)
    yield caption(LEFT - 5, (TOP + BOTTOM) / 2 + 4, "C", **right, font_style="italic")
    yield caption(LEFT, BOTTOM + 16, "1", **small)
    yield caption((LEFT + RIGHT) / 2, BOTTOM + 16, "step", text_anchor="middle")
    yield caption(RIGHT, BOTTOM + 16, str(steps), **right, **small)


def _key(with_reference: bool) -> Iterator[str]:
    y = 14.0
    yield line((LEFT, y), (LEFT + 26, y), stroke_width=1.6)
    yield caption(LEFT + 32, y + 4, YOURS)
    if with_reference:
        yield line((LEFT + 88, y), (LEFT + 114, y), stroke_width=6, stroke_opacity=0.3)
        yield caption(LEFT + 120, y + 4, REFERENCE)


def _description(costs: Sequence[float], reference: Sequence[float]) -> str:
    curves = ((YOURS, costs), (REFERENCE, reference))
    return "; ".join(
        tr("{name}: from {first:.3g} to {last:.3g} in {steps} steps").format(
            name=name, first=curve[0], last=curve[-1], steps=len(curve)
        )
        for name, curve in curves
        if curve
    )
