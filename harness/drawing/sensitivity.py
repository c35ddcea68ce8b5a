"""How sensitive the cost is to each parameter, as signed bars."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from harness.drawing.mathematics import set_formula
from harness.drawing.svg import DOWN, UP, Picture, box, caption, line, picture
from harness.expressions.notation import symbol
from harness.language import tr

WIDTH = 400.0
SHOWN = 16
BAR, STEP, TOP = 16.0, 28.0, 54.0
LABEL = 58.0  # room for a value at the end of its bar
LONGEST_NAME = 14
_ROUND = (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10)


def sensitivity_picture(
    values: Mapping[str, float], title: str = tr("How sensitive the cost is to each parameter")
) -> Picture:
    """Draw bars of ∂C/∂parameter, the largest first; negative ones point left.

    At most 16 are drawn; a note counts the rest. Raise ValueError if there are no values, or one
    is not finite.
    """
    if not values:
        raise ValueError("there are no values to draw")
    for name, value in values.items():
        if not math.isfinite(value):
            raise ValueError(f"the value of {name} is not finite: {value}")
    ordered = sorted(values.items(), key=lambda item: -abs(item[1]))
    shown = ordered[:SHOWN]
    bars, bottom = _bars(shown)
    notes = [
        tr("To the right: more of it raises C."),
        tr("To the left: more of it lowers C."),
    ]
    if len(ordered) > SHOWN:
        notes.append(tr("{count} smaller ones are not shown.").format(count=len(ordered) - SHOWN))
    heading = caption(8, 20, title, font_size=14, font_weight="bold")
    below = [caption(8, bottom + 38 + 17 * at, note) for at, note in enumerate(notes)]
    return picture(
        [heading, *bars, *below],
        WIDTH,
        bottom + 30 + 17 * len(notes),
        title=title,
        description="; ".join(f"{name}: {_signed(value)}" for name, value in shown),
    )


@dataclass(frozen=True)
class _Scale:
    """The position of zero, and the length of a bar of the value ``top``."""

    zero: float
    length: float
    top: float
    signs: tuple[int, ...]


def _bars(shown: list[tuple[str, float]]) -> tuple[list[str], float]:
    short = [n if len(n) <= LONGEST_NAME else f"{n[: LONGEST_NAME - 1]}…" for n, _ in shown]
    names = [set_formula(symbol(name)) for name in short]
    scale = _scale([value for _, value in shown], 20 + max(name.width for name in names))
    bottom = TOP + (len(shown) - 0.5) * STEP + 4
    drawn = [_axis(scale, TOP - 0.5 * STEP, bottom)]
    for at, (_, value) in enumerate(shown):
        middle = TOP + at * STEP
        drawn += [names[at].draw(8, middle), _bar(scale, value, middle)]
    return drawn, bottom


def _scale(values: list[float], left: float) -> _Scale:
    signs = (-1,) * (min(values) < 0) + (1,) * (max(values) >= 0)
    length = (WIDTH - 8 - left) / len(signs) - LABEL
    zero = left + (LABEL + length if -1 in signs else 0)
    return _Scale(zero, length, _round_up(max(map(abs, values)) or 1.0), signs)


def _bar(scale: _Scale, value: float, middle: float) -> str:
    length = abs(value) / scale.top * scale.length
    left, end, anchor = scale.zero, scale.zero + length + 5, "start"
    if value < 0:
        left, end, anchor = scale.zero - length, scale.zero - length - 5, "end"
    colour = DOWN if value < 0 else UP
    bar = box(left, middle - BAR / 2, length, BAR, fill=colour, stroke="none")
    return bar + caption(end, middle + 4, _signed(value), text_anchor=anchor)


def _axis(scale: _Scale, top: float, bottom: float) -> str:
    drawn = [line((scale.zero, top), (scale.zero, bottom)), _tick(scale.zero, bottom, "0")]
    ends = sorted({scale.zero, *(scale.zero + sign * scale.length for sign in scale.signs)})
    drawn.append(line((ends[0], bottom), (ends[-1], bottom), stroke_width=1))
    for sign in scale.signs:
        x = scale.zero + sign * scale.length
        drawn.append(line((x, bottom - 4), (x, bottom), stroke_width=1))
        drawn.append(_tick(x, bottom, _signed(sign * scale.top)))
    return "".join(drawn)


def _tick(x: float, bottom: float, text: str) -> str:
    return caption(x, bottom + 15, text, text_anchor="middle", font_size=12)


def _round_up(value: float) -> float:
    """Return the next round number: one digit or a half, times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    rounded = (step * power for step in _ROUND)
    # At the ends of what floats can hold there is no such number.
    return next((each for each in rounded if value <= each < math.inf), value)


def _signed(value: float) -> str:
    return f"{value:+.3g}".replace("-", "−") if value else "0"
