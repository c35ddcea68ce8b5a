"""How an outcome looks in a picture: its mark, its line and its word, apart without colour."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from harness.course.report import Outcome
from harness.show.mathematics import Block
from harness.show.svg import BAD, GOOD, Point, element, line

Style = Mapping[str, str | float]
PLAIN: Style = MappingProxyType({"stroke_width": 1.5})
WORDS: Mapping[Outcome, str] = MappingProxyType(
    {"passed": "right", "failed": "wrong", "error": "an error", "not_run": "not yet"}
)
_STYLES: Mapping[Outcome, Style] = MappingProxyType(
    {
        "passed": {"stroke_width": 1.25},
        "failed": {"stroke": BAD, "stroke_width": 3.0, "stroke_dasharray": "8 4"},
        "error": {"stroke": BAD, "stroke_width": 3.0, "stroke_dasharray": "8 3 2 3"},
        "not_run": {"stroke_width": 1.5, "stroke_dasharray": "1.5 4"},
    }
)


def edge_style(outcome: Outcome | None) -> Style:
    """The line of an edge that came out so, or was not judged."""
    return PLAIN if outcome is None else _STYLES[outcome]


def mark(outcome: Outcome) -> Block:
    """A check, a cross, an exclamation mark or three dots, drawn: fonts often lack them."""

    def draw(x: float, middle: float) -> str:
        return _DRAWN[outcome](x, middle)

    return Block(14, 14, draw)


def _check(x: float, y: float) -> str:
    return _strokes(GOOD, ((x + 1, y + 1), (x + 5, y + 5), (x + 13, y - 6)))


def _cross(x: float, y: float) -> str:
    one = ((x + 1.5, y - 5.5), (x + 12.5, y + 5.5))
    return _strokes(BAD, one) + _strokes(BAD, ((x + 1.5, y + 5.5), (x + 12.5, y - 5.5)))


def _exclamation(x: float, y: float) -> str:
    return _strokes(BAD, ((x + 7, y - 7), (x + 7, y + 2))) + line(
        (x + 7, y + 6.9), (x + 7, y + 7), stroke=BAD, stroke_width=3, stroke_linecap="round"
    )


def _dots(x: float, y: float) -> str:
    return "".join(element("circle", cx=x + offset, cy=y + 3, r=1.4) for offset in (2.0, 7.0, 12.0))


def _strokes(colour: str, points: tuple[Point, ...]) -> str:
    return element(
        "polyline",
        points=" ".join(f"{x:.1f},{y:.1f}" for x, y in points),
        fill="none",
        stroke=colour,
        stroke_width=2.6,
        stroke_linecap="round",
    )


_DRAWN = {"passed": _check, "failed": _cross, "error": _exclamation, "not_run": _dots}
