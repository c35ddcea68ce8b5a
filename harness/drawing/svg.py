"""Pieces of SVG as text, and the picture that is made of them.

No piece has an id or a class, so any number of pictures can stand on one page. Text and lines
take the colour of the text around them, which suits light and dark pages and paper.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

from harness.course.numbers import decimal
from harness.drawing.visible import visible
from harness.drawing.widths import MONOSPACE, sans_width

# All stand out from white and from black by more than 3:1.
GOOD, BAD = "#2e9e5b", "#e0484d"
UP, DOWN = "#d2691e", "#3f7fd0"  # more of it raises C, lowers C
SERIF = "'STIX Two Math', 'Cambria Math', 'Latin Modern Math', 'Times New Roman', serif"
SIZE = 16.0
Point = tuple[float, float]
_LINE: dict[str, str | float] = {"stroke": "currentColor", "stroke_width": 1.5}
_OUTLINE: dict[str, str | float] = {"fill": "none", **_LINE}
# Text with a ``textLength`` takes it in any font; letters in bold are wider by so much.
FITTED: dict[str, str | float] = {"lengthAdjust": "spacingAndGlyphs"}
BOLD = 1.1
_CAPTION: dict[str, str | float] = {"font_family": "sans-serif", "font_size": 13}


@dataclass(frozen=True)
class Picture:
    """A drawing for a notebook's cell or a file, with a description in words.

    ``line`` says the most of it on one line.
    """

    svg: str
    title: str
    description: str
    width: float = 0.0
    line: str = ""

    def __repr__(self) -> str:
        return f"{self.title}\n{self.description}"

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        # JupyterLab shows image/svg+xml as an <img>, black on a dark page; HTML comes first.
        style = "<style>p.bph-line { display: none; }</style>" if self.line else ""
        html = style + self.html
        return {"text/html": html, "image/svg+xml": self.svg, "text/plain": repr(self)}

    @property
    def html(self) -> str:
        """The drawing after its line, which a style hides: it is for where both are taken away."""
        told = element("p", escape(visible(self.line)), **{"class": "bph-line"})
        return f"{told}{self.svg}" if self.line else self.svg

    def save(self, path: str | Path) -> None:
        """Write the drawing to an SVG file."""
        Path(path).write_text(self.svg, encoding="utf-8")


def layer_sum_picture() -> Picture:
    """Return a drawing of a hidden neuron whose gradient is the sum over three other neurons."""
    svg = resources.files("harness.drawing").joinpath("layer_sum.svg").read_text(encoding="utf-8")
    texts = {each.tag.rpartition("}")[2]: each.text or "" for each in ElementTree.fromstring(svg)}
    return Picture(svg, texts["title"], texts["desc"])


def picture(
    body: Iterable[str],
    width: float,
    height: float,
    *,
    title: str,
    description: str,
    zoom: float = 1.35,
    line: str = "",
) -> Picture:
    """Return a picture of the given size, as wide as its page but at most ``zoom`` times as wide.

    ``body`` is markup.
    """
    title, description = visible(title), visible(description)
    svg = element(
        "svg",
        element("title", escape(title)),
        element("desc", escape(description)),
        *body,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {decimal(width)} {decimal(height)}",
        width="100%",
        role="img",
        aria_label=title,
        style=f"max-width: {width * zoom:.0f}px; height: auto; color: inherit",
        font_family=SERIF,
        font_size=SIZE,
        fill="currentColor",
        stroke="none",
    )
    return Picture(svg, title, description, width, line)


def element(tag: str, *children: str, **attributes: str | float) -> str:
    """Return an element around ``children``, which are markup.

    Underscores in the names of attributes stand for hyphens.
    """
    pairs = "".join(
        f" {name.replace('_', '-')}="
        + quoteattr(value if isinstance(value, str) else decimal(value))
        for name, value in attributes.items()
    )
    # Where tags are taken away, what they hold does not run together.
    apart = "\n" if tag in ("text", "title", "desc") else ""
    inside = "".join(children)
    return f"{apart}<{tag}{pairs}>{inside}</{tag}>" if children else f"<{tag}{pairs}/>"


def caption(x: float, y: float, text: str, **attributes: str | float) -> str:
    """Return plain words in sans-serif letters, their baseline at (x, y), in `sans_width`."""
    looks = {**_CAPTION, **attributes}
    size, text = float(looks["font_size"]), visible(text)
    if looks["font_family"] == "monospace":
        width = MONOSPACE * size * len(text)
    else:
        width = sans_width(text, size) * (BOLD if "font_weight" in looks else 1.0)
    fitted = {"textLength": width, **FITTED} if text else {}
    return element("text", escape(text), x=x, y=y, **looks, **fitted)


def line(start: Point, end: Point, **attributes: str | float) -> str:
    """Return a line in the colour of the text."""
    ends = {"x1": start[0], "y1": start[1], "x2": end[0], "y2": end[1]}
    return element("line", **ends, **{**_LINE, **attributes})


def arrow(start: Point, end: Point, **attributes: str | float) -> str:
    """Return a line with a filled head at its end."""
    back, across = 9.0, 3.8
    (x, y), (dx, dy) = end, _direction(start, end)
    neck = (x - back * dx, y - back * dy)
    head = [(x, y), *((neck[0] + s * across * dy, neck[1] - s * across * dx) for s in (1, -1))]
    points = " ".join(f"{decimal(px)},{decimal(py)}" for px, py in head)
    fill = attributes.get("stroke", "currentColor")
    return line(start, neck, **attributes) + element("polygon", points=points, fill=fill)


def circle(centre: Point, radius: float) -> str:
    """Return a circle with an outline in the colour of the text."""
    return element("circle", cx=centre[0], cy=centre[1], r=radius, **_OUTLINE)


def box(x: float, y: float, width: float, height: float, **attributes: str | float) -> str:
    """Return a rectangle with an outline in the colour of the text."""
    size = {"x": x, "y": y, "width": width, "height": height}
    return element("rect", **size, **{**_OUTLINE, **attributes})


def towards(start: Point, end: Point, distance: float) -> Point:
    """Return the point at ``distance`` from ``start`` on the way to ``end``."""
    dx, dy = _direction(start, end)
    return start[0] + distance * dx, start[1] + distance * dy


def _direction(start: Point, end: Point) -> Point:
    dx, dy = end[0] - start[0], end[1] - start[1]
    length = (dx * dx + dy * dy) ** 0.5 or 1.0
    return dx / length, dy / length
