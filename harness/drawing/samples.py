"""Some images that a network has never seen, and what it takes them for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from harness.course.report import Outcome
from harness.drawing.marks import LOOKS
from harness.drawing.svg import BAD, Picture, box, caption, element, picture
from harness.language import tr

SHOWN = 7
PIXEL, APART = 5.0, 12.0
LEFT, TOP = 8.0, 30.0
LEVELS = 6


@dataclass(frozen=True)
class Sample:
    """An image, row by row from 0 (blank) to 1 (ink), its reading by the network, its label."""

    image: tuple[float, ...]
    said: int
    label: int


def samples_picture(samples: Sequence[Sample], size: tuple[int, int]) -> Picture:
    """Draw the first images that the network reads right, and the first that it reads wrong.

    ``size`` is the height and width of an image in pixels.
    """
    right = [each for each in samples if each.said == each.label]
    wrong = [each for each in samples if each.said != each.label]
    height = TOP + size[0] * PIXEL + 40
    rows: list[tuple[Outcome, str, list[Sample]]] = [
        (
            "passed",
            tr("{right} of {samples} read right").format(right=len(right), samples=len(samples)),
            right,
        ),
        ("failed", tr("{wrong} read wrong").format(wrong=len(wrong)), wrong),
    ]
    drawn: list[str] = []
    shown: list[str] = []
    for at, (outcome, heading, found) in enumerate(row for row in rows if row[2]):
        drawn += _row(outcome, heading, found[:SHOWN], size, at * height)
        shown.append(f"{heading}: {', '.join(map(_words, found[:SHOWN]))}.")
    count = sum(bool(found) for *_, found in rows)
    return picture(
        drawn,
        2 * LEFT + SHOWN * size[1] * PIXEL + (SHOWN - 1) * APART,
        max(count * height - 6, 1),
        title=tr("Images that the network has never seen, with what it says they are"),
        description=" ".join(shown),
    )


def _row(
    outcome: Outcome, heading: str, samples: Sequence[Sample], size: tuple[int, int], top: float
) -> Iterator[str]:
    more = tr(", such as") if len(samples) == SHOWN else ""
    yield LOOKS[outcome].mark.draw(LEFT, top + 13)
    yield caption(LEFT + 20, top + 17.5, f"{heading}{more}")
    high, wide = size[0] * PIXEL, size[1] * PIXEL
    for at, sample in enumerate(samples):
        x = LEFT + at * (wide + APART)
        y = top + TOP
        yield from _image(sample.image, size[1], x, y)
        wrong = {"stroke": BAD, "stroke_dasharray": "5 3"}
        right = {"stroke_opacity": 0.35, "stroke_width": 1}
        yield box(x - 2, y - 2, wide + 4, high + 4, **(right if outcome == "passed" else wrong))
        place = (x + wide / 2, y + high + 18)
        yield caption(*place, _words(sample), text_anchor="middle", font_size=12)


def _words(sample: Sample) -> str:
    said = "?" if sample.said < 0 else str(sample.said)
    return said if sample.said == sample.label else f"{said}, not {sample.label}"


def _image(image: Sequence[float], width: int, x: float, y: float) -> Iterator[str]:
    """Yield the ink in a few strengths, each as one path, alike on light and dark pages."""
    inked = sorted(
        (level, at) for at, ink in enumerate(image) if (level := round(ink * LEVELS)) > 0
    )
    for level, group in groupby(inked, lambda pair: pair[0]):
        corners = ((x + at % width * PIXEL, y + at // width * PIXEL) for _, at in group)
        path = "".join(
            f"M{left:g} {top:g}h{PIXEL:g}v{PIXEL:g}h-{PIXEL:g}z" for left, top in corners
        )
        yield element("path", d=path, fill="currentColor", fill_opacity=level / LEVELS)
