"""Mathematics set in SVG: names with subscripts, fractions, and rows of them.

A formula is a tuple of pieces on one line. A block has a known width and can be drawn anywhere; it
is centred on the height of a fraction's bar.
"""

from collections.abc import Callable
from dataclasses import dataclass
from xml.sax.saxutils import escape

from harness.drawing.svg import FITTED, SIZE, element, line
from harness.drawing.visible import visible
from harness.drawing.widths import serif_width
from harness.expressions.notation import Formula, Piece

SMALL = 0.72


@dataclass(frozen=True)
class Block:
    """Something to draw: its width, its height around the middle, and how to draw it.

    ``draw`` takes the left end and the middle.
    """

    width: float
    height: float
    draw: Callable[[float, float], str]

    def centred(self, x: float, middle: float) -> str:
        """Draw the block around (x, middle)."""
        return self.draw(x - self.width / 2, middle)


def derivative(output: Formula, name: Formula, size: float = SIZE) -> Block:
    """Return the fraction ∂output/∂name."""
    curl = Piece("∂")
    return fraction((curl, *output), (curl, *name), size)


def width_of(formula: Formula, size: float = SIZE) -> float:
    """Return the width that a formula is set in."""
    return sum(
        serif_width(visible(piece.text), size if piece.place == "line" else SMALL * size)
        for piece in formula
    )


def set_formula(formula: Formula, size: float = SIZE) -> Block:
    """Return a formula on one line."""

    def draw(x: float, middle: float) -> str:
        return _text(formula, x, middle + 0.32 * size, size, "start")

    return Block(width_of(formula, size), 1.2 * size, draw)


def fraction(above: Formula, below: Formula, size: float = SIZE) -> Block:
    """Return one formula over another."""
    width = max(width_of(above, size), width_of(below, size)) + 6

    def draw(x: float, middle: float) -> str:
        centre = x + width / 2
        return (
            _text(above, centre, middle - 0.34 * size, size, "middle")
            + line((x, middle), (x + width, middle), stroke_width=1)
            + _text(below, centre, middle + 0.98 * size, size, "middle")
        )

    return Block(width, 2.5 * size, draw)


def summation(index: str, size: float = SIZE) -> Block:
    """Return a sum sign over an index."""
    width = 1.1 * size

    def draw(x: float, middle: float) -> str:
        centre = x + width / 2
        sign = _text((Piece("Σ"),), centre, middle + 0.4 * size, 1.35 * size, "middle")
        below = (Piece(index, leans=True),)
        return sign + _text(below, centre, middle + 1.15 * size, SMALL * size, "middle")

    return Block(width, 2.3 * size, draw)


def row(*blocks: Block, gap: float = 5) -> Block:
    """Return blocks side by side."""

    def draw(x: float, middle: float) -> str:
        drawn = []
        for block in blocks:
            drawn.append(block.draw(x, middle))
            x += block.width + gap
        return "".join(drawn)

    width = sum(block.width for block in blocks) + gap * (len(blocks) - 1)
    return Block(width, max(block.height for block in blocks), draw)


def _text(formula: Formula, x: float, y: float, size: float, anchor: str) -> str:
    spans, shift = [], 0.0
    for piece in formula:
        wanted = {"line": 0.0, "below": 0.24 * size, "above": -0.38 * size}[piece.place]
        spans.append(
            element(
                "tspan",
                escape(visible(piece.text)),
                dy=wanted - shift,
                font_style="italic" if piece.leans else "normal",
                font_size=size if piece.place == "line" else SMALL * size,
            )
        )
        shift = wanted
    fitted = {"textLength": width_of(formula, size), **FITTED}
    return element("text", *spans, x=x, y=y, text_anchor=anchor, font_size=size, **fitted)
