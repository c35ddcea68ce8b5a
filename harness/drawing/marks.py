"""How an outcome looks in a picture: its mark, line and word, which differ without colour too."""

from collections.abc import Mapping
from dataclasses import dataclass

from harness.course.numbers import decimal
from harness.course.report import Outcome
from harness.drawing.mathematics import Block
from harness.drawing.svg import BAD, GOOD, element
from harness.language import tr

Style = Mapping[str, str | float]
PLAIN: Style = {"stroke_width": 1.5}


@dataclass(frozen=True)
class Look:
    """The word for an outcome, the line of its edges, and its mark as a path in a colour.

    Marks are drawn because many fonts do not have the characters.
    """

    word: str
    line: Style
    path: str
    colour: str
    stroke: float = 2.6

    @property
    def mark(self) -> Block:
        """The mark, to be drawn anywhere."""
        return Block(14, 14, self._draw)

    def _draw(self, x: float, middle: float) -> str:
        return element(
            "path",
            d=self.path,
            transform=f"translate({decimal(x)} {decimal(middle)})",
            fill="none",
            stroke=self.colour,
            stroke_width=self.stroke,
            stroke_linecap="round",
        )


LOOKS: Mapping[Outcome, Look] = {
    "passed": Look(tr("right"), {"stroke_width": 1.25}, "M1 1L5 5L13-6", GOOD),
    "failed": Look(
        tr("wrong"),
        {"stroke": BAD, "stroke_width": 3.0, "stroke_dasharray": "8 4"},
        "M1.5-5.5L12.5 5.5M1.5 5.5L12.5-5.5",
        BAD,
    ),
    "error": Look(
        tr("an error"),
        {"stroke": BAD, "stroke_width": 3.0, "stroke_dasharray": "8 3 2 3"},
        "M7-7V2M7 6.9V7",
        BAD,
    ),
    "not_run": Look(
        tr("not yet"),
        {"stroke_width": 1.5, "stroke_dasharray": "1.5 4"},
        "M2 3h.01M7 3h.01M12 3h.01",
        "currentColor",
        2.8,
    ),
}
